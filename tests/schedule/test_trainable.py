import pytest

from deepen.errors import InvalidValueError
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts, parse_trainable


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
    assert str(choice) == "blocks:1,4,head"
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
    with pytest.raises(InvalidValueError, match=r"train of phase 'x' is blocks:0,5, but the phase has 5 blocks"):
        Phase(depth=5, tokens=1, label="x", train=deep)


def test_the_norms_need_the_whole_stack_but_not_the_embeddings():
    norms = Trainable.explicit((), norms=True).resolve(4, ())
    assert (norms.cut, norms.trains_final_norm, norms.trains_head_matrix(tied=True)) == (0, True, False)
    assert Trainable.explicit(range(4), head=True, norms=True).resolve(4, ()) == Trainable.explicit(
        range(4), head=True
    ).resolve(4, ())


def test_layers_that_share_blocks_are_cut_below_the_first_that_runs_a_trained_block():
    trained = Trainable.explicit((2,)).resolve(3, (), layers=(0, 1, 2, 0, 1, 2))
    assert (trained.cut, trained.executed) == (2, (0, 1, 2, 0, 1, 2))
    assert Trainable.ALL.resolve(3, (), layers=(0, 1, 2)) == TrainedParts.all(3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("new-blocks-head", Trainable.NEW_BLOCKS_HEAD),
        ("blocks:8-11,head", Trainable.explicit(range(8, 12), head=True)),
        ("embeddings,blocks:0,2-3", Trainable.explicit((0, 2, 3), embeddings=True)),
        ("blocks:0,blocks:4,norms", Trainable.explicit((0, 4), norms=True)),
        (" head , norms ", Trainable.explicit((), head=True, norms=True)),
    ],
)
def test_a_set_is_read_from_text_and_its_name_is_read_again(text: str, expected: Trainable):
    assert parse_trainable(text) == expected == parse_trainable(expected.name)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("heads", "scope is 'heads': 'heads' is not a part of a model: use all, new-blocks"),
        ("", "'' is not a part"),
        ("blocks:", "'blocks:' is not a part"),
        ("blocks:3-1", "the range 3-1 runs downwards"),
        ("3,head", "'3' is not a part"),
        ("blocks:1,head,2", "'2' is not a part"),
        ("head:1", "'head:1' is not a part"),
        ("layers:1", "'layers:1' is not a part"),
        ("blocks:-1", "'blocks:-1' is not a part"),
    ],
)
def test_text_that_is_not_a_set_is_refused(text: str, problem: str):
    with pytest.raises(InvalidValueError, match=problem) as refused:
        parse_trainable(text)
    assert refused.value.allowed == tuple(TRAINABLE_SETS)
