"""Freezing: which parameters of a live model learn, and a check that exactly those get gradients."""

from collections.abc import Sequence

from deepen.model.decoder import Decoder
from deepen.schedule.phase import Scope


def apply_scope(model: Decoder, scope: Scope, new_blocks: Sequence[int]) -> int | None:
    """Let exactly the scope's parameters require gradients; returns where the graph is cut.

    Frozen is `requires_grad=False` with no gradient at all: AdamW moves a weight whose gradient is zero.

    Returns:
        The number of blocks, from the bottom, that run without gradients together with the embeddings, or
        None where the graph stays whole.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_trained(name, scope, new_blocks, model.config.tied))
    if scope.trains_embeddings:
        return None
    return min(new_blocks, default=len(model.blocks))


def _is_trained(name: str, scope: Scope, new_blocks: Sequence[int], tied: bool) -> bool:
    if scope is Scope.ALL:
        return True
    part, _, rest = name.partition(".")
    match part:
        case "blocks":
            return int(rest.partition(".")[0]) in new_blocks
        case "norm" | "head":
            return scope.trains_head
        case "token_embedding" if tied:  # it is the head, and learns through it
            return scope.trains_head
        case _:
            return scope.trains_embeddings


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
