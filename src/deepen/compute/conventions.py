"""FLOPs per token of full training by common rules of thumb, to compare published figures with the ledger's.

Each function follows its source. Where attention is counted, it is counted densely.
"""

from deepen.model.config import ModelConfig


def kaplan(model: ModelConfig, context: int) -> int:
    """6N with N the parameters outside embeddings, positions and head (Kaplan et al. 2020, arXiv 2001.08361)."""
    return 6 * model.parameters_non_embedding


def palm(model: ModelConfig, context: int) -> int:
    """6N + 12LHQT with N all parameters (Chowdhery et al. 2022, arXiv 2204.02311, appendix B)."""
    return 6 * model.parameters + _attention(model, context)


def nanogpt(model: ModelConfig, context: int) -> int:
    """PaLM's, with N all parameters except the position table (nanoGPT, `estimate_mfu`)."""
    return 6 * (model.parameters - model.position_parameters) + _attention(model, context)


def torchtitan(model: ModelConfig, context: int) -> int:
    """PaLM's, with N all parameters except tables that are not also the head (torchtitan, 2026)."""
    table = 0 if model.tied else model.table_parameters
    return 6 * (model.parameters - model.position_parameters - table) + _attention(model, context)


def _attention(model: ModelConfig, context: int) -> int:
    """12·L·H·Q·T: two matrix products forward and four backward for every query head."""
    return 12 * model.depth * model.query_width * context
