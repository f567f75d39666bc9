"""Which way to grow is best? Trains the studies of docs/results/winner.md.

    deepen data prepare openstax_ccby.jsonl.gz -o openstax512 --tokenizer train:512 --val-tokens 300k
    python docs/results/winner/run.py deepen-runs/winner --data openstax512 --widths 24
    deepen report deepen-runs/winner --publish docs/results/winner

The first command makes the data, the second trains (again, it continues), the third writes tables and figures.
"""

import sys
from pathlib import Path

import deepen

sys.path.insert(0, str(Path(__file__).parent.parent))
import small_llamas

DEPTH, BUDGETS = 4, (20, 40, 80)
"""Blocks, and tokens of full training per non-embedding parameter."""

RATES = (4e-3, 8e-3, 1.6e-2, 3.2e-2)
"""Tried for every arm and every constant depth, at the largest budget, on a seed that is not reported."""


def once(name: str, start: int, at: float, operator: str = "random", **options: object) -> deepen.Arm:
    """Grow from `start` blocks to all of them, once, at a share of the tokens."""
    return deepen.Arm(
        name=name,
        recipe="one-shot",
        options={"start_depth": start, "grow_at": at, "operator": operator, **options},
    )


ARMS = (
    deepen.Arm(name="full", recipe="full"),
    once("stack 2 to 4 at .5", 2, 0.5, "stack"),
    once("stack 2 to 4 at .7", 2, 0.7, "stack"),
    once("interleave 2 to 4 at .5", 2, 0.5, "interleave"),
    once("copy-zero 2 to 4 at .5", 2, 0.5, "copy-zero"),
    once("random 2 to 4 at .5", 2, 0.5),
    once("stack 1 to 4 at .5", 1, 0.5, "stack"),
    once("random 0 to 4 at .3", 0, 0.3),
    once("random 1 to 4 at .3", 1, 0.3),
    once("stack 2 to 4 at plateau", 2, 0.7, "stack", grow_on="plateau:slope=0.25,earliest=0.3,checks=10"),
    deepen.Arm(name="gradual 1, 2, 4", recipe="gradual", options={"depths": (1, 2, 4), "grow_at": (0.2, 0.5)}),
    deepen.Arm(name="middle by 1", recipe="middle", options={"new_blocks": 1}),
    deepen.Arm(name="loop-untie", recipe="loop-untie"),
    deepen.Arm(name="small 2", recipe="small", options={"start_depth": 2}),
)

DEPTH_MUP_ARMS = ("full", "stack 2 to 4 at .5", "interleave 2 to 4 at .5", "random 2 to 4 at .5", "small 2")
"""The arms that are trained with the parametrization depth-mup too: growth by two, at half, by three operators."""


def make_study(width: int, parametrization: str, data: str) -> deepen.Study:
    """The arms and constant depths of a width at all budgets; with depth-mup, the two depths of its arms alone."""
    is_standard = parametrization == "standard"
    return small_llamas.make_study(
        small_llamas.make_model(width, DEPTH, parametrization=parametrization),
        BUDGETS,
        data,
        peak=RATES[2],
        arms=tuple(arm for arm in ARMS if is_standard or arm.name in DEPTH_MUP_ARMS),
        seeds=(0, 1, 2, 3, 4),
        tuning=deepen.Tuning(rates=RATES),
        depths=(1, 2, 3) if is_standard else (),
    )


def main() -> None:
    parser = small_llamas.make_parser(__doc__, widths="24")
    parser.add_argument("--parametrizations", default="standard", help="standard, depth-mup or both")
    args = parser.parse_args()
    studies = (
        make_study(int(width), parametrization, args.data)
        for width in args.widths.split(",")
        for parametrization in args.parametrizations.split(",")
    )
    small_llamas.run_all(studies, args.folder, args.jobs)


if __name__ == "__main__":
    small_llamas.run_script(main)
