"""The parameters that a phase trains, by name and count. Needs no torch: names and shapes follow from the family.

list_trained_tensors(model, Trainable.explicit((8, 9, 10, 11), head=True).resolve(12, ()))
# blocks.8-11.norm_1.weight, 4 tensors, 3,072 parameters; blocks.8-11.norm_1.bias; ...; norm.weight; ...
"""

from collections.abc import Iterator
from dataclasses import dataclass

from deepen.growth.layout import describe_layout
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.trainable import TrainedParts


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedTensors:
    """Tensors that differ only in their block.

    Attributes:
        name: their name; the indices of blocks as ranges, such as `blocks.0,8-11.mlp.up.weight`.
        tensors: how many there are.
        parameters: the parameters of all of them.
    """

    name: str
    tensors: int
    parameters: int


def list_trained_tensors(model: ModelConfig, trained: TrainedParts) -> list[TrainedTensors]:
    """The trained parameters, bottom to top; a matrix that embeddings and head share is listed once."""
    table = {"weight": model.table_parameters}
    has_table = trained.embeddings or (model.tied and trained.head)
    listed = [*_list("token_embedding", table)] if has_table else []
    if trained.embeddings and model.position_parameters:
        listed += _list("position_embedding", {"weight": model.position_parameters})
    frozen = tuple(block for block in range(trained.depth) if block not in trained.blocks)
    for blocks, norms_only in ((trained.blocks, False), (frozen if trained.norms else (), True)):
        if blocks:
            for name, sizes in _block_modules(model):
                if "norm" in name or not norms_only:
                    listed += _list(f"blocks.{describe_layout(blocks)}.{name}", sizes, len(blocks))
    if trained.trains_final_norm:
        listed += _list("norm", _norm_sizes(model, model.width))
    if trained.head and not model.tied:
        listed += _list("head", table)
    return listed


def _list(module: str, sizes: dict[str, int], count: int = 1) -> Iterator[TrainedTensors]:
    """The tensors of a module that exists `count` times."""
    for name, size in sizes.items():
        yield TrainedTensors(name=f"{module}.{name}", tensors=count, parameters=count * size)


def _block_modules(model: ModelConfig) -> Iterator[tuple[str, dict[str, int]]]:
    """The modules of a block with parameters: for each, the size of each of its tensors."""
    yield "norm_1", _norm_sizes(model, model.width)
    for name, (inputs, outputs) in model.block_linears.items():
        yield name, {"weight": inputs * outputs, **({"bias": outputs} if _has_bias(model, name) else {})}
    if model.qk_norm != "none":
        is_whole = model.qk_norm == "all-heads"
        yield "attention.q_norm", _norm_sizes(model, model.query_width if is_whole else model.head_width)
        yield "attention.k_norm", _norm_sizes(model, model.key_width if is_whole else model.head_width)
    yield "norm_2", _norm_sizes(model, model.width)


def _norm_sizes(model: ModelConfig, width: int) -> dict[str, int]:
    return {"weight": width, **({"bias": width} if FAMILIES[model.family].norms_have_biases else {})}


def _has_bias(model: ModelConfig, linear: str) -> bool:
    return FAMILIES[model.family].has_bias(model, linear)
