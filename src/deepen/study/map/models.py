"""The models of a map that names none: a ladder of sizes whose depth grows with their width.

    sized_model(4, 64)    # 4x64: four blocks of width 64

From one to the next there are two to three times the parameters, and a block per 12 to 16 of width: much deeper
models of these widths lose to shallower ones (docs/log.md, "Does the best rate depend on the depth?"), and growing
to a depth that does not pay cannot pay either. Whether it does is measured: every study of a map has the best
fixed depth as its second baseline.
"""

from deepen.model.config import ModelConfig
from deepen.model.presets import scaled_init_std

_SIZES = ((4, 48), (4, 64), (6, 96), (8, 128))
_HEAD_WIDTH = 16
_CONTEXT, _VOCAB = 128, 2048


def sized_model(depth: int, width: int) -> ModelConfig:
    """A GPT-2 of `depth` blocks, with the context and the vocabulary that all sizes of a map share.

    Raises:
        InvalidValueError: the sizes make no model.
    """
    return ModelConfig(
        name=f"{depth}x{width}",
        depth=depth,
        width=width,
        heads=max(1, width // _HEAD_WIDTH),
        context=_CONTEXT,
        vocab=_VOCAB,
        init_std=scaled_init_std(width) if width > 0 else 0.02,
    )


DEFAULT_MODELS = tuple(sized_model(depth, width) for depth, width in _SIZES)
