"""Collecting the results of a study from its store: curves and marks of every arm, and tokens saved by sharing.

Everything is read from the logs of segments, so results can be collected at any time. An arm with one seed has one
route through the tree per mark. Its curve follows the route that is trained furthest, as far as it is trained; a
mark is reported as soon as its own route is finished.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from math import ceil
from typing import Any

from deepen import __version__
from deepen.compute.accounting import EXACT_FLOPS
from deepen.data.shards import Dataset
from deepen.evaluate.task import LOSSES, MARK_VALIDATION, VALIDATION
from deepen.schedule.rate import rate_name
from deepen.schedule.recipes import get_recipe
from deepen.study.compile.tree import Node, Route, Tree
from deepen.study.results.collect_regime import collect_regime
from deepen.study.results.collect_tuning import collect_tuning
from deepen.study.results.phases import record_phases
from deepen.study.results.schema import (
    NO_NOISE,
    ArmResult,
    CurvePoint,
    GrowthResult,
    MarkResult,
    Results,
    Sharing,
    TaskResult,
    TaskScore,
)
from deepen.study.results.step_times import StepTimes, TimedSegment, step_seconds
from deepen.study.results.validation_text import block_means, text_stderr
from deepen.study.store.log_lines import Line, last_steps, mean_loss, tokens_trained
from deepen.study.store.study_folder import Store

POINTS_BEFORE_FIRST_VALIDATION = 10
"""The steps of an unfinished run that was not validated yet become so many points of its curve."""


def collect(
    tree: Tree, store: Store, dataset: Dataset, *, machine: str, wall_seconds: float, command: str = ""
) -> Results:
    """Collect the results so far, without verdicts."""
    study, collector = tree.study, _Collector(tree, store)
    return Results(
        study=study.name,
        command=command,
        baseline=study.baseline,
        deepen_version=__version__,
        regime=collect_regime(tree, store, dataset, machine, collector.step_times, wall_seconds),
        noise=NO_NOISE,
        arms=collector.arms(),
        verdicts=(),
        depth_verdicts=(),
        depth_noise=NO_NOISE,
        sharing=collector.sharing(),
        trained_share=collector.trained_share(tree.nodes.keys() - tree.given_up),
        tuning=collect_tuning(tree, collector.done),
        best_fixed_depth=tree.tuning.best_fixed_depth,
    )


class _Collector:
    """Reads the logs of a study's segments."""

    def __init__(self, tree: Tree, store: Store) -> None:
        self.tree, self.store = tree, store
        records = {key: store.segment(key).done for key in tree.nodes.keys() - tree.waiting}
        self.at_edge = {each.arm.name for each in tree.tuning.arms if each.is_at_edge}
        self.done = {key: record for key, record in records.items() if record is not None}
        self.tokens = {key: self._tokens_trained(node) for key, node in tree.nodes.items()}
        self.step_times = StepTimes(self._timed(node) for node in tree.nodes.values() if node.key in self.done)

    def arms(self) -> tuple[ArmResult, ...]:
        by_run = groupby(self.tree.routes, key=lambda route: (route.arm.name, route.seed))
        return tuple(self._arm(list(routes)) for _, routes in by_run)

    def sharing(self) -> Sharing:
        segments = [node.segment for node in self.tree.nodes.values() if node.key in self.done]
        return Sharing(
            tokens_trained=sum(segment.tokens for segment in segments),
            tokens_if_separate=sum(
                route.mark.schedule.tokens
                for route in (*self.tree.routes, *(run for _, run in self.tree.tuning.runs))
                if self._is_finished(route)
            ),
        )

    def trained_share(self, keys: Iterable[str]) -> float:
        """The share of the FLOPs of segments that is trained."""
        nodes = [self.tree.nodes[key] for key in keys]
        trained = sum(node.segment.price(self.tokens[node.key]) for node in nodes)
        total = sum(node.segment.flops for node in nodes)
        return trained / total

    def _tokens_trained(self, node: Node) -> int:
        """The tokens of a segment that are trained; 0 if it has not begun, or waits for trials."""
        if node.key in self.tree.waiting:
            return 0
        if node.key in self.done:
            return node.segment.tokens
        steps = self.store.segment(node.key).lines("metrics")
        return tokens_trained(node.segment, steps[-1]["tokens"]) if steps else 0

    def _timed(self, node: Node) -> TimedSegment:
        """The times of a finished segment's steps."""
        parent, lines = self.done.get(node.parent or ""), self.store.segment(node.key).lines("metrics")
        before = None if parent is None else parent["progress"]["seconds"]
        return TimedSegment(node.segment, step_seconds(lines, before), self.done[node.key].get("device", ""))

    def _is_finished(self, route: Route) -> bool:
        return route.keys[-1] in self.done

    def _trained_tokens_and_length(self, route: Route) -> tuple[int, int]:
        return sum(self.tokens[key] for key in route.keys), route.mark.schedule.tokens

    def _arm(self, routes: Sequence[Route]) -> ArmResult:
        """The result of one arm with one seed, from its routes to all marks."""
        arm, seed = routes[0].arm, routes[0].seed
        recipe, rate = get_recipe(arm.recipe), self.tree.study.rate_for(arm)
        keys = {key for route in routes for key in route.keys}
        longest = max(routes, key=self._trained_tokens_and_length)
        return ArmResult(
            name=arm.name,
            recipe=recipe.name,
            is_control=recipe.is_control,
            options=dict(arm.options),
            rate=rate_name(rate),
            peak_lr=rate.peak,
            has_own_rate=rate != self.tree.study.rate,
            seed=seed,
            segments=tuple(key for key in longest.keys if self.tokens[key]),
            phases=record_phases(_route_at_equal_compute(routes).mark.schedule, self.tree.study.ledger),
            curve=self._curve(longest),
            growths=tuple(self._growths(longest)),
            marks=tuple(self._mark(route) for route in routes if self._is_finished(route)),
            tasks=self._tasks(longest),
            peak_memory_bytes=max(
                (self.done[key]["peak_memory_bytes"] for key in keys & self.done.keys()), default=0
            ),
            trained_share=self.trained_share(keys),
            batch_ramp="" if arm.batch_ramp is None else str(arm.batch_ramp),
            context_ramp="" if arm.context_ramp is None else str(arm.context_ramp),
            rate_at_edge=arm.name in self.at_edge,
        )

    def _growths(self, route: Route) -> Iterator[GrowthResult]:
        """The growths of a route, as far as it is trained."""
        schedule = route.mark.schedule
        flops, blocks = 0, schedule.depth_at_start
        layers = schedule.phases[0].depth if schedule.start_depth is None else blocks
        peak = schedule.rate.peak
        triggers = {each.end: "plateau" if each.is_plateau else "latest" for each in route.decisions}
        for key in route.keys:
            segment = self.tree.nodes[key].segment
            if not self.tokens[key]:
                return
            if segment.growth is not None:
                is_late = segment.rate.has_decayed(segment.start)
                yield GrowthResult(
                    tokens=segment.start,
                    flops=flops,
                    depth_before=layers,
                    depth_after=segment.layers,
                    blocks_before=blocks,
                    blocks_after=segment.depth,
                    decayed_to=segment.rate.at(segment.start) / peak if is_late else None,
                    trigger=triggers.get(segment.start, ""),
                )
            blocks, layers = segment.depth, segment.layers
            flops += segment.flops

    def _curve(self, route: Route) -> tuple[CurvePoint, ...]:
        """One point per validation, then one for the steps since; some where there is no validation yet."""
        metrics = self._lines(route, "metrics")
        points, previous = [], 0
        for line in (line for line in self._lines(route, "evals") if line["task"] == VALIDATION):
            steps = [step for step in metrics if previous < step["tokens"] <= line["tokens"]]
            points.append(_curve_point(route, line, steps, line["value"]))
            previous = line["tokens"]
        steps = [step for step in metrics if step["tokens"] > previous]
        size = max(1, len(steps) if points else ceil(len(steps) / POINTS_BEFORE_FIRST_VALIDATION))
        for group in (steps[first : first + size] for first in range(0, len(steps), size)):
            points.append(_curve_point(route, group[-1], group, None))
        return tuple(points)

    def _mark(self, route: Route) -> MarkResult:
        """The result at the end of a route; its training loss is the mean over the last evaluation interval."""
        tokens = route.mark.schedule.tokens
        evaluations = self.store.segment(route.keys[-1]).lines("evals")
        at_end = {line["task"]: line for line in evaluations if line["tokens"] == tokens}
        losses = {name: at_end.pop(name) for name in LOSSES if name in at_end}
        validation = losses.get(MARK_VALIDATION) or losses[VALIDATION]  # in older versions, only the curve's text
        blocks = block_means(validation.get("windows", ()))
        steps = last_steps(self._lines(route, "metrics"), tokens, self.tree.study.evaluation.every_tokens)
        return MarkResult(
            accounting=route.mark.accounting,
            budget_share=route.mark.budget_share,
            budget_flops=route.mark.budget_flops,
            **_position(validation),
            steady_seconds=self.step_times.steady_seconds(self.tree.nodes[key].segment for key in route.keys),
            val_loss=validation["value"],
            val_tokens=validation["n"],
            val_stderr=text_stderr(blocks),
            val_blocks=blocks,
            val_bits_per_byte=validation.get("metrics", {}).get("bits_per_byte"),
            train_loss=mean_loss(steps),
            annealed=self.tree.study.rate_for(route.arm).annealed,
            tasks={task: TaskScore(**_score(line), correct=line.get("correct")) for task, line in at_end.items()},
        )

    def _tasks(self, route: Route) -> tuple[TaskResult, ...]:
        """The task scores along a route."""
        return tuple(
            TaskResult(task=line["task"], **_position(line), **_score(line))
            for line in self._lines(route, "evals")
            if line["task"] not in LOSSES
        )

    def _lines(self, route: Route, log: str) -> list[Line]:
        """The lines of a log along a route, in order of tokens; of lines repeated at a cut, the last one."""
        by_point = {}
        for key in route.keys:
            for line in self.store.segment(key).lines(log):
                if line["tokens"] <= route.mark.schedule.tokens:
                    by_point[line["tokens"], line.get("task")] = line
        return [by_point[point] for point in sorted(by_point, key=lambda point: point[0])]


