"""The model families: what each is, and the sizes that follow from the others."""

FAMILIES = {
    "gpt2": "learned positions, LayerNorm, biases, GELU, as many key heads as query heads",
    "llama": "rotary positions, RMSNorm, no biases, SwiGLU, grouped-query attention",
}


def default_mlp(family: str, width: int) -> int:
    """Width inside the MLP: GPT-2's 4·width; Llama's 8/3·width (as many weights), up to a multiple of 8."""
    return 4 * width if family == "gpt2" else -(-8 * width // 24) * 8
