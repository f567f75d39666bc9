import torch

from deepen.model.build import build, init_block, init_weights
from deepen.model.config import PRESETS, ModelConfig


def test_gpt2_124m_has_the_parameters_of_openais_model():
    assert PRESETS["gpt2-124m"].parameters == 124_439_808
    with torch.device("meta"):
        network = build(PRESETS["gpt2-124m"])
    assert sum(p.numel() for p in network.parameters()) == 124_439_808


def test_every_preset_counts_its_parameters_as_the_network_does():
    for config in PRESETS.values():
        with torch.device("meta"):
            network = build(config)
        blocks = sum(p.numel() for p in network.blocks.parameters())
        norm = sum(p.numel() for p in network.norm.parameters())
        assert config.parameters == sum(p.numel() for p in network.parameters())
        assert config.parameters_non_embedding == blocks + norm


def test_the_small_presets_have_twelve_blocks():
    assert {PRESETS[name].depth for name in ("nano", "micro", "mini")} == {12}


def test_initial_weights_fill_the_model_and_scale_residuals_by_final_depth(model: ModelConfig):
    weights = init_weights(model, 3, seed=0)
    build(model, 3).load_state_dict(weights)
    wide = ModelConfig(name="wide", depth=8, width=256, heads=4, context=8, vocab=8)
    block = init_block(wide, seed=0, number=0)
    assert abs(block["attention.qkv.weight"].std().item() / 0.02 - 1) < 0.01
    assert abs(block["mlp.down.weight"].std().item() / (0.02 / 4) - 1) < 0.01


def test_a_block_is_born_the_same_whatever_the_depth_of_the_model_around_it(model: ModelConfig):
    shallow, deep = init_weights(model, 2, seed=5), init_weights(model, 6, seed=5)
    assert all(torch.equal(shallow[name], deep[name]) for name in shallow)
    other = init_weights(model, 2, seed=6)
    assert not torch.equal(shallow["blocks.0.mlp.up.weight"], other["blocks.0.mlp.up.weight"])


def test_no_position_sees_a_later_one(model: ModelConfig):
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    tokens = torch.randint(model.vocab, (1, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 10:] = (changed[0, 10:] + 1) % model.vocab
    before, after = network(tokens), network(changed)
    assert torch.allclose(before[:, :10], after[:, :10], atol=1e-6)
    assert not torch.allclose(before[:, 10:], after[:, 10:], atol=1e-6)
