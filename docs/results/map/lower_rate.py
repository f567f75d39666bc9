"""Two and three blocks of width 32 at 2e-3, below the rates of the map, beside the map's arms with the same seeds.

    deepen data prepare openstax_ccby.jsonl.gz -o openstax512 --tokenizer train:512 --val-tokens 300k
    python docs/results/map/lower_rate.py deepen-runs/lower --data openstax512
    deepen report deepen-runs/lower --publish docs/results/map/lower-rate --points 6

The second command trains (again, it continues) and compares; without data it compares what the folder has, which
may be that of the published results.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import deepen
from deepen.study.map.define import sized_model

sys.path.insert(0, str(Path(__file__).parent.parent))
import small_llamas
from run import BUDGETS, DEPTH, SEEDS

WIDTH, RATE, DEPTHS = 32, 2e-3, (2, 3)

PUBLISHED = Path(__file__).parent / "studies" / f"{DEPTH}x{WIDTH}"


def name_arm(depth: int) -> str:
    return f"small {depth} at {RATE:g}"


def make_study(data: str) -> deepen.Study:
    """Two and three blocks at all budgets of the map."""
    arms = [deepen.Arm(name=name_arm(depth), recipe="small", options={"start_depth": depth}) for depth in DEPTHS]
    study = small_llamas.make_study(
        sized_model(DEPTH, WIDTH),
        BUDGETS,
        data,
        peak=RATE,
        warmup_share=0.2,
        arms=tuple(arms),
        baseline=arms[-1].name,
        seeds=SEEDS,
        anchors=(1.0,),
    )
    return replace(study, name="lower-rate")


def print_comparison(folder: Path) -> None:
    """Print each arm of the map minus each depth at the lower rate, in nats, by budget; intervals are joint."""
    lower, published = deepen.load_results(folder), deepen.load_results(PUBLISHED)
    for baseline in map(name_arm, DEPTHS):
        verdicts, _ = deepen.judge((*published.arms, *lower.arms), baseline)
        print(f"minus {baseline}, at {', '.join(map(str, BUDGETS))} tokens per parameter:")
        for arm in dict.fromkeys(arm.name for arm in published.arms):
            cells = [
                f"{verdict.difference:+.3f} ({verdict.interval[0]:+.3f} to {verdict.interval[1]:+.3f})"
                for verdict in sorted(verdicts, key=lambda verdict: verdict.budget_share or 1)
                if verdict.arm == arm and verdict.interval is not None
            ]
            print(f"  {arm:16}", "  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the study")
    parser.add_argument("--data", help="token shards with a vocabulary of 512; without them, only compare")
    args = parser.parse_args()
    if args.data:
        executor = deepen.ExecutorChoice(kind="local", jobs=2)
        deepen.run(make_study(args.data), args.folder, executor=executor, threads=1)
    print_comparison(args.folder)


if __name__ == "__main__":
    small_llamas.run_script(main)
