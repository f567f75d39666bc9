"""Triggers: decisions about a study that are taken from its own results, while it runs.

Once all that a study asks for is trained and judged, each trigger is shown the study and its results, and may
return a study that asks for more, such as another seed, arm or anchor. Then the tree is compiled again and what is
pending is trained, until no trigger asks for anything. Segments that are there are reused, because a segment's key
does not depend on what else is in the study.

    def measure_beyond(study: Study, results: Results) -> Study | None:
        return None if 2.0 in study.anchors else replace(study, anchors=(*study.anchors, 2.0))

    deepen.run(study, folder, triggers=(measure_beyond,))

A trigger depends on the study and its results alone, so that an interrupted run that is continued gets the same
answers. Adding seeds because a difference is not clear yet makes intervals too narrow.
"""

from collections.abc import Callable, Sequence

from deepen.study.define.study import Study
from deepen.study.results.schema import Results

Trigger = Callable[[Study, Results], Study | None]
"""A larger study to go on with, or None."""


def next_study(study: Study, results: Results, triggers: Sequence[Trigger]) -> Study | None:
    """The study that the first trigger with a request asks for, None where no trigger asks for more."""
    for trigger in triggers:
        larger = trigger(study, results)
        if larger is not None and larger != study:
            return larger
    return None
