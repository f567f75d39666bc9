"""Every trained family against transformers' own class, on small random checkpoints with their real features."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deepen.compute.ledger import Ledger
from deepen.interop.hugging_face.config import make_config, parse_config
from deepen.interop.hugging_face.names import from_hugging_face, to_hugging_face
from deepen.model.build import build, init_weights
from deepen.schedule.trainable import TrainedParts

GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 24, "n_head": 3, "n_positions": 32, "vocab_size": 50}
LLAMA = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 6,
    "num_key_value_heads": 2, "intermediate_size": 40, "max_position_embeddings": 32, "vocab_size": 50,
    "rms_norm_eps": 1e-5,
}  # fmt: skip
LLAMA_3_SCALING = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 2.0, "beta_slow": 0.1}

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "GPT-2": GPT2,
    "GPT-2, untied, narrow MLP": GPT2 | {"tie_word_embeddings": False, "n_inner": 30, "layer_norm_epsilon": 1e-3},
    "Llama 2": LLAMA | {"num_key_value_heads": 6},
    "Llama 3": LLAMA | {"rope_theta": 500_000.0},
    "Llama 3.2": LLAMA | {"rope_theta": 500_000.0, "rope_scaling": LLAMA_3_SCALING, "tie_word_embeddings": True},
    "Llama with linear scaling": LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "Llama with biases of attention": LLAMA | {"attention_bias": True},
    "Llama with all biases": LLAMA | {"attention_bias": True, "mlp_bias": True},
    "SmolLM2": LLAMA | {"rope_theta": 100_000.0, "tie_word_embeddings": True},
    "Mistral": LLAMA | {"model_type": "mistral", "head_dim": 8, "sliding_window": None, "rope_theta": 1e6},
    "Mistral within its window": LLAMA | {"model_type": "mistral", "sliding_window": 32},
    "Qwen2.5": LLAMA | {"model_type": "qwen2", "sliding_window": 8, "tie_word_embeddings": True},
    "Qwen2.5 with YaRN": LLAMA | {"model_type": "qwen2", "head_dim": 16, "rope_scaling": YARN},
    "Qwen3": LLAMA | {"model_type": "qwen3", "head_dim": 8, "rope_theta": 1e6, "rms_norm_eps": 1e-6},
    "Qwen3 with biases": LLAMA | {"model_type": "qwen3", "head_dim": 10, "attention_bias": True},
    "OLMo 2": LLAMA | {"model_type": "olmo2", "rope_theta": 500_000.0, "rms_norm_eps": 1e-6},
}  # fmt: skip


def make_theirs(config: dict[str, Any]) -> torch.nn.Module:
    """A network of transformers in which no two weights are alike, norms and biases included."""
    from transformers import AutoConfig, AutoModelForCausalLM

    entries = {key: value for key, value in config.items() if key != "model_type"}
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(config["model_type"], **entries), attn_implementation="eager"
    )
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(mean=1.0 if "norm" in name or "ln_" in name else 0.0, std=0.2)
    return network.eval()


def logits_of(network: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output = network(tokens)
    return output if isinstance(output, torch.Tensor) else output.logits


TOKENS = torch.randint(50, (2, 32), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits_equal_those_of_transformers_class(name: str):
    theirs = make_theirs(CHECKPOINTS[name])
    model = parse_config(theirs.config.to_dict(), name)
    ours = build(model)
    ours.load_state_dict(from_hugging_face(model, theirs.state_dict()))
    expected = logits_of(theirs, TOKENS)
    assert expected.std() > 0.1
    assert (logits_of(ours, TOKENS) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_training_step_of_transformers_class_costs_what_the_ledger_counts(name: str):
    theirs = make_theirs(CHECKPOINTS[name])
    model = parse_config(theirs.config.to_dict(), name)
    with FlopCounterMode(display=False) as counter:
        theirs(TOKENS, labels=TOKENS).loss.backward()
    per_token = Ledger(model=model).flops_per_token(TrainedParts.all(model.depth), TOKENS.shape[1])
    assert counter.get_total_flops() == per_token * TOKENS.numel()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_our_model_is_one_of_transformers(name: str):
    from transformers import AutoConfig, AutoModelForCausalLM

    model = parse_config(CHECKPOINTS[name], name)
    draw = torch.Generator().manual_seed(0)
    weights = {
        key: value + 0.1 * torch.randn(value.shape, generator=draw)
        for key, value in init_weights(model, model.depth, seed=0).items()
    }
    config = make_config(model)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()
    problems = theirs.load_state_dict(to_hugging_face(model, weights), strict=False)
    assert not problems.unexpected_keys and problems.missing_keys == (["lm_head.weight"] if model.tied else [])
    theirs.tie_weights()
    ours = build(model)
    ours.load_state_dict(weights)
    assert torch.allclose(logits_of(ours, TOKENS), logits_of(theirs, TOKENS), rtol=1e-5, atol=1e-5)
    assert parse_config(config, name) == parse_config(theirs.config.to_dict(), name) == model
