"""The schema of map.json, the results of a map, as typed records (see `deepen.study.results.records`).

    found = load_map("deepen-runs/map")
    [(cell.arm, cell.model.name, cell.tokens_per_parameter, cell.multiplier) for cell in found.cells]

A map has one study per model; its *cells* are the verdicts of these studies at each budget.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deepen import durable
from deepen.study.results.records import Record
from deepen.study.results.results_file import read_content
from deepen.study.results.schema import Sharing
from deepen.study.results.tuning import OptionValue
from deepen.study.results.verdict_schema import Bound, Interval, Outcome

MAP_FILE = "map.json"

CONSTANT, PARAMETERS, RATIO = FEATURES = ("1", "ln parameters", "ln tokens per parameter")
"""The features of laws: a law has the first, and those of the others that varied."""

MAP_VERSION = 1
"""Increased when a key changes its meaning, not when a key is added."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class MapModel(Record):
    """A model of a map at its full depth."""

    name: str
    depth: int
    width: int
    parameters_non_embedding: int
    vocab: int
    context: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MapCell(Record):
    """A recipe, compared with full training of one model at one budget, at equal exact FLOPs.

    `arm` is the recipe's name in its study, and `options` are those of the recipe, as tuned. `tokens` and
    `tokens_per_parameter` are those of full training, which set the budget; parameters count no embedding. The
    fields from `multiplier` to `outcome` are those of the verdict (see `Verdict`); `multiplier` is None if none is
    claimed, and `withheld` has the reason.

    `beats_best_fixed_depth`: whether the arm wins against every constant depth that was measured at this budget;
    None if no depths were tried, or not all of them are measured yet. `best_fixed_depth` is the one of them with
    the lowest loss. `depths_better` and `depths_at_edge` are those of the verdict. `study` is the study's folder,
    relative to the map's.
    """

    model: MapModel
    arm: str
    recipe: str
    options: Mapping[str, OptionValue]
    tokens_per_parameter: float
    tokens: int
    budget_flops: float | None
    seeds: tuple[int, ...]
    multiplier: float | None
    bound: Bound | None
    interval: Interval | None
    bounds: tuple[Bound | None, Bound | None] | None
    withheld: str
    seconds_multiplier: float | None
    seconds_interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    outcome: Outcome = Outcome.CANNOT_TELL
    beats_best_fixed_depth: bool | None
    best_fixed_depth: str
    depths_better: tuple[str, ...] = ()
    depths_at_edge: tuple[str, ...] = ()
    study: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeLaw(Record):
    """How the natural logarithm of a recipe's multiplier depends on model and budget (see `deepen.study.map.law`).

    It is the sum of coefficient x feature, where a feature is 1, or the logarithm of a quantity minus its
    `centre`; quantities that did not vary enough have none. `covariance` is that of the coefficients. A model
    that was not measured deviates from the law by `residual_std`, and its dependence on tokens per parameter by
    `slope_std`. They are None or empty if they cannot be estimated. `n` cells of `n_sizes` models were fitted;
    `n_bounds` of them are only bounds, and count as such.
    """

    features: tuple[str, ...]
    centres: tuple[float, ...]
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    residual_std: float | None
    slope_std: float | None
    degrees_of_freedom: int
    n: int
    n_sizes: int
    n_bounds: int

    @property
    def is_whole(self) -> bool:
        """Whether its parts have the shapes and signs that belong together."""
        size = len(self.features)
        has_interval = self.residual_std is None or (
            self.residual_std >= 0
            and self.degrees_of_freedom > 0
            and [len(row) for row in self.covariance] == [size] * size
        )
        shapes = {size, len(self.centres), len(self.coefficients)}
        return size > 0 and len(shapes) == 1 and set(self.features) <= set(FEATURES) and has_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class MapLaw(Record):
    """The law of each recipe, by the name of its arm."""

    recipes: Mapping[str, RecipeLaw]


@dataclass(frozen=True, kw_only=True, slots=True)
class MapStudy(Record):
    """A study of a map: its folder, relative to the map's, and the share of its FLOPs that is trained."""

    name: str
    folder: str
    model: MapModel
    trained_share: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MapResults(Record):
    """The results of a map so far; `deepen` is the version that wrote them, `device` the machine that trained."""

    version: int = MAP_VERSION
    name: str
    deepen: str
    device: str
    studies: tuple[MapStudy, ...]
    cells: tuple[MapCell, ...]
    law: MapLaw
    sharing: Sharing

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms of all cells, in order of their first."""
        return tuple(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def models(self) -> tuple[MapModel, ...]:
        """The models of all cells, smallest first."""
        found = {cell.model.name: cell.model for cell in self.cells}
        return tuple(sorted(found.values(), key=lambda model: model.parameters_non_embedding))


def load_map(path: Path | str) -> MapResults:
    """Read a map.json, or that of a map's folder.

    Raises:
        ResultsError: it is missing, damaged, or not a map.
    """
    path = Path(path)
    path = path / MAP_FILE if path.is_dir() else path
    found = _usable(MapResults.from_json(read_content(path, "map", "cells")))
    if found.version > MAP_VERSION:
        _log.warning(
            "%s has version %d, newer than this deepen's %d: some values may be missing or read wrongly",
            path,
            found.version,
            MAP_VERSION,
        )
    return found


def _usable(found: MapResults) -> MapResults:
    """A map without the cells that lack a model or a budget, and without the laws that cannot be evaluated."""
    cells = tuple(
        replace(cell, multiplier=cell.multiplier if (cell.multiplier or 0) > 0 else None)
        for cell in found.cells
        if min(cell.tokens_per_parameter, cell.model.parameters_non_embedding) > 0
        and min(cell.model.depth, cell.model.width) > 0
    )
    measured = {cell.arm for cell in cells if cell.multiplier is not None}
    laws = {arm: law for arm, law in found.law.recipes.items() if arm in measured and law.is_whole}
    return replace(found, cells=cells, law=MapLaw(recipes=laws))


def write_map(found: MapResults, folder: Path | str) -> None:
    """Write the map.json of a map's folder; a reader always finds the old file or the new one."""
    durable.write_json(Path(folder) / MAP_FILE, found.to_json())
