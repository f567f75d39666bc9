"""What each arm does: its layers over its tokens, as a strip, and in a sentence.

A strip is drawn as `deepen plan --figure` draws a schedule: a row per executed layer, from bottom to top, with a
colour for what training does with it in each phase. All strips of a study have the same scale:

    one-shot   phases: 3 layers for 60 tokens, then 12 for 40; the widest strip of the study has 120 tokens
    strip      Bar(left=0, width=500, top=9, height=3), Bar(left=500, width=333, top=0, height=12)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from deepen.compute.ledger import Role
from deepen.growth.operators import OPERATORS
from deepen.report.roles import ROLE_STYLES, group_layers, role_key
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.report.units import capitalized, count, counted, cut, in_words, join, percent
from deepen.schedule.trainable import Trainable
from deepen.study.results.phases import PhaseResult

STRIP_WIDTH = 1000
"""The width of the longest strip, in units of the drawing."""

MAX_TICKS = 5
"""Maximum number of steps on the axis of tokens."""

MAX_DEPTHS = 3
"""Maximum number of depths that a sentence lists with their shares of the tokens."""

MAX_DEPTH = 10_000
"""Maximum depth that is drawn at all."""

MAX_LAYERS_SHOWN = 24
"""Maximum depth at which lines separate the layers of a strip."""

_SETS = {
    "new-blocks": "the new blocks",
    "new-blocks-head": "the new blocks and the head",
    "new-blocks-embeddings": "the new blocks, the embeddings and the head",
}
"""The trainable sets with a name of their own, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Adjacent layers of a phase that are drawn alike: a rectangle, in units of the drawing.

    `role` is one of `ROLE_STYLES`.
    """

    left: float
    width: float
    top: int
    height: int
    role: str
    is_repeat: bool

    @property
    def edges(self) -> str:
        """Lines between its layers, and below it, as an SVG path."""
        return "".join(f"M{self.left} {self.top + layer}h{self.width}" for layer in range(1, self.height + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedBlocks:
    """Adjacent layers that a phase adds where it begins, as a vertical line."""

    left: float
    top: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The strip of an arm: drawing and sentence. `note` qualifies the drawing."""

    arm: ArmSummary
    bars: tuple[Bar, ...]
    added: tuple[AddedBlocks, ...]
    sentence: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """The strips of a study. `height` is in layers; `ticks` are positions on the axis of tokens, with labels."""

    strips: tuple[Strip, ...]
    height: int
    ticks: tuple[tuple[float, str], ...]

    @property
    def shows_layers(self) -> bool:
        """Whether the layers are few enough for lines between them."""
        return self.height <= MAX_LAYERS_SHOWN

    @property
    def roles(self) -> dict[str, str]:
        """The roles that occur, with their labels, for the legend."""
        found = {bar.role for strip in self.strips for bar in strip.bars}
        return {role: style.label for role, style in ROLE_STYLES.items() if role in found}

    @property
    def has_repeats(self) -> bool:
        """Whether layers execute a block again."""
        return any(bar.is_repeat for strip in self.strips for bar in strip.bars)

    @property
    def has_added(self) -> bool:
        """Whether blocks are added."""
        return any(strip.added for strip in self.strips)


def draw_strips(study: StudySummary) -> Strips:
    """The strips of all arms whose phases are known."""
    drawn = [(arm, phases) for arm in study.arms if (phases := find_phases(arm))]
    longest = max((_count_tokens(phases) for _, phases in drawn), default=1)
    height = max((phase.depth for _, phases in drawn for phase in phases), default=1)
    return Strips(
        strips=tuple(
            Strip(
                arm=arm,
                bars=tuple(_draw_bars(phases, longest, height)),
                added=tuple(_draw_added(phases, longest, height)),
                sentence=describe_phases(phases, own_rate="" if study.tuning else arm.own_rate),
                note=_describe_seeds(arm),
            )
            for arm, phases in drawn
        ),
        height=height,
        ticks=tuple(_ticks(longest)),
    )


def find_phases(arm: ArmSummary) -> tuple[PhaseResult, ...]:
    """The phases of an arm with its first seed, without those that have no tokens or a depth of no model.

    In files of older versions they are read from the depths along its curve; what was trained is unknown there.
    """
    if not arm.runs:
        return ()
    if known := tuple(phase for phase in arm.runs[0].phases if phase.tokens > 0 and _can_be_drawn(phase.depth)):
        return known
    mark = arm.mark_at_equal_compute
    phases: list[PhaseResult] = []
    begin, last = 0.0, mark.tokens if mark else float("inf")
    for point in arm.runs[0].curve:
        end = min(point.tokens, last)
        if point.depth is None or end <= begin or not _can_be_drawn(point.depth):
            continue
        if phases and phases[-1].depth == point.depth:
            phases[-1] = replace(phases[-1], tokens=phases[-1].tokens + round(end - begin))
        else:
            read = {"tokens": round(end - begin), "depth": point.depth, "blocks": point.depth}
            phases.append(PhaseResult.from_json(read))
        begin = end
    return tuple(phases)


def _can_be_drawn(depth: int) -> bool:
    """Whether a model may have this depth: results of a stranger may name any."""
    return 0 <= depth <= MAX_DEPTH


