"""The names of trained parameters against those of the network."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.compute.ledger import Ledger
from deepen.compute.trainable_tensors import list_trained_tensors
from deepen.growth.layout import parse_layout
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.trainable import TrainedParts
from deepen.train.trainable import freeze_rest
from llama_options import any_options
from trained_parts import any_choice


@st.composite
def cases(draw: st.DrawFn) -> tuple[ModelConfig, TrainedParts]:
    family, depth = draw(st.sampled_from(sorted(FAMILIES))), draw(st.integers(1, 4))
    kv_heads, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2)) if family == "llama" else 1
    model = ModelConfig(
        name="drawn",
        family=family,
        depth=depth,
        width=8,
        heads=kv_heads * groups,
        kv_heads=kv_heads,
        context=4,
        vocab=10,
        tied=draw(st.booleans()),
        **draw(any_options(family, (2, 6))),
    )
    return model, draw(any_choice(depth))


def expand(name: str) -> list[str]:
    """The single names behind `blocks.0,2-3.mlp.up.weight`."""
    found = re.fullmatch(r"blocks\.([\d,-]+)\.(.*)", name)
    return [f"blocks.{block}.{found[2]}" for block in parse_layout(found[1])] if found else [name]


@settings(max_examples=80, deadline=None)
@given(cases())
def test_the_list_has_exactly_the_parameters_that_require_a_gradient(case: tuple[ModelConfig, TrainedParts]):
    model, trained = case
    network = build(model, trained.depth)
    freeze_rest(network, trained)
    required = {name: p.numel() for name, p in network.named_parameters() if p.requires_grad}
    listed = list_trained_tensors(model, trained)
    assert sorted(single for each in listed for single in expand(each.name)) == sorted(required)
    for each in listed:
        singles = expand(each.name)
        assert (each.tensors, each.parameters) == (len(singles), sum(required[single] for single in singles))
    assert sum(each.parameters for each in listed) == Ledger(model=model).trainable_parameters(trained)
