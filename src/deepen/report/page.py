"""The report page: one self-contained HTML file, autoescaped, that fetches nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from deepen.report import units
from deepen.report.curves import loss_chart, task_chart
from deepen.report.layout import accounting_note, difference_range, multiplier_text, task_title, verdict_rows
from deepen.report.results import Study, Verdict, is_whole_budget, number, table, text
from deepen.report.words import compared, exact_share, finding, interval_text, multiplier_interval_text

SPAN_WIDTH = 190  # of the small interval drawings in the table, in pixels
RATES = {"wsd": "warm-up, stable, decay", "cosine": "cosine decay", "constant": "constant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A difference and its interval as pixel positions; `cut_*` tell an end that is out of sight."""

    at: float
    low: float | None
    high: float | None
    cut_low: bool
    cut_high: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table of verdicts, as text."""

    arm: str
    colour: str
    accounting: str
    note: str
    is_control: bool
    loss: str
    difference: str
    interval: str
    span: Span | None
    multiplier: str
    multiplier_interval: str
    tokens: str
    seconds: str
    memory: str
    outcome: str
    sentence: str


def render_page(study: Study, figures: Sequence[str]) -> str:
    """The whole page as HTML; `figures` are the names of the files under figures/."""
    environment = Environment(
        loader=PackageLoader("deepen.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = {f"task{i}": task_chart(study, task) for i, task in enumerate(study.task_names)}
    charts["loss"] = loss_chart(study)
    base = study.baseline_arm
    zero, left, right = _pixels(study, 0.0), _floor(study, -1), _floor(study, 1)
    return environment.get_template("page.html.j2").render(
        study=study,
        finding=finding(study),
        compared=compared(study),
        rows=_rows(study),
        zero=zero,
        floor=(left, right) if left is not None and right is not None else None,
        span_width=SPAN_WIDTH,
        tasks=[(f"task{i}", task_title(name)) for i, name in enumerate(study.task_names)],
        facts=_facts(study),
        sharing=_sharing(study),
        has_paper=any(m.accounting == "paper" for a in study.arms for m in a.marks),
        has_budgets=any(not is_whole_budget(m) for m in base.marks) if base else False,
        annealed=all(mark.annealed for arm in study.arms for mark in arm.marks),
        has_marks=any(arm.marks for arm in study.arms),
        has_curves=any(arm.curve or arm.marks for arm in study.arms),
        figures=figures,
        charts=_script_json(charts),
        plotly_js=get_plotlyjs(),
    )


def _script_json(value: object) -> str:
    """JSON that no content can lead out of its script element, nor be read as a comment in it."""
    encoded = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return encoded.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _rows(study: Study) -> list[Row]:
    verdicts = verdict_rows(study)
    places = units.places_for([v.difference for v in verdicts if v.difference is not None])
    baseline = [_baseline_row(study)] if study.baseline_mark else []
    return baseline + [_verdict_row(study, verdict, places) for verdict in verdicts]


def _baseline_row(study: Study) -> Row:
    arm, mark = study.baseline_arm, study.baseline_mark
    assert arm is not None and mark is not None
    return Row(
        arm=arm.name,
        colour=arm.colour,
        accounting="flops",
        note="baseline",
        is_control=False,
        loss=units.plain(mark.val.mean if mark.val else None),
        difference="0",
        interval="",
        span=None,
        multiplier="1",
        multiplier_interval="",
        tokens=units.count(mark.tokens),
        seconds=units.duration(mark.seconds),
        memory=units.memory(arm.peak_memory_bytes),
        outcome="",
        sentence="",
    )


def _verdict_row(study: Study, verdict: Verdict, places: int) -> Row:
    arm = study.arm(verdict.arm)
    share = exact_share(study, verdict)
    note = accounting_note(verdict)
    return Row(
        arm=verdict.arm,
        colour=arm.colour if arm else "#555555",
        accounting=verdict.accounting,
        note=f"{note}, at {share:.2f} × the FLOPs" if note and share else note,
        is_control=bool(arm and arm.is_control),
        loss=units.plain(verdict.loss),
        difference=units.signed(verdict.difference, places),
        interval=interval_text(verdict.interval, places),
        span=_span(study, verdict),
        multiplier=multiplier_text(verdict).replace(">", "more than").replace("<", "less than"),
        multiplier_interval="" if verdict.multiplier_bound else multiplier_interval_text(verdict),
        tokens=units.count(verdict.tokens),
        seconds=units.duration(verdict.seconds),
        memory=units.memory(verdict.peak_memory_bytes),
        outcome=verdict.outcome,
        sentence=verdict.sentence,
    )


def _pixels(study: Study, difference: float) -> float:
    low, high = difference_range(study)
    share = (difference - low) / (high - low)
    return round(SPAN_WIDTH * min(1.0, max(0.0, share)), 1)


def _floor(study: Study, side: int) -> float | None:
    return _pixels(study, side * study.noise_floor) if study.noise_floor else None


def _span(study: Study, verdict: Verdict) -> Span | None:
    if verdict.difference is None:
        return None
    least, most = difference_range(study)
    pair = verdict.interval
    return Span(
        at=_pixels(study, verdict.difference),
        low=_pixels(study, pair[0]) if pair else None,
        high=_pixels(study, pair[1]) if pair else None,
        cut_low=bool(pair and pair[0] < least),
        cut_high=bool(pair and pair[1] > most),
    )


def _facts(study: Study) -> list[tuple[str, str]]:
    """The regime as label and value, what is unknown left out."""
    regime, data = study.regime, table(study.regime.get("data"))
    get = {key: number(regime.get(key)) for key in regime}
    rate = text(regime.get("rate"))
    seeds = study.baseline_arm.seeds if study.baseline_arm else ()
    depth, width, batch = get.get("depth"), get.get("width"), get.get("batch_tokens")
    degrees = number(study.noise.get("degrees_of_freedom"))
    peak, residual, epochs = (
        get.get("peak_lr"),
        number(study.noise.get("residual_std")),
        number(data.get("epochs")),
    )
    ratio = get.get("tokens_per_parameter")
    facts = [
        ("Model", text(regime.get("model"))),
        ("Shape", f"{depth:.0f} blocks, width {width:.0f}" if depth and width else ""),
        ("Parameters", _count(get.get("parameters"))),
        ("… without embeddings", _count(get.get("parameters_non_embedding"))),
        ("Context, vocabulary", _pair(get.get("context"), get.get("vocab"))),
        ("Baseline tokens", _count(get.get("baseline_tokens"))),
        ("Tokens per parameter", f"{ratio:.3g}" if ratio else ""),
        ("Batch", f"{batch:,.0f} tokens" if batch else ""),
        ("Learning rate", RATES.get(rate, rate) + (f", peak {peak:g}" if peak else "")),
        ("Precision", text(regime.get("precision"))),
        ("Seeds", ", ".join(f"{s:g}" for s in seeds)),
        ("Data", text(data.get("name"))),
        ("Training tokens there", _count(number(data.get("train_tokens")))),
        ("Validation tokens", _count(number(data.get("validation_tokens")))),
        ("Epochs, longest arm", f"{epochs:.2f}" if epochs is not None else ""),
        ("Attention priced as", text(regime.get("attention_flops"))),
        ("Noise floor", units.plain(study.noise_floor, 4) if study.noise_floor is not None else ""),
        ("Residual spread, paired", units.plain(residual, 4) if residual is not None else ""),
        ("Degrees of freedom", f"{degrees:.0f}" if degrees else ""),
        ("Machine", text(regime.get("machine"), longest=160)),
        ("Wall clock", units.duration(get["wall_seconds"]) if get.get("wall_seconds") else ""),
        ("deepen", study.version),
    ]
    return [(label, value) for label, value in facts if value]


def _sharing(study: Study) -> str:
    trained, separate = (number(study.sharing.get(k)) for k in ("tokens_trained", "tokens_if_separate"))
    if not trained or not separate:
        return ""
    saved = f", {units.percent(1 - trained / separate)} less" if separate > trained else ""
    return (
        f"Arms that begin alike share their beginnings: {units.count(trained)} tokens were trained, where "
        f"separate runs would have trained {units.count(separate)}{saved}."
    )


def _count(value: float | None) -> str:
    return units.count(value) if value is not None else ""


def _pair(context: float | None, vocab: float | None) -> str:
    return f"{context:,.0f}, {vocab:,.0f}" if context and vocab else ""
