"""The figures of a bench for people: each kind of phase beside the ledger, what was fitted, other trainers."""

from collections.abc import Sequence
from pathlib import Path

from deepen.bench.result import BenchResult, Fit, KindResult, Pace, Race
from deepen.cli.output.tables import numbers, print_lines, print_sentences, print_table, text
from deepen.model.chunks import padded_vocab
from deepen.model.presets import PRESETS
from deepen.schedule.trainable import Trainable


def print_bench(result: BenchResult) -> None:
    """Print the figures."""
    workload, first = result.workload, result.kinds[0]
    print_table(
        f"{workload.model.name}: {workload.batch_tokens:,} tokens a step, context {workload.context:,}, "
        f"{workload.settings.precision}, {workload.settings.optimizer.kind}, on {result.device}, "
        f"threads {result.threads}",
        (
            numbers("depth"),
            text("trains"),
            text("new blocks"),
            numbers("tokens/s"),
            numbers("measured"),
            numbers("ledger"),
            numbers("÷ ledger"),
            numbers("MFU"),
            numbers("peak memory"),
        ),
        (
            (
                str(kind.phase.depth),
                kind.phase.train.name,
                "" if kind.phase.train == Trainable.ALL else _span(kind.new_blocks),
                f"{kind.tokens_per_second:,.0f}",
                f"{kind.seconds_per_token / first.seconds_per_token:.3f}",
                f"{kind.flops_per_token / first.flops_per_token:.3f}",
                f"{kind.measured_to_ledger:.3f}",
                f"{kind.mfu:.1%}",
                f"{kind.peak_memory_bytes / 1e6:,.0f} MB",
            )
            for kind in result.kinds
        ),
        droppable=("peak memory", "MFU", "new blocks"),
    )
    busy = ": something else used the machine, measure again when it is idle" if result.machine_was_busy else ""
    print_sentences([
        f"measured and ledger are relative to {_describe_first(result)}, which achieves "
        f"{first.flops_per_token / first.seconds_per_token / 1e9:,.1f} GFLOP/s, attention counted densely; "
        f"÷ ledger is measured ÷ ledger; MFU is of {result.peak_flops / 1e9:,.0f} GFLOP/s, products of large "
        "matrices",
        *_describe_padding(first, workload.model.vocab),
        *([] if result.fit is None else [_describe_fit(result.fit)]),
        "of each phase the fastest turn counts; "
        f"the median took at most {result.jitter:.2f} times as long{busy}",
    ])  # fmt: skip


def _describe_first(result: BenchResult) -> str:
    phase = result.kinds[0].phase
    is_full = phase.depth == result.workload.model.depth and phase.train == Trainable.ALL
    return "training everything at full depth" if is_full else phase.label


def _describe_padding(kind: KindResult, vocab: int) -> list[str]:
    """What the padding of the head costs, if there is any."""
    more = kind.computed_flops_per_token / kind.flops_per_token - 1
    if not more:
        return []
    return [
        f"the head is padded from {vocab:,} to {padded_vocab(vocab):,} tokens: {100 * more:.2g} % more FLOPs are "
        "computed than are counted here and in MFU"
    ]


def _describe_fit(fit: Fit) -> str:
    timing = fit.timing
    ingredients = {f"a block {role}": seconds for role, seconds in timing.block.items()}
    ingredients |= {"a frozen head": timing.head_frozen, "a trained head": timing.head_trained}
    seconds = ", ".join(f"{name} {1e6 * seconds:.3g}" for name, seconds in ingredients.items() if seconds)
    return (
        f"fitted, in µs per token: {seconds}, all else {1e6 * timing.base:.3g}; "
        f"the sums miss no phase by more than {100 * fit.misfit:.1f} %"
    )


def print_race(race: Race) -> None:
    """Print how fast each trainer was, and why some were not measured."""
    if race.paces:
        _print_paces(race.paces)
    if race.failures:
        print_lines([f"{name} was not measured: {reason}" for name, reason in race.failures.items()])


def _print_paces(paces: Sequence[Pace]) -> None:
    print_table(
        "full training, in turns",
        (text(""), numbers("tokens/s, median"), numbers("fastest"), numbers("deepen is faster by")),
        (
            (
                pace.name,
                f"{pace.tokens_per_second:,.0f}",
                f"{pace.fastest_tokens_per_second:,.0f}",
                "" if pace.name == "deepen" else f"{pace.ratio:.2f}",
            )
            for pace in paces
        ),
    )


def _span(blocks: Sequence[int]) -> str:
    """Blocks in a row by the first and last, counted from the bottom, which is 0."""
    return f"{blocks[0]}" if len(blocks) == 1 else f"{blocks[0]} to {blocks[-1]}"


def describe_use(result: BenchResult, out: Path | None) -> str:
    """How to plan by the figures."""
    model = result.workload.model
    name = f"--model {model.name}" if model.name in PRESETS else "and the model's options"
    if result.fit is None:
        written = "" if out is None else f"what was measured is written to {out}; "
        return f"{written}to plan in seconds, all kinds of phases have to be measured"
    if out is None:
        return "to plan in seconds, write it to a file with --out, for deepen plan --bench"
    return f"written to {out}: deepen plan two-phase {name} --bench {out}"
