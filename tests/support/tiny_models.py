"""Minimal models for tests."""

from deepen.model.config import ModelConfig

VOCAB = 512


def tiny(family: str, *, tied: bool) -> ModelConfig:
    """A minimal model with twelve blocks, as in the paper; in a llama, two heads share a key head."""
    kv_heads = 1 if family == "llama" else 2
    return ModelConfig(
        name="test",
        family=family,
        depth=12,
        width=8,
        heads=2,
        kv_heads=kv_heads,
        context=16,
        vocab=VOCAB,
        tied=tied,
    )
