"""Share of training time that saving costs: python benchmarks/saving_time.py --seconds 30

The quickstart's model at full depth, one thread, the engine and the saver as a study uses them. Three loops:
without saves, with a save in flight at all times, and the snapshot alone. What a save costs training is the
snapshot, for which it stops, and the time that it slows the steps during which it is written; at the default
interval that is spread over a minute. A save beside training is rounded up to whole steps here. Times are of the
wall clock: run it on a machine with nothing else to do.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.schedule.recipes.constant_depth import full
from deepen.study.compile.pieces import split_schedule
from deepen.study.define.presets import quickstart
from deepen.study.run.worker import SAVE_EVERY_SECONDS
from deepen.study.store.segment_folder import SegmentFolder
from deepen.train.checkpoint.saver import BackgroundSaver
from deepen.train.device import pick_device
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state

parser = argparse.ArgumentParser(description=Path(__file__).name)
parser.add_argument("--model", default=quickstart().model.name, choices=PRESETS)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=30.0, help="of each loop")
parser.add_argument("--folder", help="where to save (default: a temporary folder)")
given = parser.parse_args()

torch.set_num_threads(given.threads)
model = PRESETS[given.model]
batch_tokens = tokens_per_step(model, model.context)
schedule = full(model, 10**6 * batch_tokens).in_steps(batch_tokens, model.context)
segment = split_schedule(schedule, Ledger(model=model))[0]
tokens = Tokens([np.random.RandomState(0).randint(0, model.vocab, 1 << 20).astype(np.uint16)])
engine = Engine(
    initial_state(model, model.depth, 0),
    segment,
    model,
    Batches(tokens, model.context, 0),
    TrainSettings(),
    SingleProcess(pick_device()),
)


def train_steps(
    seconds: float, saver: BackgroundSaver[...] | None
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each step, and of each snapshot and each whole save, with a save in flight all the time."""
    steps, snapshots, began = [], [], []
    until = time.perf_counter() + seconds
    while (now := time.perf_counter()) < until:
        if saver is not None and not saver.busy:
            saver.wait()
            began.append(now)
            saver.save(engine.state())
            snapshots.append(time.perf_counter() - now)
        now = time.perf_counter()
        engine.run(engine.progress.tokens + batch_tokens, lambda *_: None)
        steps.append(time.perf_counter() - now)
    return steps, snapshots, [after - before for before, after in pairwise(began)]


with (
    tempfile.TemporaryDirectory(dir=given.folder) as folder,
    BackgroundSaver(SegmentFolder(Path(folder)).save) as saver,
):
    train_steps(min(5.0, given.seconds), None)  # warm up
    # In turns, because what else runs on a machine comes and goes; slices long enough for several saves.
    plain, saving, snapshots, saves = [], [], [], []
    for _ in range(5):
        plain += train_steps(given.seconds / 5, None)[0]
        steps, snapshot, save = train_steps(given.seconds / 5, saver)
        saver.wait()
        saving, snapshots, saves = saving + steps, snapshots + snapshot, saves + save
    # As long as a save takes when the thread that trains waits for it: no step to round up to.
    alone = []
    for _ in range(5):
        now = time.perf_counter()
        saver.save(engine.state())
        saver.wait()
        alone.append(time.perf_counter() - now)
    size = sum(path.stat().st_size for path in (Path(folder) / "state").iterdir())

step, slowed = statistics.median(plain), statistics.median(saving)
snapshot, save = statistics.median(snapshots), max(statistics.median(saves or alone), statistics.median(alone))
# While a save of `save` seconds is in flight, a share 1 - step/slowed of the time is lost.
lost = snapshot + save * max(0.0, 1 - step / slowed)
print(f"state: {size:,} bytes; model {model.name}, {given.threads} threads, {len(plain)} + {len(saving)} steps")
print(f"step: {step * 1e3:.1f} ms; {slowed * 1e3:.1f} ms with a save in flight")
print(f"save: {statistics.median(alone) * 1e3:.0f} ms alone, {save * 1e3:.0f} ms beside training; ", end="")
print(f"snapshot {snapshot * 1e3:.2f} ms")
print(f"lost to a save: {lost * 1e3:.1f} ms, every {SAVE_EVERY_SECONDS:.0f} s: {lost / SAVE_EVERY_SECONDS:.3%}")
print(f"were it not in the background: {statistics.median(alone) / SAVE_EVERY_SECONDS:.3%}")
