"""What others mean by the FLOPs of training: the rules of thumb in use, for full training, per token.

Each is stated as its source computes it, so that a throughput or an MFU from elsewhere can be compared with
the ledger's. All count attention densely where they count it at all.
"""

from deepen.model.config import ModelConfig


def kaplan(model: ModelConfig, context: int) -> int:
    """6N, N without embeddings, positions and head; no attention term (Kaplan et al. 2020, arXiv 2001.08361)."""
    return 6 * model.parameters_non_embedding


def palm(model: ModelConfig, context: int) -> int:
    """6N + 12LHQT, N all parameters (Chowdhery et al. 2022, arXiv 2204.02311, appendix B)."""
    return 6 * model.parameters + _attention(model, context)


def nanogpt(model: ModelConfig, context: int) -> int:
    """PaLM's with N less the position table (nanoGPT, `estimate_mfu`)."""
    return 6 * (model.parameters - model.position_parameters) + _attention(model, context)


def torchtitan(model: ModelConfig, context: int) -> int:
    """PaLM's with N less tables that only embed; a tied one is the head too, and counts (torchtitan, 2026)."""
    table = 0 if model.tied else model.vocab * model.width
    return 6 * (model.parameters - model.position_parameters - table) + _attention(model, context)


def _attention(model: ModelConfig, context: int) -> int:
    """12·L·H·Q·T: two products forward, four backward, for every query head."""
    return 12 * model.depth * model.width * context
