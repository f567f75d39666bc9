"""Find the blocks of any model, and freeze what a phase does not train."""

from torch import nn

from deepen.errors import InvalidValueError
from deepen.growth.layout import count_blocks
from deepen.schedule.trainable import TrainedParts


def find_blocks(model: nn.Module) -> str:
    """The name of the `nn.ModuleList` that holds a model's blocks, such as "transformer.h" or "model.layers".

    Raises:
        InvalidValueError: there is none, or several that are not inside one another.
    """
    found: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    if len(found) != 1:
        listed = ", ".join(found) if found else "none"
        raise InvalidValueError(
            f"must have one nn.ModuleList of blocks, and it has {listed}",
            field="model",
            value=tuple(found),
            remedy="name it with `blocks`" if found else "put the blocks into an nn.ModuleList",
        )
    return found[0]


def set_trained_parts(model: nn.Module, trained: TrainedParts, *, blocks: str = "") -> None:
    """Make exactly the trained parts require gradients, and drop the gradients of the others.

    Outside the blocks, parameters of an `nn.Embedding` are embeddings and all others belong to the head. Norms are
    the modules whose class is called so, such as `nn.LayerNorm` or `LlamaRMSNorm`. Frozen
    parameters keep no gradient, because AdamW moves a weight whose gradient is zero. Call this before the model is
    wrapped: DDP reads `requires_grad` once.

    Args:
        model: the model.
        trained: what the phase trains.
        blocks: as in `grow_model`.

    Raises:
        InvalidValueError: the model has another depth, or head and embeddings share a matrix and only the head
            should be trained: without a cut graph the matrix would learn through the embeddings too.
    """
    prefix = blocks if blocks else find_blocks(model)
    depth = len(list_blocks(model, prefix))
    if depth != trained.depth:
        raise InvalidValueError(
            f"has {count_blocks(depth)}, but the phase has {trained.depth}", field="model", value=depth
        )
    embeddings = {
        id(parameter)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and not name.startswith(f"{prefix}.")
        for parameter in module.parameters()
    }
    tied = any(
        id(parameter) in embeddings
        for module in model.modules()
        if not isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    )
    if tied and trained.head and not trained.embeddings:
        raise InvalidValueError(
            "has the head without the embeddings, but they share a matrix",
            field="trained",
            value=trained,
            remedy="train both or neither: `scope` new-blocks or new-blocks-embeddings",
        )
    norms = {
        id(parameter)
        for module in model.modules()
        if "norm" in type(module).__name__.lower()
        for parameter in module.parameters(recurse=False)
    }
    for name, parameter in model.named_parameters():
        index = block_index(name, prefix)
        is_trained_norm = trained.norms and id(parameter) in norms
        if index is not None:
            parameter.requires_grad_(index in trained.blocks or is_trained_norm)
        elif id(parameter) in embeddings:
            parameter.requires_grad_(trained.embeddings)
        else:
            parameter.requires_grad_(trained.head or is_trained_norm)
        if not parameter.requires_grad:
            parameter.grad = None


def list_blocks(model: nn.Module, name: str) -> nn.ModuleList:
    """The blocks of a model, from the name of their list."""
    try:
        module = model.get_submodule(name)
    except AttributeError:
        module = None
    if not isinstance(module, nn.ModuleList):
        raise InvalidValueError(
            f"{name!r} is not an nn.ModuleList of {type(model).__name__}", field="blocks", value=name
        )
    return module


def block_index(name: str, blocks: str) -> int | None:
    """The index of the block that a parameter belongs to; None if it is outside the blocks."""
    if not name.startswith(f"{blocks}."):
        return None
    return int(name.removeprefix(f"{blocks}.").partition(".")[0])
