"""Which constant depth is best at equal compute? Trains the studies of docs/results/depth.md.

    deepen data prepare openstax_ccby.jsonl.gz -o openstax512 --tokenizer train:512 --val-tokens 300k
    python docs/results/depth/run.py deepen-runs/depth --data openstax512 --widths 24,32
    deepen report deepen-runs/depth --publish docs/results/depth

The first command makes the data, the second trains (again, it continues), the third writes tables and figures.
"""

import argparse
from pathlib import Path

import deepen
from deepen.model.presets import scaled_init_std

DEPTHS = (1, 2, 3, 4, 6)
BUDGETS = (5, 10, 20, 40)
"""In tokens per non-embedding parameter of the deepest model; all depths are compared at its FLOPs."""

RATES = (4e-3, 8e-3, 1.6e-2)
BATCH_TOKENS, CONTEXT, VOCAB, HEAD_WIDTH = 1024, 128, 512, 12


def make_study(width: int, family: str, parametrization: str, data: str) -> deepen.Study:
    """All depths of a width, each with the best of the rates for it."""
    model = deepen.ModelConfig(
        name=f"{family}-{width}" + ("" if parametrization == "standard" else f"-{parametrization}"),
        family=family,
        depth=DEPTHS[-1],
        width=width,
        heads=width // HEAD_WIDTH if width % HEAD_WIDTH == 0 else width // 16,
        context=CONTEXT,
        vocab=VOCAB,
        init_std=scaled_init_std(width),
        parametrization=parametrization,
    )
    smallest = round(BUDGETS[0] * model.parameters_non_embedding / BATCH_TOKENS)  # steps
    *earlier, tokens = (smallest * budget // BUDGETS[0] * BATCH_TOKENS for budget in BUDGETS)
    deepest, *shallow = reversed(DEPTHS)
    return deepen.Study(
        name=model.name,
        model=model,
        tokens=tokens,
        earlier_tokens=tuple(earlier),
        batch_tokens=BATCH_TOKENS,
        context=CONTEXT,
        arms=(
            deepen.Arm(name=f"depth {deepest}", recipe="full"),
            *(deepen.Arm(name=f"depth {d}", recipe="small", options={"start_depth": d}) for d in shallow),
        ),
        baseline=f"depth {deepest}",
        anchors=(1.0,),
        accountings=("flops",),
        seeds=(0, 1, 2),
        rate=deepen.WSD(peak=RATES[1], warmup_tokens=round(0.1 * earlier[0])),
        tuning=deepen.Tuning(rates=RATES, share=0.25),
        evaluation=deepen.Evaluation(every_tokens=tokens // 40, validation_tokens=2**15),
        data=data,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder for the studies, one in each subfolder")
    parser.add_argument("--data", required=True, help="a folder of token shards with a vocabulary of 512")
    parser.add_argument("--widths", default="24,32,48", help="default 24,32,48")
    parser.add_argument("--families", default="llama", help="llama, gpt2 or both; default llama")
    parser.add_argument("--parametrizations", default="standard", help="standard, depth-mup or both")
    parser.add_argument("--jobs", type=int, default=2, help="segments in parallel, one thread each; default 2")
    args = parser.parse_args()
    for width in map(int, args.widths.split(",")):
        for family in args.families.split(","):
            for parametrization in args.parametrizations.split(","):
                study = make_study(width, family, parametrization, args.data)
                executor = deepen.ExecutorChoice(kind="local", jobs=args.jobs)
                deepen.run(study, args.folder / study.name, executor=executor, threads=1)


if __name__ == "__main__":
    main()
