"""Tables of loss against constant depth, for pages of results (see `deepen.report.figures.isoflops`)."""

from collections.abc import Iterator, Sequence

from deepen.report.figures.isoflops import RATIO, DepthStudy, IsoFlops, read_depth_studies, read_depth_study
from deepen.report.publish.markdown import MarkdownTable
from deepen.report.tables.data_files import Table
from deepen.report.units import fixed, ratio
from deepen.study.results.schema import Results


def isoflop_table(results: Results) -> MarkdownTable | None:
    """The loss of each constant depth at each budget; None without three constant depths.

    The lowest loss is bold, those that cannot be told from it are in italics; in brackets, tokens per parameter.
    """
    study = read_depth_study(results)
    if study is None:
        return None
    depths = sorted({each.depth for curve in study.curves for each in curve.depths})
    return MarkdownTable(
        columns=("budget (FLOPs)", *map(str, depths), "minimum (95 %)"),
        rows=[
            (f"{curve.budget:.3g}", *(_loss_cell(curve, depth) for depth in depths), minimum_text(curve))
            for curve in study.curves
        ],
    )


def _loss_cell(curve: IsoFlops, depth: int) -> str:
    found = next((each for each in curve.depths if each.depth == depth), None)
    if found is None:
        return ""
    mark = "**" if depth == curve.best.lowest else "*" if curve.seeds > 1 and depth in curve.best.close else ""
    return f"{mark}{fixed(found.mean)}{mark} ({ratio(found.tokens_per_parameter)})"


def minimum_text(curve: IsoFlops) -> str:
    """The depth at which the curve is lowest, with its interval; or what is known of it."""
    best = curve.best
    if best.is_at_edge:
        return f"at {'most' if best.lowest == curve.depths[0].depth else 'least'} {best.lowest}"
    if best.minimum is None:
        return f"{best.lowest}, no parabola"
    return f"{best.minimum:.1f} ({_interval_text(best.interval, curve.seeds)})"


def _interval_text(interval: tuple[float, float] | None, seeds: int) -> str:
    if interval is None:
        return "one seed" if seeds == 1 else "flat"
    return f"{interval[0]:.1f} to {interval[1]:.1f}"


def best_depth_table(group: Sequence[Results]) -> MarkdownTable | None:
    """The depth of each study that is best at its own 20 tokens per parameter; None without such a study."""
    studies = read_depth_studies(group)
    if not studies:
        return None
    return MarkdownTable(
        columns=(
            "study",
            f"best depth at its own {RATIO:g} tokens per parameter (95 %)",
            "budget (FLOPs)",
            "depths that cannot be told from the best, at the nearest budget",
            "seeds",
        ),
        rows=[tuple(_best_depth_cells(study)) for study in studies],
    )


def _best_depth_cells(study: DepthStudy) -> Iterator[str]:
    best, nearest = study.own_best, study.nearest
    yield study.title
    if best is not None:
        yield f"{best.depth:.1f} ({_interval_text(best.interval, nearest.seeds)})"
        yield f"{best.budget:.3g}"
    else:  # it is not at its own ratio at any measured budget
        at = ratio(nearest.find(nearest.best.lowest).tokens_per_parameter)
        yield f"not measured; {minimum_text(nearest)} at {at} tokens per parameter"
        yield f"{nearest.budget:.3g}"
    yield ", ".join(str(depth) for depth in nearest.best.close) if nearest.seeds > 1 else "unknown"
    yield str(nearest.seeds)


def tabulate_isoflops(group: Sequence[Results]) -> Table:
    """All curves as lines: study, budget, depth, its loss, and the minimum of the budget."""
    lines = [
        {
            "study": study.title,
            "width": study.width,
            "budget_flops": curve.budget,
            "depth": each.depth,
            "tokens": each.tokens,
            "tokens_per_parameter": each.tokens_per_parameter,
            "seeds": len(each.losses),
            "val_loss": each.mean,
            "is_lowest": each.depth == curve.best.lowest,
            "is_close": each.depth in curve.best.close,
            "minimum": curve.best.minimum,
            "minimum_low": curve.best.interval[0] if curve.best.interval else None,
            "minimum_high": curve.best.interval[1] if curve.best.interval else None,
            "noise_std": curve.best.noise_std,
        }
        for study in read_depth_studies(group)
        for curve in study.curves
        for each in curve.depths
    ]
    kinds = {"study": str, "width": int, "depth": int, "seeds": int, "is_lowest": bool, "is_close": bool}
    return Table({name: kinds.get(name, float) for name in (lines[0] if lines else kinds)}, lines)
