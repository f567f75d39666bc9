"""`deepen bench`: what each kind of phase takes on this device, compared with the ledger."""

import json
from dataclasses import replace

import torch

from deepen import durable
from deepen.bench.measurement import race, run_bench
from deepen.bench.result import BenchResult
from deepen.bench.workload import Workload
from deepen.cli.output.bench_tables import describe_use, print_bench, print_race
from deepen.cli.output.failures import FAILED, print_errors
from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines
from deepen.cli.requests.bench import BenchRequest
from deepen.study.run.progress import Preparation
from deepen.train.compiling import check_compiler
from deepen.train.device import check_memory, pick_device


def run(request: BenchRequest) -> int:
    """Measure, print the figures, and write them to the file that is named.

    Both precede the race with other trainers, which may fail or be stopped. JSON is one value, printed at the end.
    The exit code is 1 where a kind of phase could not be measured.
    """
    workload = _make_workload(request)
    result = _measure(request, workload)
    _write(request, result)
    if not request.as_json:
        print_bench(result)
        print_lines([describe_use(result, request.out)])
    if request.against:
        result = replace(result, race=race(workload, request.steps, request.against))
        _write(request, result)
        if not request.as_json:
            print_race(result.race)
    if request.as_json:
        print(json.dumps(result.to_json(), indent=1))
    if not result.failures:
        return 0
    failures = result.failures.items()
    return print_errors(FAILED, *(f"{label} was not measured: {reason}" for label, reason in failures))


def _write(request: BenchRequest, result: BenchResult) -> None:
    if request.out is not None:
        durable.write_json(request.out, result.to_json())


def _make_workload(request: BenchRequest) -> Workload:
    study, device = request.study, pick_device()
    check_compiler(study.settings, device)
    check_memory(study.model, device, optimizer=study.settings.optimizer.cost)
    torch.set_num_threads(request.threads)
    return Workload(
        model=study.model,
        context=study.context,
        batch_tokens=study.batch_tokens,
        settings=study.settings,
        device=device,
    )


def _measure(request: BenchRequest, workload: Workload) -> BenchResult:
    with show_progress(f"bench {request.study.model.name}") as on_progress:

        def report(done: int, total: int) -> None:
            on_progress(Preparation("measuring", done / total))

        return run_bench(workload, request.steps, report)
