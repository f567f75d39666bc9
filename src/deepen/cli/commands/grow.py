"""`deepen grow CKPT -o DIR`: grow a checkpoint, and list what its blocks are."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deepen.cli.commands.stopping import stop_at_signals
from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines, print_sentences, print_table, short, text
from deepen.cli.requests.grow import GrowRequest
from deepen.data.sources import read_embedded
from deepen.growth.layout import GrownBlock, describe_layout
from deepen.interop.checkpoint import Checkpoint, is_trained
from deepen.interop.growing import GrownCheckpoint, grow_checkpoint
from deepen.interop.growth_check import Comparison, read_text
from deepen.report.units import counted
from deepen.study.run.progress import Preparation


def run(request: GrowRequest) -> int:
    """Grow the checkpoint and print what is new."""
    checkpoint = request.checkpoint
    sample = None
    if request.verifies:
        sample = read_embedded()[1][-1] if request.text is None else read_text(request.text)
    with stop_at_signals() as check_stop, show_progress(f"grow {checkpoint.folder.name}") as show:

        def on_progress(what: str, share: float | None) -> None:
            check_stop()
            show(Preparation(what, share))

        grown = grow_checkpoint(
            checkpoint,
            request.out,
            growth=request.growth,
            depth=request.depth,
            shard_bytes=request.shard_bytes,
            text=sample,
            on_progress=on_progress,
        )
    if request.as_json:
        print(json.dumps(_to_json(grown), indent=1))
    else:
        _print(grown, _describe_next_step(checkpoint, grown.folder))
    return 0


def _describe_next_step(checkpoint: Checkpoint, folder: Path) -> str:
    """How to use the result: deepen trains only some of the models that it can grow."""
    if is_trained(checkpoint):
        return f"Continue training: deepen train RECIPE --from {folder}"
    return f'Load it: AutoModelForCausalLM.from_pretrained("{folder}")'


def _print(grown: GrownCheckpoint, next_step: str) -> None:
    """Print what each block is, what was compared, and how to continue."""
    title = (
        f"{grown.folder}: {counted(len(grown.blocks), 'block')} instead of {grown.old_depth}, "
        f"{short(grown.parameters)} parameters instead of {short(grown.old_parameters)}"
    )
    print_table(title, (text("blocks"), text(""), text("weights")), list(_describe_blocks(grown.blocks)))
    print_sentences(_describe_changes(grown))
    if grown.not_compared:
        print_sentences([f"Not verified: {grown.not_compared}"])
    if grown.comparison is not None:
        print_sentences([_describe_comparison(grown.comparison)])
    print_lines([next_step])


def _describe_changes(grown: GrownCheckpoint) -> Iterator[str]:
    """What the table does not show: the noise, which old blocks are missing, and where their order is another."""
    if grown.noise:
        yield f"Noise was added to the matrices of copies: {grown.noise:g} of each matrix's root mean square"
    if gone := grown.left_out:
        what = f"Block {gone[0]} is" if len(gone) == 1 else f"Blocks {describe_layout(gone)} are"
        yield f"{what} left out"
    kept = [block.source for block in grown.blocks if block.source is not None and not block.is_new]
    if kept != sorted(kept):
        yield f"The old blocks are in another order: {describe_layout(kept)}"


def _describe_blocks(blocks: Sequence[GrownBlock]) -> Iterator[tuple[str, str, str]]:
    """For each run of alike blocks: their numbers, whether they are new, and where their weights are from."""
    begin = 0
    for number, block in enumerate(blocks):
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        if following is not None and _continues(block, following):
            continue
        yield _range(begin, number), "new" if block.is_new else "", _describe_run(blocks[begin : number + 1])
        begin = number + 1


def _continues(block: GrownBlock, following: GrownBlock) -> bool:
    """Whether the next block is of the same kind and the next one of the old model."""
    source = None if block.source is None else block.source + 1
    upper = None if block.upper_source is None else block.upper_source + 1
    return following == replace(block, source=source, upper_source=upper)


def _describe_run(run: Sequence[GrownBlock]) -> str:
    first, last = run[0].source, run[-1].source
    if first is None or last is None:
        weights = "fresh"
    elif run[0].upper_source is not None and run[-1].upper_source is not None:
        share = run[0].upper_share
        lower, upper = _range(first, last), _range(run[0].upper_source, run[-1].upper_source)
        weights = f"{1 - share:.0%} of block{'s' if len(run) > 1 else ''} {lower} and {share:.0%} of {upper}"
    else:
        blocks = f"block{'s' if len(run) > 1 else ''} {_range(first, last)}"
        copies = "copies" if len(run) > 1 else "copy"
        weights = f"{copies} of {blocks}" if run[0].is_new else f"{blocks} as before"
    if run[0].zero_output:
        return f"{weights}, made the identity"
    return weights if run[0].residual_scale == 1 else f"{weights}, output × {run[0].residual_scale:g}"


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _describe_comparison(comparison: Comparison) -> str:
    change = comparison.loss_after - comparison.loss_before
    logits = (
        "the logits are equal"
        if comparison.logits_equal
        else f"logits differ by up to {comparison.max_difference:.3g}"
    )
    return (
        f"Loss on {counted(comparison.tokens, 'token')}: {comparison.loss_before:.4f} before, "
        f"{comparison.loss_after:.4f} after ({change:+.4f}); {logits}"
    )


def _to_json(grown: GrownCheckpoint) -> dict[str, Any]:
    comparison = grown.comparison
    return {
        "folder": str(grown.folder),
        "old_depth": grown.old_depth,
        "depth": len(grown.blocks),
        "old_parameters": grown.old_parameters,
        "parameters": grown.parameters,
        "blocks": [asdict(block) | {"zero_output": block.zero_output} for block in grown.blocks],
        "new_blocks": [number for number, block in enumerate(grown.blocks) if block.is_new],
        "noise": grown.noise,
        "left_out": list(grown.left_out),
        "comparison": None if comparison is None else asdict(comparison),
        "not_compared": grown.not_compared,
    }
