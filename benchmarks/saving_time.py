"""The share of training time that saving takes.

    python benchmarks/saving_time.py --seconds 30

Trains a preset, nano by default, at full depth, with the engine and the saver that a study uses. Three loops are
timed: without saves, with a save always in progress, and with saves that training waits for. A save costs the
snapshot, during which training stops, and the slowdown of steps while it is written. By default a study saves once
a minute. The time of a save beside training is rounded up to whole steps. Times are wall-clock times, so run it on
an idle machine.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch

from deepen.bench.workload import Workload
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.study.run.worker import SAVE_EVERY_SECONDS
from deepen.study.store.segment_folder import SegmentFolder
from deepen.train.checkpoint.saver import BackgroundSaver
from deepen.train.device import pick_device
from deepen.train.settings import TrainSettings

TURNS = 5
"""The loops take turns, because the load of a machine varies. A turn is long enough for several saves."""


@dataclass
class Seconds:
    """Seconds of each step, each snapshot, and each save from its start to the start of the next."""

    steps: list[float] = field(default_factory=list)
    snapshots: list[float] = field(default_factory=list)
    saves: list[float] = field(default_factory=list)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", choices=PRESETS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each loop (default 30)")
    parser.add_argument("--folder", help="where to save (default: a temporary folder)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    model = PRESETS[args.model]
    batch_tokens = tokens_per_step(model, model.context)
    workload = Workload(
        model=model,
        context=model.context,
        batch_tokens=batch_tokens,
        settings=TrainSettings(),
        device=pick_device(),
    )
    engine, stopwatch = workload.full_training(), workload.stopwatch

    def train(seconds: float, result: Seconds, snapshot_and_save: Callable[[], float] | None = None) -> None:
        """Train for some seconds; if a save is given, begin one whenever none is in progress."""
        began, until = [], time.perf_counter() + seconds
        while (now := time.perf_counter()) < until:
            if snapshot_and_save is not None and not saver.busy:
                saver.wait()
                began.append(now)
                result.snapshots.append(snapshot_and_save())
            now = time.perf_counter()
            stopwatch.step_seconds(engine, engine.progress.tokens + batch_tokens)
            result.steps.append(time.perf_counter() - now)
        result.saves += [after - before for before, after in pairwise(began)]

    def save() -> float:
        began = time.perf_counter()
        saver.save(engine.state())
        return time.perf_counter() - began

    plain, saving, alone = Seconds(), Seconds(), []
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as folder,
        BackgroundSaver(SegmentFolder(Path(folder)).save) as saver,
    ):
        train(min(5.0, args.seconds), Seconds())  # warm up
        for _ in range(TURNS):
            train(args.seconds / TURNS, plain)
            train(args.seconds / TURNS, saving, save)
            saver.wait()
        for _ in range(5):  # training waits for these saves, so they are not rounded up to steps
            began = time.perf_counter()
            save()
            saver.wait()
            alone.append(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in (Path(folder) / "state").iterdir())

    step, slowed = statistics.median(plain.steps), statistics.median(saving.steps)
    snapshot, waited = statistics.median(saving.snapshots), statistics.median(alone)
    beside = max(statistics.median(saving.saves), waited) if saving.saves else waited
    # While a save is in progress, a share 1 - step / slowed of the time is lost.
    lost = snapshot + beside * max(0.0, 1 - step / slowed)
    steps = f"{len(plain.steps)} + {len(saving.steps)} steps"
    print(f"state: {size:,} bytes; model {model.name}, {args.threads} threads, {steps}")
    print(f"step: {step * 1e3:.1f} ms; {slowed * 1e3:.1f} ms with a save in progress")
    print(f"save: {waited * 1e3:.0f} ms alone, {beside * 1e3:.0f} ms beside training")
    print(f"snapshot: {snapshot * 1e3:.2f} ms")
    share = lost / SAVE_EVERY_SECONDS
    print(f"lost to a save: {lost * 1e3:.1f} ms, every {SAVE_EVERY_SECONDS:.0f} s: {share:.3%}")
    print(f"lost if training waited for saves: {waited / SAVE_EVERY_SECONDS:.3%}")


if __name__ == "__main__":
    main()
