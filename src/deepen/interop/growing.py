"""Grow a checkpoint into a new folder, of deepen's or in Hugging Face's format; what `deepen grow` does.

checkpoint = find_checkpoint("gpt2")
grown = grow_checkpoint(checkpoint, Path("gpt2-24"), depth=24, growth=Growth(operator="copy-zero"))
grown.blocks    # for each block of the result: the old block that it copies, and whether it is new
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.errors import InvalidValueError, RunError
from deepen.growth.grow import grow_by
from deepen.growth.layout import GrownBlock, count_blocks, describe_blocks, describe_layout
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import Checkpoint, DeepenCheckpoint, HuggingFaceCheckpoint
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.growth_check import (
    MAX_TOKENS,
    MAX_VOCAB,
    Comparison,
    TextLogits,
    compare,
    compute_folder_logits,
    compute_logits,
    encode_text,
    explain_missing_memory,
)
from deepen.interop.history import Grown
from deepen.interop.hugging_face.block_list import find_section
from deepen.interop.hugging_face.grow import open_growable, plan_growth, write_grown
from deepen.interop.hugging_face.shards import SHARD_BYTES
from deepen.interop.load import open_state

OnProgress = Callable[[str, float | None], None]
"""Receives what is done, and its share that is done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrownCheckpoint:
    """A checkpoint that was grown.

    Attributes:
        folder: where it is.
        old_depth: blocks before growth.
        blocks: what each block is.
        old_parameters, parameters: parameters before and after growth.
        noise: what was added to the matrices of copies; see `Growth`.
        comparison: the model before and after growth, on a text; None if it was not compared.
        not_compared: why it could not be compared; empty if nobody asked for it.
    """

    folder: Path
    old_depth: int
    blocks: tuple[GrownBlock, ...]
    old_parameters: int
    parameters: int
    noise: float = 0.0
    comparison: Comparison | None = None
    not_compared: str = ""

    @property
    def left_out(self) -> tuple[int, ...]:
        """The old blocks that are not in the result."""
        kept = {block.source for block in self.blocks}
        return tuple(block for block in range(self.old_depth) if block not in kept)


def grow_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    growth: Growth,
    depth: int | None = None,
    shard_bytes: int = SHARD_BYTES,
    text: str | None = None,
    on_progress: OnProgress = lambda what, share: None,
) -> GrownCheckpoint:
    """Grow a checkpoint into a new folder, which appears only when it is complete.

    A checkpoint of deepen's keeps its optimizer state, by the growth's moment policy. Either kind is copied tensor
    by tensor, in little memory.

    Args:
        checkpoint: what to grow; it does not change.
        out: the new folder.
        growth: operator and placement or a layout, and moment policy.
        depth: blocks after growth; None with a layout, which has it already.
        shard_bytes: the size of a file of tensors in Hugging Face's format.
        text: if given, the model before and after growth are compared on it, where they fit into memory.
        on_progress: receives the progress.

    Raises:
        InvalidValueError: the checkpoint cannot be grown so, or the folder is in use.
        RunError: the disk is full, or a model that should be unchanged is not: then nothing is written.
    """
    durable.check_new_folder(out, "out")
    if depth is None and not growth.layout:
        raise InvalidValueError("is missing: give it, or `layout`", field="depth")
    depth = len(growth.layout) if depth is None else depth
    if isinstance(checkpoint, DeepenCheckpoint):
        return _grow_state(checkpoint, growth, depth, out, text, on_progress)
    return _grow_folder(checkpoint, growth, depth, out, shard_bytes, text, on_progress)


def _grow_state(
    checkpoint: DeepenCheckpoint,
    growth: Growth,
    depth: int,
    out: Path,
    text: str | None,
    on_progress: OnProgress,
) -> GrownCheckpoint:
    model = checkpoint.model
    step = growth.resolve(model.depth, depth)
    deeper = replace(model, depth=depth)
    on_progress(f"reading {checkpoint.folder}", None)
    state = open_state(checkpoint)
    grown = grow_by(state, step, deeper)
    _check_space(out, grown.nbytes)
    result = GrownCheckpoint(
        folder=out,
        old_depth=model.depth,
        blocks=step.blocks,
        old_parameters=model.parameters,
        parameters=deeper.parameters,
        noise=growth.noise,
    )
    if text is not None:
        weight_bytes = replace(grown, moments={}).nbytes
        result = replace(result, not_compared=explain_missing_memory(weight_bytes, model.vocab))
    if text is not None and not result.not_compared:
        on_progress("comparing", None)
        ids = encode_text(checkpoint.tokenizer, text, vocab=model.vocab, context=model.context)
        before = TextLogits(ids=ids, logits=compute_logits(model, state.weights, ids))
        comparison = compare(before, compute_logits(deeper, grown.weights, ids))
        result = replace(result, comparison=comparison)
        if step.preserves_function(model.depth) and deeper.branch_scale(depth) == model.branch_scale(model.depth):
            _check_unchanged(comparison)
    on_progress(f"writing {out}", None)
    event = Grown(
        old_depth=model.depth,
        new_depth=depth,
        operator=f"{'layout' if growth.layout else growth.operator}{_describe_changes(growth)}",
        layout=describe_blocks(step.blocks),
    )
    write_checkpoint(out, grown, deeper, (*checkpoint.history, event), checkpoint.tokenizer)
    return result


