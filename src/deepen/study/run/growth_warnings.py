"""Warnings before a run whose growth will not do what one may expect of it."""

import logging

from deepen.schedule.late_growth import REMEDY, find_late_growth
from deepen.schedule.rescaled_growth import find_rescaled_growth
from deepen.study.compile.tree import Tree

_log = logging.getLogger(__name__)


def warn_of_growth(tree: Tree) -> None:
    """Log a warning for each arm that grows within the decay of its rate, or whose growth changes the function."""
    warned: set[tuple[str, str]] = set()  # what is said once for all marks and seeds of an arm
    for route in tree.routes:
        name, schedule = route.arm.name, route.mark.schedule
        late, rescaled = find_late_growth(schedule), find_rescaled_growth(schedule, tree.study.model)
        if late is not None and (name, "late") not in warned:
            warned.add((name, "late"))
            _log.warning("arm %s %s. %s", name, late, REMEDY)
        if rescaled is not None and (name, "rescaled") not in warned:
            warned.add((name, "rescaled"))
            _log.warning("arm %s %s", name, rescaled)
