"""`deepen bench`: what each kind of phase takes on this device, measured against the ledger."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepen.bench.other_trainers import OTHER_TRAINERS, check_installed
from deepen.cli.output.tables import print_lines, print_table
from deepen.cli.requests.options import (
    Option,
    Problems,
    Request,
    Stopped,
    choice,
    choices,
    path_of,
    read_request,
    whole,
)
from deepen.cli.requests.shared import (
    BUDGET_OPTIONS,
    MODEL_OPTION,
    MOMENT_PRECISION_OPTION,
    SIZE_OPTIONS,
    VOCAB_OPTION,
    model_of,
    settings_of,
)
from deepen.compute.bench_file import read_timing
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.study.define.study import Arm, Evaluation, Study
from deepen.train.limits import usable_cores
from deepen.train.settings import COMPILE, PRECISIONS, TrainSettings

if TYPE_CHECKING:
    from deepen.bench.result import BenchResult, Pace

OPTIONS = (
    MODEL_OPTION,
    *SIZE_OPTIONS,
    VOCAB_OPTION,
    *(option for option in BUDGET_OPTIONS if option.key in ("batch_tokens", "context")),
    Option(name="precision", read=choice(PRECISIONS), help=f"{' or '.join(PRECISIONS)} (default fp32)"),
    Option(name="steps", read=whole(1), help="steps measured of each kind of phase (default 10)"),
    Option(name="threads", read=whole(1, 1024), help="CPU threads of a step (default 1, as a study's on a CPU)"),
    Option(name="compile", read=choice(COMPILE), help=f"blocks: {', '.join(COMPILE)} (default no)"),
    MOMENT_PRECISION_OPTION,
    Option(
        name="against",
        read=choices(OTHER_TRAINERS),
        help=f"measure these too: {', '.join(OTHER_TRAINERS)}, with commas between",
    ),
    Option(name="out", read=path_of, help="JSON file for deepen plan --bench"),
    Option(name="json", read=None, help="print the same as JSON"),
)


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    about = "What each kind of phase takes on this device, measured against the ledger."
    request = read_request("bench", argv, OPTIONS, what="", about=about)
    study, out = _study_of_steps(request), request.get("out")
    if request.get("threads", 1) > (cores := usable_cores()):
        request.problems.append(f"--threads is {request.get('threads')}: this machine has {cores} cores")
    if out is not None:
        request.attempt(lambda: _check_file(out))
    against = request.get("against", ())
    request.attempt(lambda: check_installed(against))
    request.check()
    assert study is not None
    result = _measure(study, request.get("steps", 10), request.get("threads", 1), against)
    if request.get("json"):
        print(json.dumps(result.to_json(), indent=1))
    else:
        _print(result)
    if out is not None:
        from deepen.durable import write_json

        write_json(out, result.to_json())
    if not request.get("json"):
        print_lines([_how_to_use(study.model, out)])
    return 0


def _study_of_steps(request: Request) -> Study | None:
    """What is to be measured, as a study of full training: its checks are those of steps, too."""
    model = model_of(request, "nano")
    context = request.get("context", model.context)
    batch_tokens = request.get("batch_tokens", tokens_per_step(model, context))
    study: Study | None = request.attempt(
        lambda: Study(
            name="bench",
            model=model,
            tokens=batch_tokens,
            batch_tokens=batch_tokens,
            context=context,
            arms=(Arm(name="full", recipe="full"),),
            evaluation=Evaluation(every_tokens=batch_tokens, validation_tokens=context),
            settings=settings_of(request, TrainSettings()),
        )
    )
    return study


def _check_file(out: Path) -> None:
    """Raise a ValueError where a bench could not be written in the end, or would replace something else."""
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file in it")
    if not os.access(out.absolute().parent, os.W_OK):
        raise ValueError(f"--out {out}: the folder {out.parent} does not exist or cannot be written to")
    if out.exists():
        try:
            read_timing(out)
        except ValueError:
            raise ValueError(f"--out {out} holds something else than a bench: name another file") from None


def _measure(study: Study, steps: int, threads: int, against: Sequence[str]) -> "BenchResult":
    import torch  # takes seconds to import: only for a request that is right
    from rich.console import Console

    from deepen.bench.measurement import run_bench
    from deepen.bench.workload import Workload
    from deepen.cli.output.progress import ProgressLine
    from deepen.cli.running import describe
    from deepen.train.device import check_memory, pick_device

    device = pick_device()
    try:
        check_memory(study.model, device, optimizer=study.settings.optimizer.cost)
    except ValueError as error:
        raise Problems([describe(error)]) from None
    torch.set_num_threads(threads)
    workload = Workload(
        model=study.model,
        context=study.context,
        batch_tokens=study.batch_tokens,
        settings=study.settings,
        device=device,
    )
    try:
        with ProgressLine(Console(stderr=True), f"bench {study.model.name}") as progress:
            return run_bench(workload, steps, against, progress.report)
    except (MemoryError, torch.OutOfMemoryError):
        raise Stopped(1, "out of memory: use a smaller --batch-tokens or --context, or a smaller model") from None


def _print(result: "BenchResult") -> None:
    timing, first = result.timing, result.kinds[0]
    print_table(
        f"{timing.model.name}: {timing.batch_tokens:,} tokens a step, context {timing.context:,}, "
        f"{timing.precision}, on {timing.device}, threads {result.threads}",
        ("depth", "<trains", "<new blocks", "tokens/s", "measured", "ledger", "÷ ledger", "MFU", "peak memory"),
        (
            (
                str(kind.phase.depth),
                kind.phase.train.name,
                _span(kind.new_blocks) if kind.phase.train != first.phase.train else "",
                f"{kind.tokens_per_second:,.0f}",
                f"{kind.seconds_per_token / first.seconds_per_token:.3f}",
                f"{kind.flops_per_token / first.flops_per_token:.3f}",
                f"{kind.measured_to_ledger:.3f}",
                f"{kind.mfu:.1%}",
                f"{kind.peak_memory_bytes / 1e6:,.0f} MB",
            )
            for kind in result.kinds
        ),
    )
    ingredients = {f"a block {role}": seconds for role, seconds in timing.block.items()}
    ingredients |= {"a frozen head": timing.head_frozen, "a trained head": timing.head_trained}
    seconds = ", ".join(f"{name} {1e6 * seconds:.3g}" for name, seconds in ingredients.items() if seconds)
    busy = ": something else used the machine, measure again when it is idle" if result.machine_was_busy else ""
    print_lines([
        "measured and ledger are relative to training everything at full depth, which achieves "
        f"{first.flops_per_token / first.seconds_per_token / 1e9:,.1f} GFLOP/s, attention counted densely; "
        f"÷ ledger is measured ÷ ledger; MFU is of {result.peak_flops / 1e9:,.0f} GFLOP/s, products of large "
        "matrices",
        f"fitted, in µs per token: {seconds}, all else {1e6 * timing.base:.3g}; "
        f"the sums miss no phase by more than {100 * result.misfit:.1f} %",
        "of each phase the fastest step counts; "
        f"the median took at most {result.jitter:.2f} times as long{busy}",
    ])  # fmt: skip
    if result.paces:
        _print_paces(result.paces)


def _print_paces(paces: "Sequence[Pace]") -> None:
    print_table(
        "full training, in turns",
        ("<", "tokens/s, median", "fastest", "deepen is faster by"),
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


def _how_to_use(model: ModelConfig, out: Path | None) -> str:
    name = f"--model {model.name}" if model.name in PRESETS else "and the model's options"
    if out is None:
        return "to plan in seconds, write it to a file with --out, for deepen plan --bench"
    return f"written to {out}: deepen plan two-phase {name} --bench {out}"
