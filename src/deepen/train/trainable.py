"""Freezing: set which parameters of a model are trained, and check that exactly those get gradients."""

from deepen.model.decoder import Decoder
from deepen.schedule.trainable import TrainedParts


def freeze_rest(model: Decoder, trained: TrainedParts) -> None:
    """Make exactly the trained parts require gradients.

    A frozen parameter has `requires_grad=False` and no gradient at all, because AdamW moves a weight whose
    gradient is zero. A tied head is the token embedding, so it is set last.
    """
    model.requires_grad_(trained.embeddings)
    for index, block in enumerate(model.blocks):
        for name, parameter in block.named_parameters():
            parameter.requires_grad_(index in trained.blocks or (trained.norms and is_norm(name)))
    model.norm.requires_grad_(trained.trains_final_norm)
    model.head_weight.requires_grad_(trained.trains_head_matrix(tied=model.config.tied))


def is_norm(name: str) -> bool:
    """Whether a block's parameter belongs to one of its norms: of the residual stream, or of queries and keys."""
    return "norm" in name


def check_gradients(model: Decoder, label: str) -> None:
    """Raise an AssertionError unless exactly the parameters that require gradients have one.

    A network that detaches a tensor, or a compiler that drops part of a graph, would silently train fewer.

    Args:
        model: a model after a backward pass.
        label: the segment's label, for the message.
    """
    declared = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    if declared != reached:  # raised, not asserted: python -O must not lose it
        raise AssertionError(
            f"trainable set broken in {label}: no gradient for {sorted(declared - reached)}, and one that was not "
            f"declared for {sorted(reached - declared)}: the network cuts its graph"
        )
