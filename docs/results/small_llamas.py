"""What the studies of docs/results have in common: small Llama-style models, their budgets, and a command line."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import deepen
from deepen.study.map.define import sized_model

BATCH_TOKENS, CONTEXT = 1024, 128


def make_model(width: int, depth: int, **options: str) -> deepen.ModelConfig:
    """A model of a map's sizes, named after its family, its width and what else is not the default."""
    model = replace(sized_model(depth, width), mlp=0, **options)  # as wide as is usual for its family
    parts = [model.family, str(width), *(value for key, value in options.items() if key != "family")]
    return replace(model, name="-".join(part for part in parts if part != "standard"))


def list_budgets(model: deepen.ModelConfig, budgets: Sequence[int]) -> list[int]:
    """Tokens of full training at budgets in tokens per non-embedding parameter, in whole steps."""
    smallest = round(budgets[0] * model.parameters_non_embedding / BATCH_TOKENS)
    return [smallest * budget // budgets[0] * BATCH_TOKENS for budget in budgets]


def make_study(
    model: deepen.ModelConfig,
    budgets: Sequence[int],
    data: str,
    *,
    peak: float,
    warmup_share: float = 0.1,
    **fields: Any,
) -> deepen.Study:
    """A study of a model at several budgets, compared at equal exact FLOPs.

    Args:
        model: the model at its full depth.
        budgets: tokens of full training per non-embedding parameter, in rising order.
        data: a folder of token shards.
        peak: the learning rate of arms that are not tuned.
        warmup_share: the warm-up of all runs, as a share of the smallest budget.
        fields: the study's other fields.
    """
    *earlier, tokens = list_budgets(model, budgets)
    shared = {
        "evaluation": deepen.Evaluation(
            every_tokens=tokens // 40 // BATCH_TOKENS * BATCH_TOKENS, validation_tokens=2**15
        )
    }
    return deepen.Study(
        name=model.name,
        model=model,
        tokens=tokens,
        earlier_tokens=tuple(earlier),
        batch_tokens=BATCH_TOKENS,
        context=CONTEXT,
        accountings=("flops",),
        rate=deepen.WSD(peak=peak, warmup_tokens=round(warmup_share * earlier[0])),
        data=data,
        **shared | fields,
    )


def make_parser(description: str | None, widths: str) -> argparse.ArgumentParser:
    """The options of a script that trains studies."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder for the studies, one in each subfolder")
    parser.add_argument("--data", required=True, help="a folder of token shards with a vocabulary of 512")
    parser.add_argument("--widths", default=widths, help="default %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="segments in parallel, one thread each; default 2")
    return parser


def run_script(main: Callable[[], None]) -> None:
    """Run a script; it ends with one line if it is stopped, or a request does not fit."""
    try:
        main()
    except deepen.Interrupted:
        sys.exit("stopped; every step so far is kept: the same command continues")
    except (deepen.RunError, deepen.InvalidValueError, deepen.InvalidValuesError) as error:
        sys.exit(f"error: {error}")


def run_all(studies: Iterable[deepen.Study], folder: Path, jobs: int) -> None:
    """Run or continue each study in a folder of its name."""
    for study in studies:
        executor = deepen.ExecutorChoice(kind="local", jobs=jobs)
        deepen.run(study, folder / study.name.replace(" ", "-"), executor=executor, threads=1)
