"""Growth that keeps the function with one parametrization, and changes it with another.

A block whose outputs are zero keeps what the model computes. But where residual branches are divided by the depth
(`ModelConfig.branch_scale`), a deeper model scales the branches of its old blocks too.
"""

from deepen.model.config import ModelConfig
from deepen.schedule.schedule import Schedule


def find_rescaled_growth(schedule: Schedule, model: ModelConfig) -> str | None:
    """What the first growth does that would keep the function if it did not rescale its branches; else None."""
    blocks = depth = schedule.depth_at_start
    layers: tuple[int, ...] = ()
    for phase, step in zip(schedule.phases, schedule.growth_steps, strict=True):
        is_rescaled = depth > 0 and model.branch_scale(phase.depth) != model.branch_scale(depth)
        if is_rescaled and step is not None and step.preserves_function(blocks, layers):
            return (
                f"grows to {phase.depth} blocks by an operator that keeps the function, but with "
                f"{model.parametrization} all branches are divided by the new depth, which changes it: use "
                "parametrization standard, or interleave to twice the depth"
            )
        blocks, depth, layers = phase.blocks, phase.depth, phase.layers
    return None