def _grow_folder(
    checkpoint: HuggingFaceCheckpoint,
    growth: Growth,
    depth: int,
    out: Path,
    shard_bytes: int,
    text: str | None,
    on_progress: OnProgress,
) -> GrownCheckpoint:
    growable = open_growable(checkpoint.folder, checkpoint.config)
    step = growth.resolve(growable.depth, depth)
    grown = plan_growth(growable, step)
    _check_space(out, grown.bytes)
    result = GrownCheckpoint(
        folder=out,
        old_depth=growable.depth,
        blocks=step.blocks,
        old_parameters=growable.parameters,
        parameters=grown.parameters,
        noise=growth.noise,
    )
    before = None
    if text is not None:
        vocab = _find_number(growable.config, ("vocab_size",), MAX_VOCAB)
        result = replace(result, not_compared=explain_missing_memory(grown.bytes, vocab))
        if not result.not_compared:  # before writing, which may take long
            context = _find_number(growable.config, ("max_position_embeddings", "n_positions"), MAX_TOKENS)
            ids = encode_text(checkpoint.tokenizer, text, vocab=vocab, context=context)
            on_progress("reading the model before growth", None)
            before = TextLogits(ids=ids, logits=compute_folder_logits(growable.folder, ids))
    written, size = 0, grown.bytes

    def report(count: int) -> None:
        nonlocal written
        written += count
        on_progress(f"writing {out}", written / size)

    with durable.new_folder(out) as folder:
        write_grown(growable, grown, folder, shard_bytes=shard_bytes, on_bytes=report)
        durable.append(folder / "README.md", _describe_growth(result, growth).encode())
        if before is not None:
            on_progress("reading the model after growth", None)
            comparison = compare(before, compute_folder_logits(folder, before.ids))
            result = replace(result, comparison=comparison)
            if step.preserves_function(growable.depth):
                _check_unchanged(comparison)
    return result


def _describe_growth(result: GrownCheckpoint, growth: Growth) -> str:
    """The section of the model card about the growth; the rest of the card describes the model before."""
    new = [number for number, block in enumerate(result.blocks) if block.is_new]
    how = f"{'a layout' if growth.layout else f'operator {growth.operator}'}{_describe_changes(growth)}"
    return (
        f"\n## Growth\n\ndeepen made this model deeper, with {how}: {count_blocks(result.old_depth)} "
        f"became {len(result.blocks)}, {result.old_parameters:,} parameters {result.parameters:,}. Its blocks, by "
        f"their numbers before: {describe_blocks(result.blocks)}. New blocks: {describe_layout(new)}.\n"
    )


def _describe_changes(growth: Growth) -> str:
    """In what copies differ from their source; empty if they do not."""
    scale = "" if growth.residual_scale == 1 else f", outputs of copies × {growth.residual_scale:g}"
    return f"{scale}{f', noise {growth.noise:g}' if growth.noise else ''}"


def _check_unchanged(comparison: Comparison) -> None:
    """Raise an error if the logits changed, where growth should preserve the function."""
    if not comparison.logits_equal:
        raise RunError(
            f"the logits should be equal after growth, but differ by up to {comparison.max_difference:.2g}: zero "
            "output projections do not make blocks of this model the identity",
            remedy="use stack or interleave",
        )


def _check_space(out: Path, needed: int) -> None:
    """Raise a RunError if the disk has no room for the new folder."""
    free = shutil.disk_usage(durable.nearest_existing(out.absolute())).free
    if needed > free:
        raise RunError(
            f"the result takes {needed / 1e9:,.3g} GB, and the disk of {out} has {free / 1e9:,.3g} GB left",
            remedy="free some space, or name a folder on another disk",
        )


def _find_number(config: Mapping[str, Any], keys: Sequence[str], default: int) -> int:
    """The first of some entries of a config that is a number, about the language model."""
    section = find_section(config)
    return next((section[key] for key in keys if isinstance(section.get(key), int)), default)
