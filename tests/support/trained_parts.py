"""Hypothesis strategies for the trained parts of a model."""

from hypothesis import strategies as st

from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts


@st.composite
def named_choices(draw: st.DrawFn, depth: int) -> TrainedParts:
    """A named trainable set, with any new blocks."""
    new_blocks = draw(st.sets(st.integers(0, depth - 1), min_size=1))
    return draw(st.sampled_from(list(TRAINABLE_SETS.values()))).resolve(depth, tuple(sorted(new_blocks)))


@st.composite
def explicit_choices(draw: st.DrawFn, depth: int) -> TrainedParts:
    """Any blocks or none, with or without the head and the embeddings."""
    blocks = draw(st.sets(st.integers(0, depth - 1)))
    head, embeddings = draw(st.booleans()), draw(st.booleans())
    trainable = Trainable.explicit(blocks, head=head or not (blocks or embeddings), embeddings=embeddings)
    return trainable.resolve(depth, ())


def any_choice(depth: int) -> st.SearchStrategy[TrainedParts]:
    """Any trained parts of a model of `depth` blocks."""
    return st.one_of(named_choices(depth), explicit_choices(depth))