def _route_at_equal_compute(routes: Sequence[Route]) -> Route:
    """The route of an arm with one seed to its mark at the study's whole budget; the first one if it has none."""
    equal = (EXACT_FLOPS, 1.0)
    return next((each for each in routes if (each.mark.accounting, each.mark.budget_share) == equal), routes[0])


def _curve_point(route: Route, line: Line, steps: Sequence[Line], val_loss: float | None) -> CurvePoint:
    """A point at the position of a line; its training loss is the mean over steps."""
    depth, label = _phase_at(route, line["tokens"])
    return CurvePoint(
        **_position(line),
        depth=depth,
        phase=label,
        lr=steps[-1]["lr"] if steps else None,
        train_loss=mean_loss(steps),
        val_loss=val_loss,
    )


def _position(line: Line) -> dict[str, Any]:
    """The position in the run at which a line was written."""
    return {key: line[key] for key in ("tokens", "step", "flops", "seconds")}


def _score(line: Line) -> dict[str, Any]:
    """The score of a task in a line, without the outcomes of its examples."""
    known = {key: line[key] for key in ("value", "n", "stderr")}
    return known | {"metrics": line.get("metrics", {}), "dtype": line.get("dtype", "")}


def _phase_at(route: Route, tokens: int) -> tuple[int, str]:
    """Depth and label of the phase of the step that ends at `tokens`."""
    phases = route.mark.schedule.phases
    ends = accumulate(phase.tokens for phase in phases)
    return next((phase.depth, phase.label) for phase, end in zip(phases, ends, strict=True) if tokens <= end)
