"""The heat maps of a map, one per arm: models by tokens per parameter, shared by the page and the figure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from deepen.report.intervals import factor_text, factors_text
from deepen.report.units import UNKNOWN, signed
from deepen.study.map.schema import MapCell, MapModel, MapResults
from deepen.study.results.verdict_schema import Outcome

FULL_COLOUR_AT = 1.5
"""The multiplier with the full colour of a gain; its inverse has the full colour of a loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    """A square of a heat map: a cell, or None where nothing was measured.

    Attributes:
        cell: the cell.
        break_even_right, break_even_below: whether the line where growing breaks even runs along that side.
    """

    cell: MapCell | None
    break_even_right: bool = False
    break_even_below: bool = False

    @property
    def strength(self) -> float:
        """How strong the colour is: 1 at a multiplier of `FULL_COLOUR_AT`, −1 at its inverse, 0 at 1."""
        multiplier = self.cell.multiplier if self.cell is not None else None
        if not multiplier or multiplier <= 0:
            return 0.0
        return max(-1.0, min(1.0, math.log(multiplier) / math.log(FULL_COLOUR_AT)))

    @property
    def is_hatched(self) -> bool:
        """Whether the cell cannot be told from no effect."""
        return self.cell is not None and self.cell.outcome is Outcome.CANNOT_TELL

    @property
    def multiplier(self) -> str:
        """The multiplier, a bound on it, or a dash."""
        cell = self.cell
        return UNKNOWN if cell is None else factor_text(cell.multiplier, cell.bound, cell.bounds)

    @property
    def mark(self) -> str:
        """✓ if all constant depths are beaten, (✓) if one has a rate at the edge of those tried, ✗ if one wins."""
        cell = self.cell
        if cell is None:
            return ""
        if cell.beats_best_fixed_depth:
            return "(✓)" if cell.depths_at_edge else "✓"
        return "✗" if cell.depths_better else ""

    @property
    def interval(self) -> str:
        """The multiplier's interval, or, without one, the difference in nats per token."""
        if self.cell is None:
            return ""
        if self.cell.multiplier is None:
            return "" if self.cell.difference is None else f"{signed(self.cell.difference)} nats"
        return factors_text(self.cell.interval, self.cell.bounds)

    @property
    def sentence(self) -> str:
        """The cell in a sentence."""
        cell = self.cell
        if cell is None:
            return "not measured"
        what = f"{cell.arm} {cell.outcome.value}" if cell.outcome is not Outcome.CANNOT_TELL else "cannot tell"
        parts = [f"{what} on {cell.model.name} at {cell.tokens_per_parameter:.3g} tokens per parameter"]
        if cell.difference is not None:
            parts.append(f"difference {signed(cell.difference)} nats")
        if cell.withheld:
            parts.append(f"no multiplier: {cell.withheld}")
        if cell.seconds_multiplier is not None:
            parts.append(f"in seconds {factor_text(cell.seconds_multiplier, cell.bound, cell.bounds)}")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The heat map of one arm: a row per model, small ones first, a column per budget, labelled by `budgets`."""

    arm: str
    budgets: tuple[str, ...]
    rows: tuple[tuple[MapModel, tuple[Square, ...]], ...]


def make_grids(found: MapResults) -> tuple[Grid, ...]:
    """The heat maps of all arms, with the same rows and columns."""
    columns, budgets = _group_cells(found.cells), label_budgets(found)
    return tuple(_make_grid(arm, found.models, columns, budgets) for arm in found.arms)


def label_budgets(found: MapResults) -> tuple[str, ...]:
    """The budgets of a map in tokens per parameter: rounded by at most 1 %, and each different from the others."""
    medians = [median(cell.tokens_per_parameter for cell in group) for group in _group_cells(found.cells)]
    labels = [_round_within(value, 0.01) for value in medians]
    return tuple(
        label if labels.count(label) == 1 else f"{value:.10g}"
        for label, value in zip(labels, medians, strict=True)
    )


def _round_within(value: float, error: float) -> str:
    """A number with the fewest digits that change it by at most a share of it."""
    rounded = (f"{value:.{digits}g}" for digits in range(1, 18))
    return f"{float(next(text for text in rounded if abs(float(text) - value) <= error * value)):.10g}"


def _group_cells(cells: Sequence[MapCell]) -> list[list[MapCell]]:
    """The cells of each budget, small ones first; within 5 % they are one, as whole steps move them a little.

    Budgets at which the same model was measured are never one, however close they are.
    """
    groups: list[list[MapCell]] = []
    known = [cell for cell in cells if cell.tokens_per_parameter > 0]
    for cell in sorted(known, key=lambda cell: cell.tokens_per_parameter):
        if groups and _have_same_budget(groups[-1], cell):
            groups[-1].append(cell)
        else:
            groups.append([cell])
    return groups


def _have_same_budget(group: Sequence[MapCell], cell: MapCell) -> bool:
    budget = cell.tokens_per_parameter
    same_model = [other for other in group if other.model.name == cell.model.name]
    return budget <= 1.05 * group[0].tokens_per_parameter and all(
        other.tokens_per_parameter == budget for other in same_model
    )


def _make_grid(
    arm: str, models: Sequence[MapModel], columns: Sequence[Sequence[MapCell]], budgets: tuple[str, ...]
) -> Grid:
    found = [{cell.model.name: cell for cell in column if cell.arm == arm} for column in columns]
    table = [[column.get(model.name) for column in found] for model in models]
    return Grid(
        arm=arm,
        budgets=budgets,
        rows=tuple((model, tuple(_squares(table, row))) for row, model in enumerate(models)),
    )


def _squares(table: Sequence[Sequence[MapCell | None]], row: int) -> Iterator[Square]:
    """The squares of a row. The line breaks even between neighbours of which one gains and the other does not."""
    for column, cell in enumerate(table[row]):
        right = table[row][column + 1] if column + 1 < len(table[row]) else None
        below = table[row + 1][column] if row + 1 < len(table) else None
        yield Square(
            cell=cell, break_even_right=_breaks_even(cell, right), break_even_below=_breaks_even(cell, below)
        )


def _breaks_even(one: MapCell | None, other: MapCell | None) -> bool:
    if one is None or other is None or one.multiplier is None or other.multiplier is None:
        return False
    return (one.multiplier > 1) != (other.multiplier > 1)
