"""How long a training state takes to grow in memory, as it does between two segments of a run.

    python benchmarks/growth_in_memory.py --model gpt2-124m --from 6

Grows the state of a model, AdamW's moments included, to its full depth by each operator, with its moments copied,
and once more with noise on the copies. Growth should take less than a second at 124M parameters.
"""

import argparse
import os
import statistics
import time
from dataclasses import replace

import torch

from deepen.growth.grow import grow
from deepen.growth.operators import OPERATORS
from deepen.growth.spec import Growth
from deepen.model.presets import PRESETS
from deepen.train.state import TrainState, initial_state


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=PRESETS, default="gpt2-124m", help="the model (default gpt2-124m)")
    parser.add_argument("--from", dest="old", type=int, default=6, help="blocks before growth (default 6)")
    parser.add_argument("--turns", type=int, default=5, help="how often each is timed (default 5)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    model = PRESETS[args.model]
    state = with_moments(initial_state(model, args.old, seed=0))
    print(
        f"{args.model}, {args.old} to {model.depth} blocks, {model.parameters / 1e6:,.0f}M parameters afterwards, "
        f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    )
    growths = {name: Growth(operator=name, moments="copy") for name in OPERATORS}
    growths["stack with noise"] = Growth(operator="stack", moments="copy", noise=0.01)
    for name, growth in growths.items():
        seconds, cpu_seconds = [], []
        for _ in range(args.turns):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            grow(state, model.depth, growth, model)
            seconds.append(time.perf_counter() - begin)
            cpu_seconds.append(time.process_time() - cpu_begin)
        wall, cpu = statistics.median(seconds), statistics.median(cpu_seconds)
        print(f"{name:18}  median {wall:.2f} s, CPU time {cpu:.2f} s")


def with_moments(state: TrainState) -> TrainState:
    """The state with AdamW's moments for each weight."""
    moments = {
        name: {"exp_avg": weight.clone(), "exp_avg_sq": weight.square(), "step": torch.tensor(1.0)}
        for name, weight in state.weights.items()
    }
    return replace(state, moments=moments)


if __name__ == "__main__":
    main()
