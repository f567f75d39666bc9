"""results.json as typed values: seeds averaged, arms ordered and coloured, anything odd made harmless.

The file may come from someone else. Strings are cut to a line of printable characters (escaping is the page's
and the figures' business), numbers that are missing or not finite become None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.report.results import Arm, Band, Json, Mark, Point, Study, TaskPoint, Verdict, number, table, text

BASELINE_COLOUR = "#1a1a1a"
# Okabe & Ito's colour-blind-safe palette, without its yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("solid", "dash", "dot", "dashdot")  # a second round of the palette is told apart by dashes


def read_study(path: Path) -> Study:
    """Read results.json."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: run the study first, it writes its results there.")
    try:
        raw = durable.read_json(path) or {}
    except durable.DamagedError as error:
        raise ValueError(f"{error}; run the study again to rewrite it.") from error
    if not isinstance(raw.get("arms"), list):
        raise ValueError(f"{path} holds no 'arms' list, so it is not a study's results.")
    baseline = text(raw.get("baseline")) or "full"
    entries: dict[str, list[Json]] = {}
    for entry in _tables(raw["arms"]):
        entries.setdefault(text(entry.get("name")) or "unnamed", []).append(entry)
    names = sorted(entries, key=lambda name: name != baseline)  # stable: file order after the baseline
    others = [name for name in names if name != baseline]
    return Study(
        name=text(raw.get("study")) or "study",
        baseline=baseline,
        version=text(raw.get("deepen_version")),
        regime=table(raw.get("regime")),
        noise=table(raw.get("noise")),
        arms=tuple(_arm(n, entries[n], others.index(n) if n in others else None) for n in names),
        verdicts=tuple(_verdict(v) for v in _tables(raw.get("verdicts"))),
        sharing=table(raw.get("sharing")),
    )


def _tables(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _arm(name: str, entries: Sequence[Json], index: int | None) -> Arm:
    memory = [m for e in entries if (m := number(e.get("peak_memory_bytes"))) is not None]
    return Arm(
        name=name,
        recipe=text(entries[0].get("recipe")),
        colour=BASELINE_COLOUR if index is None else COLOURS[index % len(COLOURS)],
        dash="solid" if index is None else DASHES[index // len(COLOURS) % len(DASHES)],
        is_baseline=index is None,
        seeds=tuple(int(s) for e in entries if (s := number(e.get("seed"))) is not None),
        curve=_curve([_tables(e.get("curve")) for e in entries]),
        marks=_marks(m for e in entries for m in _tables(e.get("marks"))),
        tasks=_tasks(t for e in entries for t in _tables(e.get("tasks"))),
        peak_memory_bytes=max(memory, default=None),
    )


def _curve(seeds: Sequence[Sequence[Json]]) -> tuple[Point, ...]:
    """The mean over seeds at the tokens every seed has reached, so that no seed enters or leaves midway."""
    started = [{t: p for p in curve if (t := number(p.get("tokens"))) is not None} for curve in seeds if curve]
    if not started:
        return ()
    shared = set.intersection(*(set(curve) for curve in started))
    grids = started if shared else started[:1]  # no common grid: one seed is better than an empty panel
    return tuple(
        Point(**_means([curve[t] for curve in grids]), **_place(grids[0][t])) for t in sorted(shared or grids[0])
    )


def _marks(raw: Iterable[Json]) -> tuple[Mark, ...]:
    groups: dict[tuple[str, float | None], list[Json]] = {}
    for mark in raw:
        share = number(mark.get("budget_share"))
        key = (text(mark.get("accounting")) or "flops", None if share is None else round(share, 3))
        groups.setdefault(key, []).append(mark)
    return tuple(
        Mark(
            **_means(marks),
            **_place(marks[0]),
            accounting=accounting,
            share=share,
            annealed=all(mark.get("annealed") is True for mark in marks),
            n_seeds=len(marks),
        )
        for (accounting, share), marks in groups.items()
    )


def _tasks(raw: Iterable[Json]) -> dict[str, tuple[TaskPoint, ...]]:
    groups: dict[str, dict[float, list[Json]]] = {}
    for point in raw:
        step = number(point.get("step"))
        if step is not None and number(point.get("value")) is not None and (task := text(point.get("task"))):
            groups.setdefault(task, {}).setdefault(step, []).append(point)
    return {
        task: tuple(
            TaskPoint(
                step=step,
                value=_mean(points, "value") or 0.0,
                stderr=_mean(points, "stderr"),
                n=_mean(points, "n"),
            )
            for step, points in sorted(steps.items())
        )
        for task, steps in groups.items()
    }


def _bound(value: object) -> str | None:
    return str(value) if value in ("above", "below") else None


def _bounds(value: object) -> tuple[str | None, str | None]:
    return (_bound(value[0]), _bound(value[1])) if isinstance(value, list) and len(value) == 2 else (None, None)


def _verdict(raw: Json) -> Verdict:
    outcome = raw.get("outcome")
    return Verdict(
        arm=text(raw.get("arm")),
        accounting=text(raw.get("accounting")) or "flops",
        n_seeds=int(number(raw.get("n_seeds")) or 0),
        loss=number(raw.get("loss")),
        difference=number(raw.get("difference")),
        interval=_pair(raw.get("interval")),
        multiplier=number(raw.get("compute_multiplier")),
        multiplier_interval=_pair(raw.get("multiplier_interval")),
        multiplier_bound=_bound(raw.get("multiplier_bound")),
        multiplier_interval_bounds=_bounds(raw.get("multiplier_interval_bounds")),
        tokens=number(raw.get("tokens")),
        seconds=number(raw.get("seconds")),
        peak_memory_bytes=number(raw.get("peak_memory_bytes")),
        outcome=outcome if outcome in ("wins", "loses") else "cannot tell",
        sentence=text(raw.get("sentence"), longest=600),
    )


def _place(raw: Json) -> dict[str, Any]:
    depth = number(raw.get("depth"))
    return {"depth": None if depth is None else int(depth), "phase": text(raw.get("phase"))}


def _means(raw: Sequence[Json]) -> dict[str, Any]:
    return {
        "tokens": _mean(raw, "tokens") or 0.0,
        "flops": _mean(raw, "flops") or 0.0,
        "seconds": _mean(raw, "seconds") or 0.0,
        "step": _mean(raw, "step"),
        "val": _band(raw, "val_loss"),
        "train": _band(raw, "train_loss"),
    }


def _values(raw: Sequence[Json], key: str) -> list[float]:
    return [value for item in raw if (value := number(item.get(key))) is not None]


def _mean(raw: Sequence[Json], key: str) -> float | None:
    values = _values(raw, key)
    return sum(values) / len(values) if values else None


def _band(raw: Sequence[Json], key: str) -> Band | None:
    values = _values(raw, key)
    return Band(sum(values) / len(values), min(values), max(values)) if values else None


def _pair(value: object) -> tuple[float, float] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (low, high)
