"""Triggers: functions that extend a study because of its own results.

When a study is trained and judged, each trigger receives the study and its results. It may return a larger study,
for example with another seed, arm or anchor. Then the tree is compiled again and the new segments are trained,
until no trigger asks for more. Existing segments are reused, because a segment's key does not depend on the rest
of the study.

    def measure_beyond(study: Study, results: Results) -> Study | None:
        return None if 2.0 in study.anchors else replace(study, anchors=(*study.anchors, 2.0))

    deepen.run(study, folder, triggers=(measure_beyond,))

A trigger must depend only on the study and its results, so that an interrupted run continues in the same way. Note
that adding seeds because a difference is not yet clear makes intervals too narrow.
"""

from collections.abc import Callable, Sequence

from deepen.study.define.study import Study
from deepen.study.results.schema import Results

Trigger = Callable[[Study, Results], Study | None]
"""Returns a larger study to continue with, or None."""


def next_study(study: Study, results: Results, triggers: Sequence[Trigger]) -> Study | None:
    """The larger study from the first trigger that returns one; None if no trigger does."""
    for trigger in triggers:
        larger = trigger(study, results)
        if larger is not None and larger != study:
            return larger
    return None
