"""Does the paper's negative result hold for small models, and why? Trains the studies of docs/results/paper.md.

    deepen data prepare openstax_ccby.jsonl.gz -o openstax512 --tokenizer train:512 --val-tokens 300k
    python docs/results/paper/run.py deepen-runs/paper --data openstax512 --task hellaswag=hellaswag.jsonl
    deepen report deepen-runs/paper --publish docs/results/paper

The first command makes the data, the second trains (again, it continues), the third writes tables and figures.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import deepen
from deepen.schedule.rate import Constant, Cosine, Rate
from deepen.study.define.evaluation import TaskFile
from deepen.study.define.presets import paper

sys.path.insert(0, str(Path(__file__).parent.parent))
from small_llamas import BATCH_TOKENS, CONTEXT, list_budgets, make_model, make_parser, run_all, run_script

DEPTH, BUDGETS = 12, (5, 20, 42)
"""Blocks, and tokens of full training per non-embedding parameter; the paper has 12 and 42 or 62."""

PEAK, RATES = 1.6e-2, (8e-3, 1.6e-2, 3.2e-2)
"""The best of twelve Llama blocks of width 20 (docs/log.md), and those that are tried for the study as written."""

SEEDS = (0, 1, 2)

SMALL = tuple(
    deepen.Arm(name=f"small {depth}", recipe="small", options={"start_depth": depth}) for depth in (3, 6)
)
"""The controls: if they beat full training, so does whatever is shallow for a while."""


def vary(name: str, **options: object) -> deepen.Arm:
    """The paper's arm in four stages, with one thing changed."""
    return deepen.Arm(name=name, recipe="two-phase", options={"stages": 4, **options})


FACTORS = (
    vary("two-phase S=4"),
    deepen.Arm(name="nothing frozen", recipe="staged", options={"stages": 4}),
    vary("embeddings trained", scope="new-blocks-embeddings"),
    vary("copies of the last", operator="last"),
    vary("moments reset", moments="reset"),
    vary("S=2", stages=2),
)


def make_studies(width: int, data: str, tasks: Sequence[TaskFile]) -> list[deepen.Study]:
    """The paper's experiment as written and as released, what explains it, and other learning rates."""
    model = make_model(width, DEPTH)
    *earlier, tokens = list_budgets(model, BUDGETS)
    middle = earlier[-1]
    warmup_tokens = round(0.2 * earlier[0])
    written, released = paper(preset="paper-as-written"), paper(preset="paper-as-released")

    def make(name: str, base: deepen.Study, arms: Sequence[deepen.Arm], rate: Rate) -> deepen.Study:
        """A study at the middle budget."""
        return replace(
            base,
            name=name,
            model=model,
            tokens=middle,
            batch_tokens=BATCH_TOKENS,
            context=CONTEXT,
            arms=tuple(arms),
            seeds=SEEDS,
            rate=replace(rate, peak=PEAK, warmup_tokens=warmup_tokens),
            settings=replace(base.settings, precision="fp32", compile="no", micro_batch_tokens=BATCH_TOKENS),
            evaluation=deepen.Evaluation(
                every_tokens=middle // 40 // BATCH_TOKENS * BATCH_TOKENS, validation_tokens=2**15
            ),
            data=data,
        )

    full, *stages = written.arms
    factors = make("factors", written, (full, *FACTORS, *SMALL), written.rate)
    as_written = make("as written", written, (full, *stages, *SMALL), written.rate)
    as_written = replace(
        as_written,
        tokens=tokens,
        earlier_tokens=tuple(earlier),
        tuning=deepen.Tuning(rates=RATES, share=0.5),
        evaluation=replace(as_written.evaluation, tasks=tuple(tasks)),
    )
    return [
        factors,
        make("as released", released, (*released.arms, *SMALL), released.rate),
        replace(make("cosine", written, (full, vary("two-phase S=4")), Cosine()), anchors=(1.0,)),
        make("constant", written, (full, vary("two-phase S=4")), Constant()),
        as_written,
    ]


def parse_task(text: str) -> TaskFile:
    """NAME=FILE, such as hellaswag=hellaswag_val.jsonl."""
    name, _, path = text.partition("=")
    return TaskFile(task=name, path=Path(path))


def main() -> None:
    parser = make_parser(__doc__, widths="24")
    parser.add_argument(
        "--task", action="append", default=[], type=parse_task, help="NAME=FILE, scored at the marks"
    )
    args = parser.parse_args()
    for width in map(int, args.widths.split(",")):
        run_all(make_studies(width, args.data, args.task), args.folder, args.jobs)


if __name__ == "__main__":
    run_script(main)
