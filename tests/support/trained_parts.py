"""Hypothesis strategies for the trained parts of a model."""

from hypothesis import strategies as st

from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts


@st.composite
def layer_lists(draw: st.DrawFn, depth: int) -> tuple[int, ...]:
    """Executed layers of `depth` stored blocks, each at least once; often each exactly once."""
    repeats = draw(st.lists(st.integers(0, depth - 1), max_size=3))
    return tuple(draw(st.permutations([*range(depth), *repeats]))) if repeats else ()


@st.composite
def named_choices(draw: st.DrawFn, depth: int) -> TrainedParts:
    """A named trainable set, with any new blocks."""
    new_blocks = draw(st.sets(st.integers(0, depth - 1), min_size=1))
    trainable = draw(st.sampled_from(list(TRAINABLE_SETS.values())))
    return trainable.resolve(depth, tuple(sorted(new_blocks)), draw(layer_lists(depth)))


@st.composite
def explicit_choices(draw: st.DrawFn, depth: int) -> TrainedParts:
    """Any blocks or none, with or without the head, the embeddings and the norms."""
    blocks = draw(st.sets(st.integers(0, depth - 1)))
    head, embeddings, norms = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    trainable = Trainable.explicit(
        blocks, head=head or not (blocks or embeddings or norms), embeddings=embeddings, norms=norms
    )
    return trainable.resolve(depth, (), draw(layer_lists(depth)))


def any_choice(depth: int) -> st.SearchStrategy[TrainedParts]:
    """Any trained parts of a model of `depth` blocks."""
    return st.one_of(named_choices(depth), explicit_choices(depth))
