"""A schedule in a few characters and a few words, for the list of recipes.

draw_bars([(0.5, 6), (0.5, 12)], top=12, width=8)  # "▄▄▄▄████": half as many blocks for half of the tokens
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from deepen.compute.ledger import Role, roles
from deepen.growth.spec import GrowthStep
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable

_BARS = "·▁▂▃▄▅▆▇█"
"""Nothing at all, then one to eight eighths."""


def draw_schedule(schedule: Schedule, width: int = 16) -> Iterator[tuple[str, str]]:
    """The layers over the tokens and, where they differ, the trained ones and the stored blocks.

    Args:
        schedule: the schedule.
        width: number of characters.

    Yields:
        What the bars count, and the bars. Where the first phase grows a checkpoint, its bar stands apart.
    """
    parts, lengths = schedule.trained_parts, [phase.tokens for phase in schedule.phases]
    layers = [phase.depth for phase in schedule.phases]
    trained = [sum(role is Role.TRAINED for role in roles(part)) for part in parts]
    stored = [part.depth for part in parts]
    first = "" if schedule.start_depth is None else draw_bars([(1, schedule.start_depth)], schedule.depth, 1) + " "
    for counted, heights in (("layers", layers), ("trained", trained), ("stored", stored)):
        if counted == "layers" or heights != layers:
            bars = draw_bars(zip(lengths, heights, strict=True), schedule.depth, width - len(first))
            yield counted, first + bars


def draw_bars(stretches: Iterable[tuple[float, int]], top: int, width: int) -> str:
    """Stretches of a length and a height as `width` bars; `top` is the height of a full one."""
    known = list(stretches)
    total = sum(length for length, _ in known)
    bars, end = "", 0.0
    for length, height in known:
        end += length
        bar = _BARS[max(1, round(8 * height / top)) if height else 0]
        bars += bar * (round(width * end / total) - len(bars))
    return bars


def describe_schedule(schedule: Schedule) -> str:
    """What a schedule promises: its depths, whether growth keeps the logits, and what is frozen or shared."""
    parts, steps = schedule.trained_parts, schedule.growth_steps
    depths = [depth for depth, _ in groupby((schedule.depth_at_start, *(part.depth for part in parts)))]
    facts = [f"{', '.join(map(str, depths))} blocks"]
    if any(part.layers for part in parts):
        facts.append("layers share blocks at first")
    if any(steps):
        executed = (tuple(range(schedule.depth_at_start)), *(part.executed for part in parts))
        kept = (_keeps_logits(step, before) for step, before in zip(steps, executed, strict=False) if step)
        facts.append(f"the logits {'stay equal' if all(kept) else 'change'} at growth")
    trains_all = [phase.train == Trainable.ALL for phase in schedule.phases]
    if all(trains_all):
        facts.append("everything is trained")
    else:
        facts.append("a part is frozen at times" if trains_all[-1] else "a part stays frozen")
    return "; ".join(facts)


def _keeps_logits(step: GrowthStep, before: tuple[int, ...]) -> bool:
    """Whether a model computes the same after growth as with the layers that it executed before."""
    new_blocks = [step.blocks[index] for index in step.new_blocks]
    unties = [block.source for block in step.blocks] == [*before] and not step.noise
    return all(block.zero_output for block in new_blocks) or (
        unties and all(block.residual_scale == 1 for block in new_blocks)
    )
