"""What made a checkpoint what it is: where its weights came from, how it was trained, where it grew.

A history is a sequence of events, the oldest first. It is written into the `model.json` of a checkpoint and into
the model card of an exported one. Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepen.schedule.json_form import fields_from_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Weights that were made elsewhere.

    Attributes:
        source: the name of the folder, such as "gpt2".
        model_type: the type in its config.json.
        blocks: its depth.
    """

    source: str
    model_type: str
    blocks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Grown:
    """Growth outside a training run, as `deepen grow` does it.

    Attributes:
        old_depth, new_depth: blocks before and after.
        operator: how new blocks got their weights; "layout" where a layout was given block by block.
        layout: for each block from bottom to top, what it is, in words: "0-5, 3-8".
    """

    old_depth: int
    new_depth: int
    operator: str
    layout: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedPhase:
    """A stretch of training with one depth and one set of trained parameters.

    Attributes:
        label: the phase's label in its schedule.
        depth: blocks.
        tokens: tokens trained on.
        trained: which parameters received updates, in words.
        growth: how the model grew when the phase began, in words; empty if it did not.
        start_lr, end_lr: the learning rate at both ends.
    """

    label: str
    depth: int
    tokens: int
    trained: str
    growth: str
    start_lr: float
    end_lr: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPosition:
    """How far a run has read its data; a run that continues with the same data continues there.

    Attributes:
        fingerprint: identifies the data.
        window: the largest context, in which the data is cut.
        seed: seed of the order of windows.
        tokens: tokens read.
    """

    fingerprint: str
    window: int
    seed: int
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalScore:
    """The last score of a task.

    Attributes:
        value: the task's value.
        stderr: its standard error.
        n: examples, or tokens of a text.
        metric: the name of the value among the task's metrics, such as "acc_norm".

    All but the value are unknown in files of older versions.
    """

    value: float
    stderr: float | None = None
    n: int | None = None
    metric: str = ""

    @classmethod
    def from_json(cls, content: Any) -> "FinalScore":
        """Read a score; older versions wrote its value alone."""
        return fields_from_json(cls, content if isinstance(content, Mapping) else {"value": content}, "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A training run, up to the checkpoint.

    Attributes:
        study, arm: the study and its arm.
        recipe: the arm's recipe.
        seed: the run's seed.
        data: name of the data.
        source, licence: where the data came from and its licence, if its dataset.json records them.
        position: how far the data was read.
        tokens, steps, flops, seconds: the run's training.
        batch_tokens: tokens of a step, at the end.
        context: tokens of a sequence, at the end.
        optimizer, precision: as in the study's settings.
        phases: the run's phases.
        train_loss: mean over the steps of the last evaluation interval, as in a study's results; nats per token.
        train_loss_steps: how many steps these are; 0 in files of older versions.
        val_loss: the last validation loss, in nats per token.
        tasks: the last score of each task.
    """

    study: str
    arm: str
    recipe: str
    seed: int
    data: str
    position: DataPosition
    tokens: int
    steps: int
    flops: int
    seconds: float
    batch_tokens: int
    context: int
    optimizer: str
    precision: str
    phases: tuple[TrainedPhase, ...]
    train_loss: float | None = None
    val_loss: float | None = None
    tasks: Mapping[str, FinalScore] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    train_loss_steps: int = 0


Event = Loaded | Grown | Trained
"""One entry of a history."""


def last_position(history: tuple[Event, ...]) -> DataPosition | None:
    """How far the latest training run has read its data; None if there was none."""
    runs = [event for event in history if isinstance(event, Trained)]
    return runs[-1].position if runs else None
