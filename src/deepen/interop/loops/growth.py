"""Grow any model and its optimizer: fill a deeper model, made by its own code, from the one before growth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepen.errors import InvalidValueError
from deepen.growth.grow import add_noise
from deepen.growth.layout import GrownBlock, count_blocks
from deepen.growth.moments import get_moment_policy
from deepen.growth.spec import Growth
from deepen.interop.loops.blocks import block_index, find_blocks, list_blocks
from deepen.model.build import generator


@torch.no_grad()
def grow_model(
    model: nn.Module,
    deeper: nn.Module,
    growth: Growth,
    *,
    blocks: str = "",
    output_projections: Sequence[str] = (),
    seed: int = 0,
) -> None:
    """Fill a deeper model: with the old model's weights, and with copies of its blocks if the operator copies.

    New blocks that are not copies keep the weights of `deeper`, which its own code drew. Buffers, such as a causal
    mask, are copied as they are. `model` does not change, and the two share no memory.

    Args:
        model: the model before growth.
        deeper: a model of the same kind with more blocks; its weights are overwritten.
        growth: operator and placement.
        blocks: the name of the `nn.ModuleList` of blocks, such as "transformer.h"; needed if there are several.
        output_projections: for operators whose new blocks begin as identities, and for a `residual_scale`, the
            linears whose output is added to the residual stream, by their names within a block, such as
            ("attn.c_proj", "mlp.c_proj"); where a norm follows them (OLMo 2), the norms.
        seed: of the noise, where the growth adds any.

    Raises:
        InvalidValueError: the models do not fit together, or `output_projections` is missing or wrong.
    """
    plan = _plan_growth(model, deeper, growth, blocks)
    old, new = model.state_dict(), deeper.state_dict()
    if dropped := [name for name in old if name not in new]:  # the lower blocks have the same names in both
        raise InvalidValueError(
            f"lacks {dropped[0]}, which the model before growth has", field="deeper", value=dropped[0]
        )
    parameters = {name for name, _ in deeper.named_parameters(remove_duplicate=False)}
    for name, tensor in new.items():
        source, upper = plan.sources(name)
        if source is not None:
            tensor.copy_(_find(old, source, like=tensor, name=name))
        if name not in parameters:
            continue
        if upper is not None:
            block = plan.find(name)
            assert block is not None, "only blocks have two sources"
            tensor.lerp_(_find(old, upper, like=tensor, name=name).to(tensor), block.upper_share)
        if growth.noise and plan.is_copied(name) and tensor.dim() >= 2:
            add_noise(tensor, growth.noise, generator(seed, "noise", *plan.locate(name)))
    if any(block.residual_scale != 1 for block in plan.blocks):
        _scale_outputs(plan, new, output_projections)


def grow_optimizer(
    optimizer: torch.optim.Optimizer,
    deeper_optimizer: torch.optim.Optimizer,
    model: nn.Module,
    deeper: nn.Module,
    growth: Growth,
    *,
    blocks: str = "",
) -> None:
    """Fill the state of a deeper model's optimizer, by the growth's moment policy.

    Both optimizers are torch's own, not wrappers around them, and of the same kind. Parameter groups and options
    of `deeper_optimizer` stay as they are; state is placed on the devices of the deeper parameters.

    Args:
        optimizer, model: before growth.
        deeper_optimizer, deeper: after growth.
        growth: its policy decides what is kept and copied.
        blocks: as in `grow_model`.

    Raises:
        InvalidValueError: the models do not fit together.
    """
    plan, policy = _plan_growth(model, deeper, growth, blocks), get_moment_policy(growth.moments)
    old = {name: optimizer.state[p] for name, p in model.named_parameters() if p in optimizer.state}
    names = {parameter: name for name, parameter in deeper.named_parameters()}
    saved = deeper_optimizer.state_dict()
    parameters = [p for group in deeper_optimizer.param_groups for p in group["params"]]
    indices = [index for group in saved["param_groups"] for index in group["params"]]
    saved["state"] = {}
    for index, parameter in zip(indices, parameters, strict=True):
        name = names.get(parameter)
        if name is None:
            raise InvalidValueError(
                "has a parameter that the deeper model does not have",
                field="deeper_optimizer",
                value=tuple(parameter.shape),
                remedy="make it from the parameters of the deeper model",
            )
        source, upper = plan.sources(name)
        block = plan.find(name)
        keeps = policy.copies if block is not None and block.is_new else policy.keeps
        if keeps and source in old and (upper is None or upper in old):
            saved["state"][index] = {
                key: _mix(value, None if upper is None else old[upper][key], block)
                for key, value in old[source].items()
            }
    deeper_optimizer.load_state_dict(saved)  # moves tensors to the right devices and types


@dataclass(frozen=True, slots=True)
class _Plan:
    """What each block of the deeper model is, the list that holds it, and the number of old blocks."""

    blocks: tuple[GrownBlock, ...]
    prefix: str
    old: int

    def sources(self, name: str) -> tuple[str | None, str | None]:
        """The tensors of the old model, up to two, that fill one of the deeper one; None keeps it as it is."""
        block = self.find(name)
        if block is None:
            return name, None
        rest = name.removeprefix(f"{self.prefix}.").partition(".")[2]
        found = (block.source, block.upper_source)
        source, upper = (None if each is None else f"{self.prefix}.{each}.{rest}" for each in found)
        return source, upper

    def locate(self, name: str) -> tuple[int, str]:
        """How many blocks were created before that of a tensor, and the tensor's name within it."""
        index, _, rest = name.removeprefix(f"{self.prefix}.").partition(".")
        below = sum(block.is_new for block in self.blocks[: int(index)])
        return self.old + below, rest

    def is_copied(self, name: str) -> bool:
        """Whether a tensor belongs to a new block that is made from old ones."""
        block = self.find(name)
        return block is not None and block.is_new and block.source is not None

    def find(self, name: str) -> GrownBlock | None:
        """The block that a tensor belongs to; None if it is outside the blocks."""
        index = block_index(name, self.prefix)
        return None if index is None else self.blocks[index]


