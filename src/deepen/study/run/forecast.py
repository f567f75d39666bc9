"""Warnings before a run starts: how long it will take on this machine, if that is days, and how often it reads its
data, if that is often.

Nothing is measured for a run that is short even on a slow machine, nor where segments are trained elsewhere.
Otherwise a step or two of the model are timed, and the FLOPs that remain give the time:

    4.5e18 FLOPs remain, a step reaches 9e10 FLOP/s, 2 segments are trained at once     290 days
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from deepen.study.compile.study_cost import max_tokens
from deepen.study.compile.tree import Node, Tree
from deepen.study.run.scheduler import find_pending
from deepen.study.store.log_lines import tokens_trained
from deepen.study.store.study_folder import Store
from deepen.train.limits import usable_cores

_log = logging.getLogger(__name__)

_DAY = 86_400

MAX_EPOCHS = 4
"""So far, repeated tokens are nearly as good as fresh ones (Muennighoff et al. 2023, arXiv 2305.16264)."""

SLOW_CORE = 1e9
"""FLOP/s of a core that is slower than those of any usual machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """FLOP/s of training a segment on this machine.

    Attributes:
        flops_per_second: the speed.
        is_peak: whether it is that of matrix products alone, which training does not reach.
    """

    flops_per_second: float
    is_peak: bool = False


def warn_of_days(tree: Tree, store: Store, at_once: int, measure: Callable[[], Speed | None]) -> None:
    """Log a warning if what remains to be trained takes a day or more.

    Args:
        tree: the tree of a study.
        store: the study's folder.
        at_once: segments that are trained at the same time.
        measure: measures the speed of one of them; None if it cannot be known.
    """
    announce_days(remaining_flops(tree, store, at_once), measure)


def announce_days(flops: float, measure: Callable[[], Speed | None], what: str = "training") -> None:
    """Log a warning if so many FLOPs, one after another, take a day or more.

    Args:
        flops: the FLOPs.
        measure: see `warn_of_days`.
        what: what takes that long.
    """
    if flops < SLOW_CORE * usable_cores() * _DAY:
        return
    speed = measure()
    if speed is None or flops / speed.flops_per_second < _DAY:
        return
    days = flops / speed.flops_per_second / _DAY
    _log.warning(
        "%s will take %s %s here: %.2g FLOPs, at %.2g FLOP/s, %s. A smaller model, fewer tokens, or another "
        "executor or machine takes less, and its plan gives the time on other devices; it can be stopped and "
        "continued at any time",
        what,
        "at least" if speed.is_peak else "an estimated",
        "a day" if days < 1.5 else f"{days:,.0f} days",
        flops,
        speed.flops_per_second,
        "the speed of matrix products alone" if speed.is_peak else "as measured with a step of the model",
    )


def warn_of_epochs(tree: Tree, train_tokens: int) -> None:
    """Log a warning if the longest run reads its data, of `train_tokens` tokens, more often than `MAX_EPOCHS`."""
    tokens = max_tokens((tree,))
    if tokens > MAX_EPOCHS * train_tokens:
        _log.warning(
            "the longest run reads %s tokens, %.0f epochs of the data: beyond %d, each repetition lowers the loss "
            "less than fresh tokens would; use more data or a smaller budget",
            f"{tokens:,}",
            tokens / train_tokens,
            MAX_EPOCHS,
        )


def remaining_flops(tree: Tree, store: Store, at_once: int) -> float:
    """FLOPs that are trained one after another: those of the longest route, or a worker's share of all.

    All includes the runs that wait for trials, and what follows from losses to come.
    """
    longest: dict[str, int] = {}
    total = tree.flops_to_come + sum(_untrained_flops(tree.nodes[key], store) for key in tree.waiting)
    for node in find_pending(tree, store):  # parents first
        own = _untrained_flops(node, store)
        total += own
        longest[node.key] = own + longest.get(node.parent or "", 0)
    return max(total / at_once, *longest.values(), 0)


def _untrained_flops(node: Node, store: Store) -> int:
    """FLOPs of a segment that no saved state has trained."""
    segment = node.segment
    return segment.price(segment.tokens - tokens_trained(segment, store.segment(node.key).tokens_saved))
