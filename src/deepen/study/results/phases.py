"""What an arm does, phase by phase, as results.json records it (see `schema`)."""

from dataclasses import dataclass

from deepen.compute.ledger import Ledger, Role, phase_flops, roles
from deepen.growth.layout import describe_layout
from deepen.growth.spec import Growth
from deepen.schedule.schedule import Schedule
from deepen.study.results.records import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseResult(Record):
    """A phase of a run: what is executed, what is trained, and what was added where it begins.

    Layers are counted from 0 at the bottom. `depth` counts executed layers and `blocks` stored ones, which are
    fewer where layers share blocks; then `layers` has the block of each layer, and else it is empty.

    `trained` is the trainable set by name, such as `all` or `new-blocks`; `trained_layers` are the layers whose
    block receives updates, and the lowest `cut` layers run without gradients. `growth` is the operator that made
    `new_layers`, with its placement where it is not the operator's own; empty where the phase adds no blocks.
    """

    label: str
    tokens: int
    flops: float
    depth: int
    blocks: int
    layers: tuple[int, ...]
    trained: str
    trained_layers: tuple[int, ...]
    cut: int
    growth: str
    new_layers: tuple[int, ...]


def record_phases(schedule: Schedule, ledger: Ledger) -> tuple[PhaseResult, ...]:
    """The phases of a schedule in whole steps."""
    found = []
    places = zip(
        schedule.phases,
        schedule.trained_parts,
        schedule.growth_steps,
        phase_flops(ledger, schedule),
        strict=True,
    )
    for place, (phase, trained, step, flops) in enumerate(places):
        added = set() if step is None else set(step.new_blocks)
        found.append(
            PhaseResult(
                label=phase.label,
                tokens=phase.tokens,
                flops=flops,
                depth=phase.depth,
                blocks=phase.blocks,
                layers=phase.layers,
                trained=phase.train.name,
                trained_layers=tuple(layer for layer, role in enumerate(roles(trained)) if role is Role.TRAINED),
                cut=trained.cut or 0,
                growth="" if step is None else _describe_growth(schedule.growth_at(place)),
                new_layers=tuple(layer for layer, block in enumerate(trained.executed) if block in added),
            )
        )
    return tuple(found)


def _describe_growth(growth: Growth) -> str:
    """A growth in a few words: its operator, and its layout, or its placement if it is not the operator's own."""
    if growth.layout:
        return f"{growth.operator}, layout {describe_layout(growth.layout)}"
    usual = Growth(operator=growth.operator).placement
    return growth.operator if growth.placement == usual else f"{growth.operator}, {growth.placement}"
