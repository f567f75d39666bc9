"""The conditions of a comparison, as results.json records them (see `schema`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepen.study.results.records import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts(Record):
    """The data, identified by content; `epochs` is the number of passes of the longest run over the data.

    `validation_tokens` are those of the points of the curves, `mark_tokens` those of the marks: the same and more.
    `mark_tokens` is None in files of older versions, where both were the same.
    """

    name: str
    fingerprint: str
    tokenizer_sha256: str
    train_tokens: int | None
    validation_tokens: int | None
    mark_tokens: int | None = None
    epochs: float | None

    @property
    def has_longer_text_at_marks(self) -> bool:
        """Whether the marks were measured on more validation text than the points of the curves."""
        return (self.mark_tokens or 0) > (self.validation_tokens or 0) > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime(Record):
    """The conditions of the comparison: model, tokens per parameter, rate, data, machine.

    `family` and `parametrization` are those of the model, as in `ModelConfig`; empty in files of older versions.

    `machine` collected the results. `device` trained every step; it is empty where several did, and in files of
    older versions. `step_time_spread`: the upper quartile of the times of equal steps ÷ the lower.

    `task_files` has the sha256 of each task's file. The fields from `warmup_tokens` on are those of the rate (see
    `deepen.WSD`), and empty where it has none, or in files of older versions.
    """

    model: str
    family: str
    parametrization: str
    depth: int | None
    width: int | None
    parameters: int | None
    parameters_non_embedding: int | None
    context: int | None
    vocab: int | None
    baseline_tokens: int | None
    tokens_per_parameter: float | None
    rate: str
    peak_lr: float | None
    precision: str
    batch_tokens: int | None
    seeds: tuple[int, ...]
    data: DataFacts
    task_files: Mapping[str, str]
    attention_flops: str
    machine: str
    device: str
    step_time_spread: float | None
    wall_seconds: float | None
    warmup_tokens: int | None
    decay_shape: str
    decay_share: float | None
    decay_in: str
    decay_tokens: int | None
    final_share: float | None
