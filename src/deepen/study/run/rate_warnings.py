"""The warning before a run of arms that grow after their learning rate has begun to decay."""

import logging

from deepen.schedule.late_growth import REMEDY, find_late_growth
from deepen.study.compile.tree import Tree

_log = logging.getLogger(__name__)


def warn_of_late_growth(tree: Tree) -> None:
    """Log a warning for each arm that grows after its rate has begun to decay, on the way to any mark."""
    warned: set[str] = set()
    for route in tree.routes:
        late = None if route.arm.name in warned else find_late_growth(route.mark.schedule)
        if late is not None:
            warned.add(route.arm.name)
            _log.warning("arm %s %s. %s", route.arm.name, late, REMEDY)
