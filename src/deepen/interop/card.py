"""The model card of an exported checkpoint: how to load it, and how it was made. Needs no torch."""

from collections.abc import Iterable, Iterator, Sequence
from math import exp

from deepen import __version__
from deepen.evaluate.multiple_choice import MEASURE_TITLES, MultipleChoice
from deepen.evaluate.registry import TASKS
from deepen.growth.layout import count_blocks
from deepen.interop.checkpoint import DeepenCheckpoint
from deepen.interop.history import Event, FinalScore, Grown, Loaded, Trained
from deepen.model.config import ModelConfig

_FRONT_MATTER = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- deepen
---
"""

_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=50, do_sample=True)[0]))
```
"""

_MAX_CELL = 200
"""Characters of a cell; a licence can be a text of pages."""


def make_card(name: str, checkpoint: DeepenCheckpoint) -> str:
    """The model card, in Markdown.

    Args:
        name: the model's name.
        checkpoint: the checkpoint.
    """
    history = checkpoint.history
    sections = [f"{_FRONT_MATTER}\n# {name}", _summary(checkpoint)]
    if checkpoint.tokenizer is not None:
        sections.append(_USE.format(name=name).strip())
    sections += ["## Model", _table(("", ""), _model_rows(checkpoint.model))]
    for event in history:
        sections += _describe_event(event)
    if len([event for event in history if isinstance(event, Trained)]) > 1:
        sections += ["## In all", _totals(history)]
    sections.append(f"Trained and exported with deepen {__version__}.")
    return "\n\n".join(sections) + "\n"


def _summary(checkpoint: DeepenCheckpoint) -> str:
    model = checkpoint.model
    growths = [*_growths(checkpoint.history)]
    grown = f" It was grown: {'; '.join(growths)}." if growths else ""
    return f"A language model of {model.parameters:,} parameters in {count_blocks(model.depth)}.{grown}"


def _growths(history: Iterable[Event]) -> Iterator[str]:
    """How the model grew, in order."""
    for event in history:
        if isinstance(event, Grown):
            yield _describe_growth(event)
        elif isinstance(event, Trained):
            yield from (phase.growth for phase in event.phases if phase.growth)


def _describe_growth(event: Grown) -> str:
    layout = f", {event.layout}" if event.layout else ""
    return f"{event.old_depth} to {count_blocks(event.new_depth)}, {event.operator}{layout}"


def _model_rows(model: ModelConfig) -> list[tuple[str, str]]:
    return [
        ("family", model.family),
        ("blocks", f"{model.depth}"),
        ("width", f"{model.width:,}"),
        ("attention heads", f"{model.heads} (keys and values: {model.kv_heads})"),
        ("context", f"{model.context:,} tokens"),
        ("vocabulary", f"{model.vocab:,}"),
        ("parametrization", model.parametrization),
        ("parameters", f"{model.parameters:,} ({model.parameters_non_embedding:,} without embeddings and head)"),
    ]


def _describe_event(event: Event) -> list[str]:
    """The section of an event, as blocks of text."""
    if isinstance(event, Loaded):
        return ["## Origin", f"It began as `{event.source}` ({event.model_type}, {count_blocks(event.blocks)})."]
    if isinstance(event, Grown):
        return ["## Growth", f"It was grown, {_describe_growth(event)}."]
    return [
        "## Training",
        _table(("", ""), _training_rows(event)),
        _table(
            ("phase", "blocks", "tokens", "trained", "learning rate", "growth"),
            [
                (
                    phase.label,
                    f"{phase.depth}",
                    f"{phase.tokens:,}",
                    phase.trained,
                    _describe_rate(phase.start_lr, phase.end_lr),
                    phase.growth or "–",
                )
                for phase in event.phases
            ],
        ),
    ]


def _training_rows(run: Trained) -> list[tuple[str, str]]:
    rows = [
        ("run", f"arm `{run.arm}` with seed {run.seed} of the study `{run.study}`"),
        ("recipe", run.recipe),
        ("data", f"{run.data} (fingerprint `{run.position.fingerprint}`)"),
        *([("source", _shorten(run.source))] if run.source else []),
        *([("licence of the data", _shorten(run.licence))] if run.licence else []),
        ("tokens", f"{run.tokens:,} in {run.steps:,} steps; the last ones had {run.batch_tokens:,}"),
        ("context", f"{run.context:,} tokens"),
        ("compute", f"{run.flops:.3e} FLOPs, counted exactly; {run.seconds:,.1f} s"),
        ("optimizer, precision", f"{run.optimizer}, {run.precision}"),
    ]
    if run.train_loss is not None:
        steps = "steps" if run.train_loss_steps == 0 else f"{run.train_loss_steps:,} steps"
        steps = "step" if run.train_loss_steps == 1 else steps
        rows.append(("training loss", f"{run.train_loss:.4f} nats per token, mean of the last {steps}"))
    if run.val_loss is not None:
        rows.append(("validation loss", f"{run.val_loss:.4f} nats per token (perplexity {exp(run.val_loss):.2f})"))
    return rows + [_describe_score(task, score) for task, score in run.tasks.items()]


def _describe_score(name: str, score: FinalScore) -> tuple[str, str]:
    """A task with its conventions, and its score."""
    task = TASKS.get(name)
    title, metric = (name, "") if task is None else (f"{task.title} (deepen's task `{name}`)", task.metric)
    metric = MEASURE_TITLES.get(score.metric, metric) if isinstance(task, MultipleChoice) else metric
    parts = [f"{score.value:.4f}" + ("" if score.stderr is None else f" ± {score.stderr:.4f}")]
    parts += [f"`{score.metric}`"] if score.metric else []
    parts += [metric] if metric else []
    parts += [] if score.n is None else [f"n = {score.n:,}"]
    return title, ", ".join(parts)


def _shorten(text: str) -> str:
    """The first line of a text, such as a licence."""
    first = text.splitlines()[0]
    return first if len(first) <= _MAX_CELL else f"{first[:_MAX_CELL]}…"


def _describe_rate(start: float, end: float) -> str:
    return f"{start:.3g}" if start == end else f"{start:.3g} to {end:.3g}"


def _totals(history: Iterable[Event]) -> str:
    runs = [event for event in history if isinstance(event, Trained)]
    tokens, flops = sum(run.tokens for run in runs), sum(run.flops for run in runs)
    return f"{tokens:,} tokens and {flops:.3e} FLOPs of training that are known."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