def _draw_bars(phases: Sequence[PhaseResult], longest: int, height: int) -> Iterator[Bar]:
    begin = 0
    for phase in phases:
        left, right = _place(begin, longest), _place(begin + phase.tokens, longest)
        executed = phase.layers or range(phase.depth)
        for group in group_layers(executed, (_role(phase, layer) for layer in range(len(executed)))):
            yield Bar(
                left=left,
                width=round(right - left, 1),
                top=height - group.high,
                height=group.high - group.low,
                role=group.role,
                is_repeat=group.is_repeat,
            )
        begin += phase.tokens


def _role(phase: PhaseResult, layer: int) -> str:
    if not phase.trained:
        return "unknown"
    if layer < phase.cut:
        return role_key(Role.FORWARD)
    return role_key(Role.TRAINED if layer in phase.trained_layers else Role.THROUGH)


def _draw_added(phases: Sequence[PhaseResult], longest: int, height: int) -> Iterator[AddedBlocks]:
    begin = 0
    for phase in phases:
        layers = sorted(phase.new_layers)
        for _, run in groupby(enumerate(layers), key=lambda each: each[1] - each[0]):
            adjacent = [layer for _, layer in run]
            top = height - adjacent[-1] - 1
            yield AddedBlocks(left=_place(begin, longest), top=top, height=len(adjacent))
        begin += phase.tokens


def _ticks(longest: int) -> Iterator[tuple[float, str]]:
    """Positions at round numbers of tokens, with labels."""
    exact = longest / MAX_TICKS
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= exact)
    for nth in range(MAX_TICKS + 1):
        if nth * step <= longest:
            yield _place(nth * step, longest), count(nth * step)


def _place(tokens: float, longest: int) -> float:
    return round(STRIP_WIDTH * tokens / longest, 1)


def _count_tokens(phases: Sequence[PhaseResult]) -> int:
    return sum(phase.tokens for phase in phases)


def _describe_seeds(arm: ArmSummary) -> str:
    """Which seed is drawn, if the phases differ between seeds."""
    differ = len({run.phases for run in arm.runs}) > 1
    return f"drawn for seed {arm.runs[0].seed}; other seeds grow at other tokens" if differ else ""


def describe_phases(phases: Sequence[PhaseResult], own_rate: str = "") -> str:
    """What the phases of a run do, in two or three short sentences without measured numbers.

    Args:
        phases: the phases.
        own_rate: the learning rate, where it differs from the study's and was not tuned.
    """
    sentences = [_describe_depths(phases), _describe_growth(phases), _describe_training(phases)]
    sentences += [f"its learning rate is its own: {own_rate}"] if own_rate else []
    return " ".join(f"{capitalized(sentence)}." for sentence in sentences if sentence)


def _describe_depths(phases: Sequence[PhaseResult]) -> str:
    total = _count_tokens(phases)
    by_depth = [(what, _count_tokens([*group]) / total) for what, group in groupby(phases, key=_describe_blocks)]
    if len(by_depth) == 1:
        return f"{by_depth[0][0]} from the first token to the last"
    if len(by_depth) <= MAX_DEPTHS:
        parts = [f"{depth} for {percent(share)} of its tokens" for depth, share in by_depth[:-1]]
        return f"{', '.join(parts)}, then {by_depth[-1][0]}"
    return (
        f"grows from {by_depth[0][0]} to {by_depth[-1][0]} in {in_words(len(by_depth) - 1)} steps; the last "
        f"{percent(by_depth[-1][1])} of its tokens at full depth"
    )


def _describe_blocks(phase: PhaseResult) -> str:
    """The depth of a phase: 6 blocks; or, where layers share blocks, 3 blocks executed as 6 layers."""
    blocks = counted(phase.blocks, "block")
    return blocks if phase.blocks == phase.depth else f"{blocks} executed as {counted(phase.depth, 'layer')}"


def _describe_growth(phases: Sequence[PhaseResult]) -> str:
    """How new blocks get their weights."""
    operators = list(dict.fromkeys(phase.growth for phase in phases if phase.growth))
    known = [_describe_operator(operator) for operator in operators]
    return f"new blocks are {join(known)}" if known else ""


def _describe_operator(text: str) -> str:
    """An operator with its explanation: a copy of the whole stack on top (stack)."""
    operator = OPERATORS.get(text.partition(",")[0])
    shown = cut(text, 60)
    return f"made by {shown}" if operator is None else f"{operator.summary.partition(' (')[0]} ({shown})"


def _describe_training(phases: Sequence[PhaseResult]) -> str:
    """What is frozen, and for which share of the tokens."""
    if not all(phase.trained for phase in phases):
        return ""
    total = _count_tokens(phases)
    partly = [phase for phase in phases if phase.trained != Trainable.ALL.name and _freezes(phase)]
    if not partly:
        return "everything is trained"
    sets = join([_SETS.get(name, cut(name, 40)) for name in dict.fromkeys(phase.trained for phase in partly)])
    share = _count_tokens(partly) / total
    if share > 0.995:
        return f"only {sets} are trained"
    return f"for {percent(share)} of its tokens only {sets} are trained, otherwise everything"


def _freezes(phase: PhaseResult) -> bool:
    return len(phase.trained_layers) < phase.depth
