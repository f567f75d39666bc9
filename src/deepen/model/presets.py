"""Models by name, with their tokens per step and peak learning rates. Needs no torch."""

import math

from deepen.model.config import ModelConfig


def scaled_init_std(width: int) -> float:
    """The deviation that gives a narrow model activations as large as GPT-2 124M's: 0.02·√(768 / width).

    Wider models take GPT-2's 0.02 too.
    """
    return max(0.02, round(0.02 * math.sqrt(768 / width), 4))


def pad_vocab(vocab: int) -> int:
    """A vocabulary rounded up to a multiple of 128, as matrix products prefer it: GPT-2's 50,257 to 50,304."""
    return -(-vocab // 128) * 128


def _narrow(name: str, width: int, heads: int, context: int, vocab: int) -> ModelConfig:
    """A small preset with twelve blocks, like the paper's model."""
    std = scaled_init_std(width)
    return ModelConfig(name=name, depth=12, width=width, heads=heads, context=context, vocab=vocab, init_std=std)


def _gpt2(name: str, depth: int, width: int, heads: int) -> ModelConfig:
    return ModelConfig(name=name, depth=depth, width=width, heads=heads, context=1024, vocab=50257)


PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        ModelConfig(  # the quickstart's: seconds of a CPU core for each run
            name="pico", family="llama", depth=4, width=24, heads=2, context=64, vocab=512,
            init_std=scaled_init_std(24),
        ),
        _narrow("nano", width=20, heads=2, context=64, vocab=1024),  # the paper's twelve blocks, for trying things
        _narrow("micro", width=64, heads=4, context=128, vocab=2048),
        _narrow("mini", width=128, heads=4, context=256, vocab=8192),
        _gpt2("gpt2-124m", depth=12, width=768, heads=12),
        _gpt2("gpt2-350m", depth=24, width=1024, heads=16),
        ModelConfig(  # nano as a Llama, with two query heads per key-value head
            name="nano-llama", family="llama", depth=12, width=20, heads=2, kv_heads=1, context=64, vocab=1024,
            init_std=scaled_init_std(20),
        ),
        ModelConfig(  # the shape of JackFram/llama-160m
            name="llama-160m", family="llama", depth=12, width=768, heads=12, mlp=3072, context=2048, vocab=32000,
            tied=False,
        ),
        ModelConfig(  # the shape of Llama 3.2 1B, at its pretraining context
            name="llama-1b", family="llama", depth=16, width=2048, heads=32, kv_heads=8, mlp=8192, context=8192,
            vocab=128256, rope_base=500_000.0,
        ),
        ModelConfig(  # Llama 2 7B (arXiv 2307.09288)
            name="llama-7b", family="llama", depth=32, width=4096, heads=32, mlp=11008, context=4096, vocab=32000,
            tied=False,
        ),
        ModelConfig(  # Llama 2 70B
            name="llama-70b", family="llama", depth=80, width=8192, heads=64, kv_heads=8, mlp=28672, context=4096,
            vocab=32000, tied=False,
        ),
        ModelConfig(  # SmolLM2 135M (arXiv 2502.02737)
            name="smollm2-135m", family="llama", depth=30, width=576, heads=9, kv_heads=3, mlp=1536, context=2048,
            vocab=49152, rope_base=100_000.0, init_std=0.0417,
        ),
        ModelConfig(  # Qwen2.5 0.5B (arXiv 2412.15115)
            name="qwen2.5-0.5b", family="llama", depth=24, width=896, heads=14, kv_heads=2, mlp=4864, context=4096,
            vocab=151936, rope_base=1e6, norm_epsilon=1e-6, biases="qkv",
        ),
        ModelConfig(  # Qwen3 0.6B (arXiv 2505.09388)
            name="qwen3-0.6b", family="llama", depth=28, width=1024, heads=16, kv_heads=8, head_dim=128, mlp=3072,
            context=4096, vocab=151936, rope_base=1e6, norm_epsilon=1e-6, qk_norm="per-head",
        ),
        ModelConfig(  # OLMo 2 1B (arXiv 2501.00656)
            name="olmo2-1b", family="llama", depth=16, width=2048, heads=16, mlp=8192, context=4096, vocab=100352,
            rope_base=500_000.0, norm_epsilon=1e-6, qk_norm="all-heads", norm_position="post", tied=False,
        ),
        ModelConfig(  # Mistral 7B v0.3 (arXiv 2310.06825)
            name="mistral-7b", family="llama", depth=32, width=4096, heads=32, kv_heads=8, mlp=14336, context=8192,
            vocab=32768, rope_base=1e6, tied=False,
        ),
    )
}  # fmt: skip

TOKENS_PER_STEP = {
    "pico": 1024,
    "nano": 1024,
    "micro": 4096,
    "mini": 16384,
    "gpt2-124m": 524_288,
    "gpt2-350m": 524_288,
    "nano-llama": 1024,
    "llama-160m": 524_288,
    "llama-1b": 1_048_576,
    "llama-7b": 4_194_304,
    "llama-70b": 4_194_304,
}
"""Tokens of an optimizer step. Other presets take those of the nearest of these."""

PEAK_RATES = {
    "pico": 1.6e-2,
    "nano": 1.6e-2,
    "micro": 6e-3,
    "mini": 3e-3,
    "gpt2-124m": 6e-4,
    "gpt2-350m": 3e-4,
    "nano-llama": 1.6e-2,
    "llama-160m": 6e-4,
    "llama-1b": 4e-4,
    "llama-7b": 3e-4,
    "llama-70b": 1.5e-4,
}
"""Peak learning rates to start from. For pico, nano and nano-llama they are the best of a search with the
baseline (docs/log.md); for llama-7b and llama-70b they are Llama 2's (arXiv 2307.09288, section 2.2)."""


def tokens_per_step(model: ModelConfig, context: int) -> int:
    """Default tokens of a step, in whole sequences: the preset's, or those of the preset nearest in size."""
    return max(1, TOKENS_PER_STEP[_nearest_preset(model)] // context) * context


def peak_rate(model: ModelConfig) -> float:
    """Default peak learning rate: the preset's, or that of the preset nearest in size."""
    return PEAK_RATES[_nearest_preset(model)]


def _nearest_preset(model: ModelConfig) -> str:
    """The preset with a rate that the model is, or whose parameters are the nearest by ratio."""
    if model.name in PEAK_RATES:
        return model.name

    def distance(name: str) -> float:
        return abs(math.log(PRESETS[name].parameters_non_embedding / model.parameters_non_embedding))

    return min(PEAK_RATES, key=distance)
