"""`deepen bench`: what each kind of phase takes on this device, compared with the ledger."""

import json

import torch

from deepen import durable
from deepen.bench.measurement import run_bench
from deepen.bench.result import BenchResult
from deepen.bench.workload import Workload
from deepen.cli.output.bench_tables import describe_use, print_bench
from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines
from deepen.cli.requests.bench import BenchRequest
from deepen.study.run.progress import Preparation
from deepen.train.device import check_memory, pick_device


def run(request: BenchRequest) -> int:
    """Measure, print the figures, and write them to the file that is named."""
    result = _measure(request)
    if request.as_json:
        print(json.dumps(result.to_json(), indent=1))
    else:
        print_bench(result)
    if request.out is not None:
        durable.write_json(request.out, result.to_json())
    if not request.as_json:
        print_lines([describe_use(request.study.model, request.out)])
    return 0


def _measure(request: BenchRequest) -> BenchResult:
    study, device = request.study, pick_device()
    check_memory(study.model, device, optimizer=study.settings.optimizer.cost)
    torch.set_num_threads(request.threads)
    workload = Workload(
        model=study.model,
        context=study.context,
        batch_tokens=study.batch_tokens,
        settings=study.settings,
        device=device,
    )
    with show_progress(f"bench {study.model.name}") as on_progress:

        def report(done: int, total: int) -> None:
            on_progress(Preparation("measuring", done / total))

        return run_bench(workload, request.steps, request.against, report)
