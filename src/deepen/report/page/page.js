"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  let ink, soft, grid, line, paper, font;
  const readColours = () => {
    [ink, soft, grid, line, paper] = ["--ink", "--soft", "--grid", "--frame", "--paper"].map(css);
    font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink };
  };
  // The style sheet has a variable for each colour that depends on the screen.
  const TEXTS = ["name", "text", "legendgroup"];
  const themed = (value, key) => {
    if (typeof value === "string")
      return !TEXTS.includes(key) && /^#[0-9a-f]{6}$/i.test(value) ? css("--c-" + value.slice(1).toLowerCase()) || value : value;
    if (Array.isArray(value)) return value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, themed(each, name)]));
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const state = { loss: "val", axis: "flops", scale: "linear" };
  const narrow = (div) => div.clientWidth < 700;

  // Wide: the legend beside the plot. Narrow: below it, and thinner margins.
  const frame = (div) => ({
    font, hovermode: "closest", dragmode: narrow(div) ? false : "zoom", plot_bgcolor: "rgba(0,0,0,0)", paper_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: paper, align: "left", font: { ...font, size: 12.5 } },
    margin: narrow(div) ? { l: 52, r: 8, t: 8, b: 48 } : { l: 64, r: 8, t: 10, b: 56 },
    legend: narrow(div)
      ? { orientation: "h", x: 0, y: div.classList.contains("short") ? -0.24 : -0.17, yanchor: "top", uirevision: "keep" }
      : { x: 1.02, y: 1, uirevision: "keep" },
  });
  const axis = (title, more) => ({
    title: { text: title, font: { size: 13, color: soft }, standoff: 10 }, gridcolor: grid, zeroline: false,
    linecolor: line, showline: true, ticks: "outside", tickcolor: line, ticklen: 4, tickfont: { color: soft }, ...more,
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
        layer: "below", line: { color: line, width: 1 } }];
    }
    Plotly.react(div, traces.map((trace) => themed(trace)), layout, config);
  }

  // A chart with one x axis and, where there is one, a horizontal line to compare with.
  function drawPlain(div, chart) {
    const layout = { ...frame(div), xaxis: axis(chart.x, chart.ticks
      ? { type: "log", tickvals: chart.ticks.values, ticktext: chart.ticks.labels } : { rangemode: "tozero" }), yaxis: axis(chart.title, {}) };
    if (chart.line) {
      const { y, label, side = "right" } = chart.line;
      layout.shapes = [{ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: y, y1: y,
        layer: "below", line: { color: soft, width: 1, dash: "dash" } }];
      layout.annotations = [{ xref: "paper", yref: "y", x: side === "right" ? 1 : 0, y, xanchor: side, yanchor: "bottom", showarrow: false,
        text: label, font: { size: 11.5, color: soft } }];
    }
    Plotly.react(div, chart.traces.map((trace) => themed(trace)), layout, config);
  }

  const draw = () => {
    readColours();
    document.querySelectorAll("[data-chart]").forEach((div) => {
      const chart = charts[div.dataset.chart];
      if (chart.losses) drawLoss(div, chart); else drawPlain(div, chart);
    });
  };

  document.querySelectorAll(".controls").forEach((controls) => {
    controls.hidden = false;
    controls.addEventListener("change", (event) => { state[event.target.name] = event.target.value; draw(); });
    controls.querySelectorAll("input:checked").forEach((input) => { state[input.name] = input.value; });
  });
  document.querySelectorAll(".copy button").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {  // a page that was opened as a file may not write to the clipboard: select the text instead
        getSelection().selectAllChildren(text);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  });
  draw();
  // The legend moves where the page becomes narrow or wide.
  const pageIsNarrow = () => document.body.clientWidth < 700;
  let wasNarrow = pageIsNarrow();
  addEventListener("resize", () => {
    if (pageIsNarrow() !== wasNarrow) { wasNarrow = pageIsNarrow(); draw(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // Paper is narrower than the screen, and white.
  const resize = (size) => document.querySelectorAll("[data-chart]").forEach((div) => Plotly.relayout(div, size));
  addEventListener("beforeprint", () => { root.classList.add("printing"); draw(); resize({ width: 680, height: 400 }); });
  addEventListener("afterprint", () => { root.classList.remove("printing"); draw(); resize({ width: null, height: null, autosize: true }); });
})();
