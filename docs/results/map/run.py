"""Where does growing pay? Trains the map of docs/results/map.md.

    deepen data prepare openstax_ccby.jsonl.gz -o openstax512 --tokenizer train:512 --val-tokens 300k
    python docs/results/map/run.py deepen-runs/map --data openstax512 --widths 16,24,32
    deepen report deepen-runs/map --publish docs/results/map

The first command makes the data, the second trains (again, it continues), the third writes tables and figures.
"""

import sys
from functools import partial
from pathlib import Path

import deepen
from deepen.report.map.draw import draw_map
from deepen.study.map.define import sized_model
from deepen.study.map.run_map import run_map

sys.path.insert(0, str(Path(__file__).parent.parent))
import small_llamas

DEPTH = 4

BUDGETS = (5, 10, 20, 40, 80)
"""Tokens of full training per non-embedding parameter; at width 48 up to 20, for want of time."""

RATES = {
    16: (4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
    24: (4e-3, 8e-3, 1.6e-2, 3.2e-2),
    32: (4e-3, 8e-3, 1.6e-2, 3.2e-2),
    48: (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
}
"""Tried at each width for every arm and every constant depth, at half of the largest budget, on a seed that is not
reported."""

PRIMARY = "stack 2 to 4"
"""The winner of docs/results/winner.md, which was chosen on seeds 0 to 4."""

SEEDS = (5, 6, 7, 8, 9)

ARMS = (
    deepen.Arm(name="full", recipe="full"),
    deepen.Arm(name=PRIMARY, recipe="one-shot", options={"start_depth": 2, "grow_at": 0.5, "operator": "stack"}),
    deepen.Arm(
        name="random 0 to 4", recipe="one-shot", options={"start_depth": 0, "grow_at": 0.3, "operator": "random"}
    ),
    deepen.Arm(name="two-phase S=4", recipe="two-phase", options={"stages": 4}),
    deepen.Arm(name="small 2", recipe="small", options={"start_depth": 2}),
    deepen.Arm(name="small 3", recipe="small", options={"start_depth": 3}),
)


def make_study(width: int, data: str) -> deepen.Study:
    """All arms and constant depths of a width at all budgets."""
    return small_llamas.make_study(
        sized_model(DEPTH, width),
        BUDGETS if width < 48 else BUDGETS[:3],
        data,
        peak=RATES[width][2],
        warmup_share=0.2,
        arms=ARMS,
        primary=PRIMARY,
        seeds=SEEDS,
        tuning=deepen.Tuning(rates=RATES[width], share=0.5),
        depths=(1, 2, 3),
    )


def main() -> None:
    args = small_llamas.make_parser(__doc__, widths="16,24,32").parse_args()
    studies = [make_study(int(width), args.data) for width in args.widths.split(",")]
    executor = deepen.ExecutorChoice(kind="local", jobs=args.jobs)
    run_map(studies, args.folder, train=partial(deepen.run, executor=executor, threads=1), draw=draw_map)


if __name__ == "__main__":
    small_llamas.run_script(main)
