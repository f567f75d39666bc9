"""How fast training is at small shapes, compared with the code of another commit.

    python benchmarks/small_shapes.py --against /path/to/old/src --family llama --width 24,48

`git worktree add /path/to/old COMMIT` makes the other code. Both commits train the same model on random tokens,
each in a process of its own, in alternating turns. Prints for each shape the tokens per second of the best turns,
and the median over pairs of turns of how many times faster this code is, with its quartiles. Seconds are CPU time
of the training thread, so that work of other processes on the same core counts only by what it does to the
caches. One thread.

The other trainer can also be `loop`: a plain loop around this code's network, compiled whole with its loss.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES = {
    "width": "24,32,48,64",
    "depth": "4,8",
    "vocab": "1024,2048",
    "batch_tokens": "512,2048",
    "head_width": "16",
}
CONTEXT, WARM_UP_STEPS = 128, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="`loop`, or the `src` folder of another commit")
    parser.add_argument("--family", default="gpt2,llama", help="default %(default)s")
    for size, default in SIZES.items():
        parser.add_argument(f"--{size.replace('_', '-')}", default=default, help=f"default {default}")
    parser.add_argument("--turns", type=int, default=15, help="pairs of turns; default %(default)s")
    parser.add_argument("--turn-tokens", type=int, default=8192, help="tokens of a turn; default %(default)s")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _take_turns(args)
        return
    print("| family | width | depth | vocabulary | tokens a step | tokens/s | other | ratio | quartiles |")
    print("|---|---|---|---|---|---|---|---|---|")
    choices = [getattr(args, name).split(",") for name in ("family", *SIZES)]
    for family, *sizes in itertools.product(*choices):
        _compare(args, family, sizes)


def _compare(args: argparse.Namespace, family: str, sizes: list[str]) -> None:
    """Measure one shape and print its row."""
    shape = {"family": family, **dict(zip(SIZES, sizes, strict=True))}
    workers = [_start_worker(args, shape, other=other) for other in (False, True)]
    pairs = []
    for turn in range(args.turns):
        order = workers if turn % 2 else workers[::-1]
        seconds = {worker: _take_turn(worker) for worker in order}
        pairs.append((seconds[workers[0]], seconds[workers[1]]))
    for worker in workers:
        worker.communicate()
    ratios = [other / mine for mine, other in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    ours, others = (args.turn_tokens / min(times) for times in zip(*pairs, strict=True))
    cells = [shape[name] for name in ("family", "width", "depth", "vocab", "batch_tokens")]
    cells += [f"{ours:,.0f}", f"{others:,.0f}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def _start_worker(args: argparse.Namespace, shape: dict[str, str], *, other: bool) -> subprocess.Popen[str]:
    """A process that trains one shape, and takes a turn for each line that it reads."""
    options = [part for name, value in shape.items() for part in (f"--{name.replace('_', '-')}", value)]
    options += ["--turn-tokens", str(args.turn_tokens), "--worker"]
    is_loop = args.against == "loop"
    own = str(Path(__file__).resolve().parent.parent / "src")
    source = args.against if other and not is_loop else own
    trainer = "loop" if other and is_loop else "engine"
    return subprocess.Popen(
        [sys.executable, __file__, "--against", trainer, *options],
        env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _take_turn(worker: subprocess.Popen[str]) -> float:
    """Let a worker train for a turn; returns its seconds."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def _take_turns(args: argparse.Namespace) -> None:
    """Train one shape; take a turn for each line of stdin and print its seconds."""
    import torch

    from deepen.bench.other_steps import build_trainer
    from deepen.bench.workload import Workload
    from deepen.model.config import ModelConfig
    from deepen.model.presets import scaled_init_std
    from deepen.train.settings import TrainSettings

    torch.set_num_threads(1)
    width, tokens = int(args.width), int(args.batch_tokens)
    model = ModelConfig(
        name="bench",
        family=args.family,
        depth=int(args.depth),
        width=width,
        heads=max(1, width // int(args.head_width)),
        context=CONTEXT,
        vocab=int(args.vocab),
        init_std=scaled_init_std(width),
    )
    workload = Workload(
        model=model,
        context=CONTEXT,
        batch_tokens=tokens,
        settings=TrainSettings(precision="fp32"),
        device=torch.device("cpu"),
    )
    steps = args.turn_tokens // tokens
    if args.against == "loop":
        take_steps = build_trainer("loop", workload)
        take_steps(WARM_UP_STEPS, 1)
    else:
        engine, stopwatch = workload.full_training(), workload.stopwatch
        stopwatch.step_seconds(engine, WARM_UP_STEPS * tokens)
    for _ in sys.stdin:
        began = time.thread_time()
        if args.against == "loop":
            take_steps(0, steps)
        else:
            stopwatch.step_seconds(engine, engine.progress.tokens + steps * tokens)
        print(time.thread_time() - began, flush=True)


if __name__ == "__main__":
    main()
