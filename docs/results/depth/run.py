"""Which constant depth is best at equal compute? Trains the studies of docs/results/depth.md.

    deepen data prepare openstax_ccby.jsonl.gz -o openstax512 --tokenizer train:512 --val-tokens 300k
    python docs/results/depth/run.py deepen-runs/depth --data openstax512 --widths 24
    deepen report deepen-runs/depth --publish docs/results/depth

The first command makes the data, the second trains (again, it continues), the third writes tables and figures.
"""

import sys
from pathlib import Path

import deepen

sys.path.insert(0, str(Path(__file__).parent.parent))
import small_llamas

DEPTHS = (1, 2, 3, 4, 6)
BUDGETS = (5, 10, 20, 40)
"""In tokens per non-embedding parameter of the deepest model; all depths are compared at its FLOPs."""

RATES = (4e-3, 8e-3, 1.6e-2, 3.2e-2)


def make_study(width: int, family: str, parametrization: str, data: str) -> deepen.Study:
    """All depths of a width, each with the best of the rates for it."""
    model = small_llamas.make_model(width, DEPTHS[-1], family=family, parametrization=parametrization)
    deepest, *shallow = reversed(DEPTHS)
    return small_llamas.make_study(
        model,
        BUDGETS,
        data,
        peak=RATES[1],
        arms=(
            deepen.Arm(name=f"depth {deepest}", recipe="full"),
            *(deepen.Arm(name=f"depth {d}", recipe="small", options={"start_depth": d}) for d in shallow),
        ),
        baseline=f"depth {deepest}",
        anchors=(1.0,),
        seeds=(0, 1, 2),
        tuning=deepen.Tuning(rates=RATES, share=0.25),
    )


def main() -> None:
    parser = small_llamas.make_parser(__doc__, widths="24,32,48")
    parser.add_argument("--families", default="llama", help="llama, gpt2 or both; default llama")
    parser.add_argument("--parametrizations", default="standard", help="standard, depth-mup or both")
    args = parser.parse_args()
    studies = (
        make_study(int(width), family, parametrization, args.data)
        for width in args.widths.split(",")
        for family in args.families.split(",")
        for parametrization in args.parametrizations.split(",")
    )
    small_llamas.run_all(studies, args.folder, args.jobs)


if __name__ == "__main__":
    small_llamas.run_script(main)
