"""What the engine takes beside forward, backward and optimizer, and how long a segment takes to begin.

python benchmarks/engine_overhead.py --width 128 --vocab 8192
"""

import statistics
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.schedule.recipes.one_shot import one_shot
from deepen.study.compile.pieces import split_schedule
from deepen.train.device import pick_device
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.segment import begin_segment
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state
from sizes import model_of_sizes, parser_of_sizes

parser = parser_of_sizes(Path(__file__).name, width=128)
parser.add_argument("--steps", type=int, default=20, help="of each half of a run that grows from 6 to 12 blocks")
given = parser.parse_args()
model = model_of_sizes(given)
schedule = one_shot(model, 2 * given.steps * given.batch_tokens, start_depth=6)
segments = [
    segment
    for segment in split_schedule(schedule.in_steps(given.batch_tokens, given.context), Ledger(model=model))
    if segment.end - segment.start >= 4 * given.batch_tokens
]
tokens = Tokens([np.random.RandomState(0).randint(0, min(model.vocab, 1 << 16), 1 << 20).astype(np.uint16)])
batches, state = Batches(tokens, given.context, seed=0), initial_state(model, segments[0].depth, seed=0)


class Timed(Engine):
    """Adds up what forward, backward and optimizer take."""

    seconds = 0.0

    def _forward_backward(self, inputs_bt: torch.Tensor, targets_bt: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        loss = super()._forward_backward(inputs_bt, targets_bt)
        self.seconds += time.perf_counter() - began
        return loss

    def time_optimizer(self) -> None:
        step = self.optimizer.step

        def timed(*args: object) -> None:
            began = time.perf_counter()
            step()
            self.seconds += time.perf_counter() - began

        self.optimizer.step = timed  # type: ignore[method-assign]


for segment in segments:
    ends: list[float] = [0.0]
    began = time.perf_counter()
    state = begin_segment(state, segment, model)
    engine = Timed(state, segment, model, batches, TrainSettings(), SingleProcess(pick_device()))
    engine.time_optimizer()
    engine.run(segment.start + given.batch_tokens, lambda progress, measured: None)
    first = time.perf_counter() - began
    engine.seconds, began = 0.0, time.perf_counter()
    engine.run(segment.end, lambda progress, measured, ends=ends: ends.append(time.perf_counter()))
    whole = time.perf_counter() - began
    step = statistics.median(after - before for before, after in pairwise(ends[1:]))
    print(
        f"{segment.depth} blocks: a step {1e3 * step:.1f} ms, {100 * (1 - engine.seconds / whole):.2f} % of it "
        f"neither forward, backward nor optimizer; it begins in {first - step:.2f} s beyond its first step"
    )
    state = engine.state()
