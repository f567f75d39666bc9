"""Tokens per second of plain training steps: python benchmarks/step_time.py --width 32 --precision fp32

Full depth, scope `all`, the engine as a study uses it, on random tokens; the median of the last steps.
"""

import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.schedule.recipes.constant_depth import full
from deepen.study.compile.pieces import split_schedule
from deepen.train.device import pick_device
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.settings import TrainSettings
from deepen.train.state import Progress, initial_state
from sizes import model_of_sizes, parser_of_sizes

parser = parser_of_sizes(Path(__file__).name, width=20, context=64, vocab=1024, batch_tokens=1024, threads=1)
parser.add_argument("--steps", type=int, default=40)
parser.add_argument("--precision", default="fp32")
given = parser.parse_args()
model = model_of_sizes(given)
schedule = full(model, given.steps * given.batch_tokens).in_steps(given.batch_tokens, given.context)
segment = split_schedule(schedule, Ledger(model=model))[0]
tokens = Tokens([np.random.RandomState(0).randint(0, model.vocab, 1 << 20).astype(np.uint16)])
settings = TrainSettings(precision=given.precision)
engine = Engine(
    initial_state(model, 12, 0),
    segment,
    model,
    Batches(tokens, given.context, 0),
    settings,
    SingleProcess(pick_device()),
)
ends: list[float] = [0.0]


def log(progress: Progress, measured: dict[str, float]) -> None:
    ends.append(progress.seconds)


engine.run(segment.end, log)
seconds = [after - before for before, after in pairwise(ends[5:])]
print(f"{given.batch_tokens / statistics.median(seconds):,.0f} tokens/s ({vars(given)})")
