"""Rotary positions (Su et al. 2021, RoFormer, arXiv 2104.09864): pairs of a head rotate with the position.

Shapes: b sequences, t tokens of context, h heads, k width of a head.
"""

import math

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.rope_scaling import LinearScaling, Llama3Scaling, YarnScaling


def rotary_table(config: ModelConfig, context: int, device: torch.device) -> Tensor:
    """Cosines and signed sines of every position's angles, (2, t, k) fp32; times a factor with `YarnScaling`.

    Pair i of a head is rotated by position · rope_base^(-2i / k), stretched by `config.rope_scaling`. Its two
    numbers have the same cosine, and sines of opposite signs.

    Source: RoFormer, section 3.2.2. The operations are rounded as in Hugging Face's transformers.
    """
    pairs = torch.arange(0, config.head_width, 2, dtype=torch.float32, device=device)
    frequencies, length = 1.0 / config.rope_base ** (pairs / config.head_width), 1.0
    match config.rope_scaling:
        case LinearScaling(factor=factor):
            frequencies = frequencies / factor
        case Llama3Scaling() as scaling:
            frequencies = _scale_llama3(frequencies, scaling)
        case YarnScaling() as scaling:
            frequencies, length = _scale_yarn(frequencies, scaling, config), scaling.attention_factor
    angles = torch.outer(torch.arange(context, dtype=torch.float32, device=device), frequencies)
    cos, sin = angles.cos() * length, angles.sin() * length
    return torch.cat((cos, cos, -sin, sin), dim=1).view(context, 2, -1).transpose(0, 1).contiguous()


def _scale_llama3(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Llama 3.1's frequencies: `share` of each is kept, 0 for low and 1 for high ones."""
    turns = scaling.original_context / (2 * math.pi / frequencies)
    share = ((turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)).clamp(0, 1)
    return (1 - share) * frequencies / scaling.factor + share * frequencies


def _scale_yarn(frequencies: Tensor, scaling: YarnScaling, config: ModelConfig) -> Tensor:
    """YaRN's frequencies: `share` of each is kept, falling from 1 at one pair to 0 at another."""

    def find_pair(turns: float) -> float:
        """The pair that makes so many turns within the original context."""
        wavelength = scaling.original_context / (2 * math.pi * turns)
        return config.head_width * math.log(wavelength) / (2 * math.log(config.rope_base))

    first = max(math.floor(find_pair(scaling.beta_fast)), 0)
    last = min(math.ceil(find_pair(scaling.beta_slow)), config.head_width - 1)
    pairs = torch.arange(len(frequencies), dtype=torch.float32, device=frequencies.device)
    share = 1 - ((pairs - first) / max(last - first, 0.001)).clamp(0, 1)
    return frequencies / scaling.factor * (1 - share) + frequencies * share


def rotate(x_bthk: Tensor, table_2tk: Tensor) -> Tensor:
    """Rotate each pair (i, i + k / 2) by its position's angle; Hugging Face's Llama uses the same pairs.

    The table is that of all rows, (2, t, k), or has positions for each row, (2, b, t, k).
    """
    cos_tk, sin_tk = table_2tk.unsqueeze(-2).unbind()
    x = x_bthk.to(torch.promote_types(x_bthk.dtype, torch.float32))
    rotated = x * cos_tk
    low, high = x.chunk(2, dim=-1)
    swapped = torch.cat((high, low), dim=-1)
    return rotated.addcmul_(swapped, sin_tk).type_as(x_bthk)
