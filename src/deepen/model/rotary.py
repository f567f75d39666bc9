"""Rotary positions (Su et al. 2021, RoFormer, arXiv 2104.09864): pairs of a head rotate with the position.

Shapes: t tokens of context, h heads, k width of a head.
"""

import math

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.rope_scaling import LinearScaling, Llama3Scaling


def rotary_table(config: ModelConfig, context: int, device: torch.device) -> Tensor:
    """Cosines and sines of every position's angles, (2, t, k / 2) fp32.

    Pair i of a head is rotated by position · rope_base^(-2i / k), stretched by `config.rope_scaling`.

    Source: RoFormer, section 3.2.2. The operations are rounded as in Hugging Face's transformers.
    """
    pairs = torch.arange(0, config.head_width, 2, dtype=torch.float32, device=device)
    frequencies = 1.0 / config.rope_base ** (pairs / config.head_width)
    if isinstance(config.rope_scaling, LinearScaling):
        frequencies = frequencies / config.rope_scaling.factor
    elif isinstance(config.rope_scaling, Llama3Scaling):
        frequencies = _interpolate(frequencies, config.rope_scaling)
    angles = torch.outer(torch.arange(context, dtype=torch.float32, device=device), frequencies)
    return torch.stack((angles.cos(), angles.sin()))


def _interpolate(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Llama 3.1's frequencies: `share` of each is kept, 0 for low and 1 for high ones."""
    turns = scaling.original_context / (2 * math.pi / frequencies)
    share = ((turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)).clamp(0, 1)
    return (1 - share) * frequencies / scaling.factor + share * frequencies


def rotate(x_bthk: Tensor, table_2tk: Tensor) -> Tensor:
    """Rotate each pair (i, i + k / 2) by its position's angle; Hugging Face's Llama uses the same pairs.

    The table is that of all rows, (2, t, k / 2), or has positions for each row, (2, b, t, k / 2).
    """
    cos_tk, sin_tk = table_2tk.unsqueeze(-2).unbind()
    low, high = x_bthk.to(torch.promote_types(x_bthk.dtype, torch.float32)).chunk(2, dim=-1)
    return torch.cat((low * cos_tk - high * sin_tk, high * cos_tk + low * sin_tk), dim=-1).type_as(x_bthk)
