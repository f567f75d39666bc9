import pytest

from deepen.errors import InvalidValueError
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts, get_trainable


def test_the_named_choices_and_where_they_cut_the_graph():
    parts = {name: trainable.resolve(6, (3, 5)) for name, trainable in TRAINABLE_SETS.items()}
    assert {name: (each.blocks, each.head, each.embeddings, each.cut) for name, each in parts.items()} == {
        "all": ((0, 1, 2, 3, 4, 5), True, True, None),
        "new-blocks": ((3, 5), False, False, 3),
        "new-blocks-head": ((3, 5), True, False, 3),
        "new-blocks-embeddings": ((3, 5), True, True, None),
    }
    assert [name for name, each in parts.items() if each == TrainedParts.all(6)] == ["all"]


def test_an_explicit_choice_is_the_same_whatever_was_added_last():
    choice = Trainable.explicit((4, 1, 1), head=True)
    assert str(choice) == "blocks 1,4 + head"
    assert choice.resolve(6, (5,)) == TrainedParts(depth=6, blocks=(1, 4), head=True, embeddings=False)
    assert choice.resolve(6, (5,)).cut == 1


def test_without_blocks_the_graph_is_cut_below_the_head():
    assert Trainable.explicit((), head=True).resolve(6, ()).cut == 6
    assert Trainable.explicit((), embeddings=True).resolve(6, ()).cut is None


def test_a_tied_matrix_is_trained_with_the_head_or_the_embeddings():
    alone = Trainable.explicit((), embeddings=True).resolve(2, ())
    assert alone.trains_head_matrix(tied=True) and not alone.trains_head_matrix(tied=False)
    assert not Trainable.NEW_BLOCKS.resolve(2, (1,)).trains_head_matrix(tied=True)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Trainable.explicit(()),
        lambda: Trainable.explicit((-1,)),
        lambda: Trainable.explicit((6,)).resolve(6, ()),
        lambda: Trainable.NEW_BLOCKS.resolve(0, ()),
        lambda: TrainedParts(depth=3, blocks=(2, 1), head=False, embeddings=False),
    ],
)
def test_what_cannot_be_trained_is_refused(wrong):
    with pytest.raises(InvalidValueError, match=r"^blocks ") as refused:
        wrong()
    assert refused.value.field == "blocks"


def test_a_phase_is_at_least_as_deep_as_the_blocks_it_trains():
    deep = Trainable.explicit((0, 5))
    assert Phase(depth=6, tokens=1, label="x", train=deep).train.resolve(6, ()).blocks == (0, 5)
    with pytest.raises(InvalidValueError, match=r"train of phase 'x' is blocks 0,5, but the phase has 5 blocks"):
        Phase(depth=5, tokens=1, label="x", train=deep)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match="scope 'heads' is unknown: use all, new-blocks") as refused:
        get_trainable("heads")
    assert refused.value.allowed == tuple(TRAINABLE_SETS)
