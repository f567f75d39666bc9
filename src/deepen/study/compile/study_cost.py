"""What a study costs beside its training steps, and the time that all of it takes on a device. Nothing is trained.

    tree = compile_study(study, data_fingerprint="")
    evaluation_flops(tree)                          # forward passes over validation text
    estimate_time(tree, Fleet(device=DEVICES["h100"], mfu=assumed_mfu(study.model.width)))

A point of a curve costs a forward pass over `validation_tokens`, a mark one over `Study.mark_tokens`, which
includes the text of the curve. A pass costs a third of training on the same tokens:

    trained for 47.4M tokens, a mark of 2.1M     2.1 / (3 · 47.4) = 1.5 % of the run's FLOPs

Tasks are not priced: their tokens are known only when their files are read.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deepen.compute.devices import Fleet
from deepen.evaluate.task import LOSSES, MARK_VALIDATION
from deepen.study.compile.tree import Node, Tree
from deepen.study.define.study import Study

SEGMENT_SECONDS = 2.0
"""Assumed for the beginning of a segment on a GPU: its state is loaded and its model built; kernels are compiled
once for all. On a CPU it takes 0.1 to 0.6 s (docs/performance.md); on a GPU it is not measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyTime:
    """Seconds that a study takes on devices, one segment after another.

    Attributes:
        training: of all training steps, at the fleet's utilization.
        evaluation: of the forward passes of all curves and marks, at the same utilization.
        beginnings: of the beginnings of segments, at `SEGMENT_SECONDS` each.
    """

    training: float
    evaluation: float
    beginnings: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.training + self.evaluation + self.beginnings


def estimate_time(tree: Tree, fleet: Fleet) -> StudyTime:
    """The time of a study on some devices, which train each segment together; no saving, no drawing."""
    return StudyTime(
        training=fleet.seconds(tree.flops),
        evaluation=fleet.seconds(evaluation_flops(tree)),
        beginnings=SEGMENT_SECONDS * count_segments(tree),
    )


def evaluation_flops(tree: Tree) -> int:
    """FLOPs of the validation losses of curves and marks, those of runs to come included, at most."""
    study, tuning = tree.study, tree.tuning
    flops = sum(_price_evaluations(study, node) for node in tree.nodes.values())
    baseline = sum(_price_evaluations(study, node) for node in _baseline_nodes(tree))
    flops += tuning.max_depths_to_come * baseline  # a depth is measured where the baseline is, and is not deeper
    return flops + tuning.runs_to_come * study.mark_tokens * _per_token(study, study.model.depth)


def count_segments(tree: Tree) -> int:
    """Segments that the study trains; a run to come counts as two, its trunk and its decay."""
    depths_to_come = tree.tuning.max_depths_to_come * len(_baseline_nodes(tree))
    return len(tree.nodes) + depths_to_come + 2 * tree.tuning.runs_to_come


def max_tokens(trees: Iterable[Tree]) -> int:
    """Training tokens of the longest run of any of these studies."""
    return max(route.mark.schedule.tokens for tree in trees for route in tree.routes)


def _baseline_nodes(tree: Tree) -> list[Node]:
    keys = {key for route in tree.routes if route.arm.name == tree.study.baseline for key in route.keys}
    return [tree.nodes[key] for key in keys]


def _price_evaluations(study: Study, node: Node) -> int:
    """FLOPs of the evaluations of a segment; at a mark, one pass gives both losses."""
    tokens = sum(
        study.mark_tokens if MARK_VALIDATION in point.tasks else study.evaluation.validation_tokens
        for point in node.evaluations
        if set(point.tasks) & set(LOSSES)
    )
    return tokens * _per_token(study, node.segment.layers)


def _per_token(study: Study, layers: int) -> int:
    return study.ledger.evaluation_per_token(layers, study.context)
