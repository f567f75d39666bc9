"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const ink = "#1d1d1b", soft = "#5c5c58", grid = "#ececea";
  const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink };
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const state = { loss: "val", axis: "flops", scale: "linear" };
  const narrow = (div) => div.clientWidth < 700;

  // Wide: the legend beside the plot. Narrow: below it, and thinner margins.
  const frame = (div) => ({
    font, hovermode: "closest", dragmode: narrow(div) ? false : "zoom", plot_bgcolor: "rgba(0,0,0,0)", paper_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: "#fff", align: "left", font: { ...font, size: 12.5 } },
    margin: narrow(div) ? { l: 52, r: 8, t: 8, b: 48 } : { l: 64, r: 8, t: 10, b: 56 },
    legend: narrow(div)
      ? { orientation: "h", x: 0, y: -0.17, yanchor: "top", uirevision: "keep" }
      : { x: 1.02, y: 1, uirevision: "keep" },
  });
  const axis = (title, more) => ({
    title: { text: title, font: { size: 13, color: soft }, standoff: 10 }, gridcolor: grid, zeroline: false,
    linecolor: "#8a8a86", showline: true, ticks: "outside", tickcolor: "#8a8a86", ticklen: 4, tickfont: { color: soft }, ...more,
  });

  function drawLoss(div, chart) {
    const traces = chart.traces.map(({ values, ...trace }) => {
      const v = values[state.loss];
      return { ...trace, x: v[state.axis], y: v.y, ...(v.text ? { text: v.text } : {}) };
    });
    const log = state.scale === "log", tokens = state.axis === "tokens";
    const window_ = chart.windows[state.loss];
    const layout = {
      ...frame(div),
      xaxis: axis(chart.axes[state.axis], {
        type: state.scale, uirevision: state.axis + state.scale, nticks: narrow(div) ? 5 : 10,
        ...(log ? {} : { rangemode: "tozero" }), exponentformat: tokens ? "B" : "power", ...(log ? { dtick: "D2" } : {}),
      }),
      yaxis: axis(chart.losses[state.loss], { tickformat: ".2f", uirevision: state.loss, ...(window_ ? { range: window_ } : {}) }),
    };
    if (state.axis === "flops" && chart.budget_flops) {
      layout.shapes = [{ type: "line", xref: "x", yref: "paper", x0: chart.budget_flops, x1: chart.budget_flops, y0: 0, y1: 1,
        layer: "below", line: { color: "#b5b5b0", width: 1 } }];
    }
    Plotly.react(div, traces, layout, config);
  }

  // A chart with one x axis and, where there is one, a horizontal line to compare with.
  function drawPlain(div, chart) {
    const layout = { ...frame(div), xaxis: axis(chart.x, { rangemode: "tozero" }), yaxis: axis(chart.title, {}) };
    if (chart.line) {
      const { y, label } = chart.line;
      layout.shapes = [{ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: y, y1: y,
        layer: "below", line: { color: "#777", width: 1, dash: "dash" } }];
      layout.annotations = [{ xref: "paper", yref: "y", x: 1, y, xanchor: "right", yanchor: "bottom", showarrow: false,
        text: label, font: { size: 11.5, color: "#777" } }];
    }
    Plotly.react(div, chart.traces, layout, config);
  }

  const draw = () => document.querySelectorAll("[data-chart]").forEach((div) => {
    const chart = charts[div.dataset.chart];
    if (chart.losses) drawLoss(div, chart); else drawPlain(div, chart);
  });

  document.querySelectorAll(".controls").forEach((controls) => {
    controls.hidden = false;
    controls.addEventListener("change", (event) => { state[event.target.name] = event.target.value; draw(); });
    controls.querySelectorAll("input:checked").forEach((input) => { state[input.name] = input.value; });
  });
  draw();
  // The legend moves where the page becomes narrow or wide.
  const pageIsNarrow = () => document.body.clientWidth < 700;
  let wasNarrow = pageIsNarrow();
  addEventListener("resize", () => {
    if (pageIsNarrow() !== wasNarrow) { wasNarrow = pageIsNarrow(); draw(); }
  });
  // Paper is narrower than the screen.
  const resize = (size) => document.querySelectorAll("[data-chart]").forEach((div) => Plotly.relayout(div, size));
  addEventListener("beforeprint", () => resize({ width: 680, height: 400 }));
  addEventListener("afterprint", () => resize({ width: null, height: null, autosize: true }));
})();
