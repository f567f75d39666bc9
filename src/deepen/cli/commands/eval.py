"""`deepen eval CKPT --tasks NAMES`: the scores of a checkpoint."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import torch

from deepen import durable
from deepen.cli.commands.stopping import interrupt_at_signals
from deepen.cli.output.tables import numbers, print_table, text
from deepen.cli.requests.eval import EvalRequest
from deepen.evaluate.task_file import hash_task_file
from deepen.interop.evaluation import CheckpointScore, CheckpointScores, evaluate_checkpoint
from deepen.report.units import counted
from deepen.train.limits import fair_threads


def run(request: EvalRequest) -> int:
    """Score the checkpoint and print a table, groups without their parts."""
    torch.set_num_threads(fair_threads(1))
    with interrupt_at_signals():
        results = evaluate_checkpoint(
            request.checkpoint,
            request.harness_tasks,
            {task.task: task.path for task in request.own_tasks},
            precision=request.precision,
            batch_size=request.batch_size,
            limit=request.limit,
            shots=request.shots,
            samples=request.out is not None,
            progress=sys.stderr.isatty(),
        )
    if request.out is not None:
        details = {key: value for key, value in results.details.items() if key != "configs"}
        durable.write_whole(request.out, json.dumps(details, indent=1, default=str).encode())
    if request.as_json:
        print(json.dumps(_as_json(request, results), indent=1))
    else:
        _print(request, results.scores, results.harness)
    return 0


def _as_json(request: EvalRequest, results: CheckpointScores) -> dict[str, object]:
    files = {task.name: task.file for task in request.harness_tasks if task.file is not None}
    files |= {f"deepen:{task.task}": task.path for task in request.own_tasks}
    return {
        "checkpoint": str(request.path),
        "precision": request.precision,
        "limit": request.limit,
        "harness": results.harness,
        "files": {name: {"path": str(file), "sha256": hash_task_file(file)} for name, file in files.items()},
        "scores": [asdict(score) for score in results.scores],
    }


def _print(request: EvalRequest, scores: Sequence[CheckpointScore], harness: str) -> None:
    limited = ""
    if request.limit is not None:
        limited = f", the first {counted(request.limit, 'example')} of each task or part only"
    version = f"; lm-evaluation-harness {harness}" if harness else ""
    print_table(
        f"{request.path}, {request.precision}{version}{limited}",
        (text("task"), text("scored by"), text("metric"), *map(numbers, ("value", "± stderr", "n", "shots"))),
        [
            (
                score.task,
                score.by,
                score.metric,
                f"{score.value:.4f}",
                "" if score.stderr is None else f"{score.stderr:.4f}",
                f"{score.n:,}",
                str(score.shots),
            )
            for score in scores
            if not score.group
        ],
        droppable=("shots", "n"),
    )
