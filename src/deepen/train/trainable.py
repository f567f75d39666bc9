"""Freezing: which parameters of a live model learn, and a check that exactly those get gradients."""

from deepen.model.decoder import Decoder
from deepen.schedule.trainable import TrainedParts


def freeze_rest(model: Decoder, trained: TrainedParts) -> None:
    """Let exactly the trained parts require gradients.

    Frozen is `requires_grad=False` with no gradient at all: AdamW moves a weight whose gradient is zero.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_trained(name, trained, tied=model.config.tied))


def _is_trained(name: str, trained: TrainedParts, *, tied: bool) -> bool:
    part, _, rest = name.partition(".")
    match part:
        case "blocks":
            return int(rest.partition(".")[0]) in trained.blocks
        case "norm":
            return trained.head
        case "head":
            return trained.head_matrix(tied=tied)
        case "token_embedding" if tied:  # it is the head
            return trained.head_matrix(tied=tied)
        case _:
            return trained.embeddings


def check_gradients(model: Decoder, label: str) -> None:
    """Raise an AssertionError unless exactly the parameters that require gradients have one.

    A network that detaches a tensor, or a compiler that drops part of a graph, would train fewer in silence.

    Args:
        model: a model after a backward pass.
        label: of the segment, for the message.
    """
    declared = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    if declared != reached:  # raised, not asserted: python -O must not lose it
        raise AssertionError(
            f"trainable set broken in {label}: no gradient for {sorted(declared - reached)}, and one that was not "
            f"declared for {sorted(reached - declared)}: the network cuts its graph"
        )
