"""Gradual unfreezing: full depth from the start, of which more and more is trained."""

from itertools import accumulate

from deepen.model.config import ModelConfig
from deepen.schedule.partition import partition as divide_blocks
from deepen.schedule.phase import Phase
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import check_share, split_tokens
from deepen.schedule.recipes.stages import DEFAULT_STAGES
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable


@recipe("unfreeze")
def unfreeze(
    model: ModelConfig,
    tokens: int,
    *,
    stages: int = DEFAULT_STAGES,
    partition: str = "spread",
    unfrozen_at: float = 0.5,
) -> Schedule:
    """Train the head and the topmost blocks first, then more and more blocks below them, in the end everything.

    Args:
        tokens: total training tokens.
        stages: number of stages S; the last one trains everything, the embeddings too.
        partition: how the blocks are divided over the stages, from the top: spread, front, back, even, or sizes
            such as 6,3,3.
        unfrozen_at: share of the tokens after which everything is trained, in (0, 1); the stages before it have
            the same length.

    Source: Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification", arXiv 1801.06146,
    section 3.3 (gradual unfreezing).
    """
    partial = list(accumulate(divide_blocks(model.depth, stages, partition)))[:-1]
    end = check_share(unfrozen_at, "unfrozen_at")
    lengths = split_tokens(tokens, [end * stage / len(partial) for stage in range(1, len(partial) + 1)])
    trained = [Trainable.explicit(range(model.depth - top, model.depth), head=True) for top in partial]
    return Schedule(
        phases=tuple(
            Phase(depth=model.depth, tokens=length, label=f"stage {number}", train=train)
            for number, (length, train) in enumerate(zip(lengths, [*trained, Trainable.ALL], strict=True), start=1)
        )
    )