def _plan_growth(model: nn.Module, deeper: nn.Module, growth: Growth, blocks: str) -> _Plan:
    prefix = blocks if blocks else find_blocks(model)
    old, depth = len(list_blocks(model, prefix)), len(list_blocks(deeper, prefix))
    if depth <= old:
        raise InvalidValueError(
            f"has {count_blocks(depth)}, but the model has {old} already: growth only adds",
            field="deeper",
            value=depth,
        )
    return _Plan(growth.resolve(old, depth).blocks, prefix, old)


def _scale_outputs(plan: _Plan, new: dict[str, Tensor], modules: Sequence[str]) -> None:
    """Multiply the output projections of each block by its residual scale, which is 0 for an identity."""
    if not modules:
        raise InvalidValueError(
            "of the new blocks are zero or scaled",
            field="output_projections",
            value=(),
            remedy='name the linears that write to the residual stream, such as ("attn.c_proj", "mlp.c_proj")',
        )
    for index, block in enumerate(plan.blocks):
        for module in modules if block.residual_scale != 1 else ():
            prefix = f"{plan.prefix}.{index}.{module}."
            found = [tensor for name, tensor in new.items() if name.startswith(prefix)]
            if not found:
                raise InvalidValueError(
                    f"has {module!r}, which no block has", field="output_projections", value=module
                )
            for tensor in found:
                tensor.mul_(block.residual_scale)


def _mix(value: Any, upper: Any, block: GrownBlock | None) -> Any:
    """An entry of the optimizer's state, of one source or of two; step counts are those of the lower one."""
    if not isinstance(value, Tensor):
        return value
    if upper is None or block is None or value.dim() == 0:
        return value.clone()
    return torch.lerp(value, upper, block.upper_share)


def _find(old: dict[str, Tensor], source: str, *, like: Tensor, name: str) -> Tensor:
    """The tensor of the old model that fills `name`."""
    if source not in old or old[source].shape != like.shape:
        shape = list(old[source].shape) if source in old else "missing"
        raise InvalidValueError(
            f"has {name} of shape {list(like.shape)}, but {source} before growth is {shape}",
            field="deeper",
            value=name,
            remedy="the two models may differ in the number of their blocks only",
        )
    return old[source]
