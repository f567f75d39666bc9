"""What holds for a network of every family, and for every preset."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deepen.model.build import build, draw_block, init_weights
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.model.families import FAMILIES
from deepen.model.presets import PRESETS

CUTS = [None, 0, 2, 3]  # of three blocks


def make_network(config: ModelConfig, depth: int = 3) -> Decoder:
    network = build(config, depth)
    network.load_state_dict(init_weights(config, depth, seed=0))
    return network


def some_tokens(config: ModelConfig) -> Tensor:
    return torch.randint(config.vocab, (2, 16), generator=torch.Generator().manual_seed(0))


def gradients(network: Decoder, tokens: Tensor, cut: int | None) -> dict[str, Tensor]:
    network.zero_grad(set_to_none=True)
    F.cross_entropy(network(tokens, cut=cut).flatten(0, 1), tokens.flatten()).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("gpt2-124m", 124_439_808),
        ("gpt2-350m", 354_823_168),
        ("llama-160m", 162_417_408),
        ("llama-1b", 1_235_814_400),
        ("llama-7b", 6_738_415_616),
        ("llama-70b", 68_976_648_192),
        ("smollm2-135m", 134_515_008),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen3-0.6b", 596_049_920),
        ("olmo2-1b", 1_484_916_736),
        ("mistral-7b", 7_248_023_552),
    ],
)
def test_presets_have_the_parameters_of_the_models_they_are_named_after(preset: str, parameters: int):
    assert PRESETS[preset].parameters == parameters


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_every_preset_counts_its_parameters_as_the_network_does(config: ModelConfig):
    for depth in {0, 1, config.depth}:
        with torch.device("meta"):
            network = build(config, depth)
        every = sum(p.numel() for p in network.parameters())
        blocks = sum(p.numel() for p in network.blocks.parameters())
        norm = sum(p.numel() for p in network.norm.parameters())
        assert config.parameters_at(depth) == every
        assert config.block_parameters * depth == blocks
        assert config.norm_parameters == norm
    assert (config.parameters, config.parameters_non_embedding) == (every, blocks + norm)


def test_the_small_presets_have_twelve_blocks():
    assert {PRESETS[name].depth for name in ("nano", "micro", "mini", "nano-llama")} == {12}


def test_initial_weights_fill_the_model_and_scale_residuals_by_final_depth(any_model: ModelConfig):
    build(any_model, 3).load_state_dict(init_weights(any_model, 3, seed=0))
    wide = replace(any_model, depth=8, width=256, heads=4, kv_heads=4, mlp=0)
    for name, weight in draw_block(wide, seed=0, number=0).items():
        if name.endswith("bias"):
            assert not weight.any(), name
        elif "norm" in name:
            assert (weight == 1).all(), name
        else:
            is_scaled = wide.norm_position == "pre" and name.startswith(FAMILIES[wide.family].output_projections)
            expected = 0.02 / 4 if is_scaled else 0.02
            assert abs(weight.std().item() / expected - 1) < 0.02, name


def test_a_blocks_initial_weights_do_not_depend_on_the_depth_of_the_model(any_model: ModelConfig):
    shallow, deep = init_weights(any_model, 2, seed=5), init_weights(any_model, 6, seed=5)
    assert all(torch.equal(shallow[name], deep[name]) for name in shallow)
    other = init_weights(any_model, 2, seed=6)
    assert not torch.equal(shallow["blocks.0.mlp.up.weight"], other["blocks.0.mlp.up.weight"])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untied_head_is_a_separate_matrix_and_changes_no_other_weight(family: str, model: ModelConfig):
    tied, untied = (init_weights(replace(model, family=family, tied=tied), 2, seed=5) for tied in (True, False))
    assert set(untied) - set(tied) == {"head.weight"}
    assert all(torch.equal(tied[name], untied[name]) for name in tied)
    head, embedding = untied["head.weight"], untied["token_embedding.weight"]
    assert head.shape == embedding.shape
    assert abs(head.std().item() / embedding.std().item() - 1) < 0.1
    assert abs((head * embedding).sum() / (head.norm() * embedding.norm())) < 0.1


def test_an_untied_heads_initial_weights_depend_on_nothing_but_the_seed(model: ModelConfig):
    untied = replace(model, tied=False)
    others = replace(untied, family="llama"), replace(untied, context=99), replace(untied, depth=3)
    heads = [init_weights(config, 2, seed=5)["head.weight"] for config in (untied, *others)]
    assert all(torch.equal(head, heads[0]) for head in heads)
    assert not torch.equal(heads[0], init_weights(untied, 2, seed=6)["head.weight"])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untied_model_computes_logits_with_its_own_head(family: str, model: ModelConfig):
    network = make_network(replace(model, family=family, tied=False))
    network.head.weight.data.zero_()
    assert not network(some_tokens(model)).any()


def test_no_position_sees_a_later_one(any_model: ModelConfig):
    network, tokens = make_network(any_model), some_tokens(any_model)
    changed = tokens.clone()
    changed[:, 10:] = (changed[:, 10:] + 1) % any_model.vocab
    before, after = network(tokens), network(changed)
    assert torch.allclose(before[:, :10], after[:, :10], atol=1e-6)
    assert not torch.allclose(before[:, 10:], after[:, 10:], atol=1e-6)


def test_every_position_sees_the_first_one(any_model: ModelConfig):
    network, tokens = make_network(replace(any_model, init_std=0.3)), some_tokens(any_model)
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % any_model.vocab
    assert (network(tokens) != network(changed)).any(dim=-1).all()


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_removes_gradients_and_changes_nothing_else(cut: int | None, any_model: ModelConfig):
    network, tokens = make_network(any_model), some_tokens(any_model)
    assert torch.equal(network(tokens, cut=cut), network(tokens))
    whole, left = gradients(network, tokens, None), gradients(network, tokens, cut)
    above = ["norm.", "token_embedding." if any_model.tied else "head."]
    above += [f"blocks.{index}." for index in range(cut or 0, 3)]
    assert set(left) == {name for name in whole if cut is None or name.startswith(tuple(above))}
    for name, gradient in left.items():  # a tied matrix learns through the head alone, so differs
        assert name == "token_embedding.weight" or torch.equal(gradient, whole[name]), name


@pytest.mark.parametrize("cut", CUTS)
def test_activation_checkpointing_runs_blocks_twice_and_gradients_stay_bit_identical(
    cut: int | None, any_model: ModelConfig
):
    network, tokens = make_network(any_model), some_tokens(any_model)
    stored = gradients(network, tokens, cut)
    runs = [0, 0, 0]

    def count(block: torch.nn.Module, _: object) -> None:
        runs[list(network.blocks).index(block)] += 1

    for block in network.blocks:
        block.register_forward_pre_hook(count)
    network.activation_checkpointing = True
    recomputed = gradients(network, tokens, cut)
    assert runs == [1 if index < (cut or 0) else 2 for index in range(3)]
    assert stored.keys() == recomputed.keys()
    assert all(torch.equal(stored[name], recomputed[name]) for name in stored)
