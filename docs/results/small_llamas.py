"""What the studies of docs/results have in common: small Llama-style models, their budgets, and a command line."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import deepen
from deepen.model.presets import scaled_init_std

BATCH_TOKENS, CONTEXT, VOCAB = 1024, 128, 512


def make_model(width: int, depth: int, **options: str) -> deepen.ModelConfig:
    """A model of some width, with heads of 12 or 16, named after width and options."""
    family = options.pop("family", "llama")
    return deepen.ModelConfig(
        name="-".join([family, str(width), *(value for value in options.values() if value != "standard")]),
        family=family,
        depth=depth,
        width=width,
        heads=width // 12 if width % 12 == 0 else width // 16,
        context=CONTEXT,
        vocab=VOCAB,
        init_std=scaled_init_std(width),
        **options,
    )


def list_budgets(model: deepen.ModelConfig, budgets: Sequence[int]) -> list[int]:
    """Tokens of full training at budgets in tokens per non-embedding parameter, in whole steps."""
    smallest = round(budgets[0] * model.parameters_non_embedding / BATCH_TOKENS)
    return [smallest * budget // budgets[0] * BATCH_TOKENS for budget in budgets]


def make_parser(description: str | None, widths: str) -> argparse.ArgumentParser:
    """The options of a script that trains studies."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder for the studies, one in each subfolder")
    parser.add_argument("--data", required=True, help="a folder of token shards with a vocabulary of 512")
    parser.add_argument("--widths", default=widths, help="default %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="segments in parallel, one thread each; default 2")
    return parser


def run_all(studies: Iterable[deepen.Study], folder: Path, jobs: int) -> None:
    """Run or continue each study in a folder of its name."""
    for study in studies:
        executor = deepen.ExecutorChoice(kind="local", jobs=jobs)
        deepen.run(study, folder / study.name, executor=executor, threads=1)
