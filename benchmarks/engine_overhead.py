"""The engine's overhead beyond forward, backward and optimizer, and how long a segment takes to begin.

    python benchmarks/engine_overhead.py --width 128 --vocab 8192

A run grows from 6 to 12 blocks halfway. Segments of fewer than four steps are left out.
"""

import time

import torch

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.schedule.recipes.one_shot import one_shot
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.state import initial_state
from sizes import build_workload, size_parser

MIN_STEPS = 4


class TimedEngine(Engine):
    """Adds up the seconds of forward, backward and optimizer."""

    seconds = 0.0

    def _forward_backward(self, rows_bt: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        loss = super()._forward_backward(rows_bt)
        self.seconds += time.perf_counter() - began
        return loss

    def time_optimizer(self) -> None:
        step = self.optimizer.step

        def timed_step(*args: object) -> None:
            began = time.perf_counter()
            step()
            self.seconds += time.perf_counter() - began

        self.optimizer.step = timed_step  # type: ignore[method-assign]


def main() -> None:
    parser = size_parser(__doc__, width=128)
    parser.add_argument("--steps", type=int, default=20, help="of each half (default 20)")
    args = parser.parse_args()
    workload = build_workload(args)
    model, batch_tokens = workload.model, args.batch_tokens
    schedule = one_shot(model, 2 * args.steps * batch_tokens, start_depth=6).in_steps(batch_tokens, args.context)
    segments = [
        segment
        for segment in split_schedule(schedule, Ledger(model=model))
        if segment.end - segment.start >= MIN_STEPS * batch_tokens
    ]
    batches = Batches(Tokens([workload.random_tokens()]), args.context, seed=0)
    state = initial_state(model, segments[0].depth, seed=0)
    for segment in segments:
        began = time.perf_counter()
        state = begin_segment(state, segment, model)
        engine = TimedEngine(state, segment, model, batches, workload.settings, SingleProcess(workload.device))
        engine.time_optimizer()
        workload.stopwatch.step_seconds(engine, segment.start + batch_tokens)
        first = time.perf_counter() - began
        engine.seconds, began = 0.0, time.perf_counter()
        step = workload.stopwatch.step_seconds(engine, segment.end)
        overhead = 1 - engine.seconds / (time.perf_counter() - began)
        print(
            f"{segment.depth} blocks: a step {1e3 * step:.1f} ms, {100 * overhead:.2f} % of it neither forward, "
            f"backward nor optimizer; the segment begins in {first - step:.2f} s beyond its first step"
        )
        state = engine.state()


if __name__ == "__main__":
    main()
