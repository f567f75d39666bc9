"""Decide where phases end that a plateau may end, from the losses in a study's folder, and record it there.

    decisions = Decisions(store)
    tree = compile_study(study, fingerprint, decisions.find, decisions.find_loss)

A decision is recorded in the folder of the segment whose end decided, and is never taken again: on a GPU, a
segment that is trained again can have slightly other losses. It is taken by the process that runs the study, never
by one that only trains.

The choice between trials follows from their losses. The loss of each is recorded in the same way, when it is first
used, and the logs are not looked at again.
"""

import logging
import math
from collections.abc import Mapping

from deepen.errors import RunError, listed
from deepen.evaluate.task import MARK_VALIDATION
from deepen.schedule.plateau import Trigger, decide
from deepen.study.compile.keys import canonical
from deepen.study.compile.tree import Route, Tree
from deepen.study.store.log_lines import Line
from deepen.study.store.study_folder import Store

_log = logging.getLogger(__name__)


class Decisions:
    """The decisions in a study's folder.

    Args:
        store: the study's folder.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lines: dict[str, list[Line]] = {}  # of finished segments, whose logs no longer change
        self._losses: dict[str, float] = {}  # at the ends of finished trials

    def find(self, trigger: Trigger, keys: Mapping[int, str]) -> int | None:
        """Where the phase of a trigger ends; None if training has not decided yet: see `Decide`.

        Raises:
            RunError: the log of a finished segment misses steps.
        """
        question = canonical(trigger.plateau) | {"begin": trigger.begin, "latest": trigger.latest}
        for at, key in keys.items():
            if question in self._store.segment(key).decisions:
                return at
        trained = [at for at, key in keys.items() if self._store.segment(key).done is not None]
        if not trained:
            return None
        lines = self._read_run(keys[trained[-1]])
        checks = [at for at in trigger.checks if at in trained]
        end = decide(trigger.plateau, checks, begin=trigger.begin, lines=lines)
        if end is None and trigger.latest in trained:
            end = trigger.latest
        if end is not None:
            self._store.segment(keys[end]).record_decision(question)
        return end

    def find_loss(self, key: str) -> float | None:
        """The validation loss at the end of a trial's last segment.

        Returns:
            None until it is trained and evaluated there; infinity if the trial was given up.
        """
        if key not in self._losses:
            folder = self._store.segment(key)
            done = folder.done
            if folder.has_diverged:
                return math.inf
            if (recorded := folder.trial_loss) is not None:
                self._losses[key] = recorded
                return recorded
            if done is None:
                return None
            end = done["progress"]["tokens"]
            lines = [
                line for line in folder.lines("evals") if (line["tokens"], line["task"]) == (end, MARK_VALIDATION)
            ]
            if not lines:
                return None
            self._losses[key] = lines[-1]["value"]
        return self._losses[key]

    def record_losses(self, tree: Tree) -> None:
        """Record the losses of a tree's trials: what they choose stays, also if a trial is trained again."""
        for trial in tree.tuning.trials:
            for run, loss in zip(trial.runs, trial.losses, strict=True):
                folder = self._store.segment(run.keys[-1])
                if loss is not None and loss < math.inf and folder.trial_loss is None:
                    folder.record_trial_loss(loss)

    def log_new(self, before: Tree, after: Tree) -> None:
        """Log what is decided in a tree and was open in an earlier one of the same study."""
        lines: dict[str, None] = {}  # marks of one run can have the same decisions
        known = {_name_route(route): route.decisions for route in before.routes}
        for new in after.routes:
            old = known.get(_name_route(new), ())
            for nth, decision in enumerate(new.decisions):
                if decision.is_open or (nth < len(old) and not old[nth].is_open):
                    continue
                how = "on a plateau of the loss" if decision.is_plateau else "at its latest end"
                phase, end = decision.trigger.label, f"{decision.end:,} of {new.mark.schedule.tokens:,} tokens"
                lines[f"{new.arm.name}, seed {new.seed}: phase {phase!r} ends at {end}, {how}"] = None
        for line in lines:
            _log.info(line)

    def log_choices(self, before: Tree, after: Tree) -> None:
        """Log what trials have chosen in a tree and had not in an earlier one of the same study."""
        was_open = {each.arm.name: each.is_open for each in before.tuning.arms}
        for each in after.tuning.arms:
            if (chosen := each.chosen) is not None and was_open.get(each.arm.name, True):
                options = "".join(f", {name} {value}" for name, value in each.options(chosen).items())
                _log.info(
                    "%s: peak rate %g%s, the best of %d trials%s",
                    each.arm.name,
                    chosen.peak,
                    options,
                    len(each.trials),
                    ", at the edge of the rates that were tried" if each.is_at_edge else "",
                )
        if after.tuning.best_depths != before.tuning.best_depths:
            best = after.tuning.best_fixed_depth
            others = dict.fromkeys(each.arm for each in after.tuning.best_depths if each.arm != best)
            smaller = f"; at smaller budgets, that of {' and '.join(others)}" if others else ""
            _log.info("the best fixed depth is that of %s%s", best, smaller)

    def _read_run(self, key: str) -> list[Line]:
        """A line per step of the run that led to the end of a segment, in order."""
        by_tokens: dict[int, Line] = {}
        parent: str | None = key
        while parent is not None:
            spec = self._store.segment(parent).spec
            lines = self._read_segment(parent)
            if spec is None or not lines:
                raise self._incomplete(parent)
            by_tokens = {line["tokens"]: line for line in lines} | by_tokens
            parent = spec["parent"]
        lines = [by_tokens[tokens] for tokens in sorted(by_tokens)]
        if [line["step"] for line in lines] != list(range(1, len(lines) + 1)):
            raise self._incomplete(key)
        return lines

    def _read_segment(self, key: str) -> list[Line]:
        if key not in self._lines:
            self._lines[key] = self._store.segment(key).lines("metrics")
        return self._lines[key]

    def _incomplete(self, key: str) -> RunError:
        self._lines.clear()
        return RunError(
            f"the losses that lead to {self._store.segment(key).folder} are incomplete, so that nothing can be "
            "decided from them",
            remedy="run the same command again: it repairs the folder",
        )


def _name_route(route: Route) -> tuple[str, int, str, float, int]:
    """What identifies a route among those of its study, whatever is decided."""
    mark = route.mark
    return route.arm.name, route.seed, mark.accounting, mark.budget_share, mark.earlier_tokens


def check_choices(tree: Tree) -> None:
    """Check that a trial of each arm that has made its choice ended with a loss.

    Raises:
        RunError: all trials of an arm diverged.
    """
    for each in tree.tuning.arms:
        if each.chosen is not None and each.chosen.loss == math.inf:
            peaks = listed(sorted({trial.peak for trial in each.trials}))
            raise RunError(
                f"all trials of arm {each.arm.name} diverged, at peak rates {peaks}", remedy="try lower rates, too"
            )
