"""Beginning the runs of a study from a checkpoint: whether model and tokenizer fit, and the first state."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import torch

from deepen.data.shards import Dataset
from deepen.data.tokenizers import Tokenizer, load_tokenizer
from deepen.errors import InvalidValueError, RunError
from deepen.evaluate.scoring import LanguageModel
from deepen.evaluate.validation import validation_loss
from deepen.interop.checkpoint_files import copy_tokenizer_settings
from deepen.interop.load import open_state
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.json_form import to_json
from deepen.study.define.start import Start
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.progress import Progress
from deepen.train.state import TrainState

_CAN_DIFFER = ("name", "depth", "init_std")
"""Fields of a model in which a checkpoint and what continues it need not agree."""

_PROBE = "Hello, World!  It's 2024:\n\n\tdef f(x): return x**2  # naïve café, 北京, Привет 🙂\r\nabcABC 1234567890"
"""Two tokenizers with the same tokens that split this text alike are taken for the same."""

_CHECKED_TOKENS = 4096
"""Tokens on which a checkpoint is compared with chance."""

_log = logging.getLogger(__name__)


def check_model(start: Start, model: ModelConfig) -> None:
    """Raise an InvalidValueError unless a study's model continues that of its start."""
    checkpoint = find_checkpoint(start.path)
    theirs, ours = to_json(checkpoint.model), to_json(model)
    can_differ = _CAN_DIFFER if FAMILIES[model.family].has_position_table else (*_CAN_DIFFER, "context")
    for name in theirs.keys() - set(can_differ):
        if theirs[name] != ours[name]:
            raise InvalidValueError(
                f"has a model with {name} {theirs[name]}, but the study's has {ours[name]}",
                field="start",
                value=start.path,
                remedy="make the study's model from the checkpoint's: replace(checkpoint.model, depth=...)",
            )


def check_tokenizer(start: Start, dataset: Dataset, data: str) -> None:
    """Raise an InvalidValueError if the data was made with another tokenizer than the checkpoint's.

    Where one of the two is not known, a warning is logged.

    Args:
        start: the checkpoint.
        dataset: the data, opened.
        data: the data as the study names it.
    """
    checkpoint = find_checkpoint(start.path)
    for whose, known in ((start.path, checkpoint.tokenizer), (data, dataset.tokenizer_sha256)):
        if not known:
            _log.warning("%s has no tokenizer, so it is not known whether the data fits the checkpoint", whose)
            return
    assert checkpoint.tokenizer is not None
    theirs, ours = load_tokenizer(checkpoint.tokenizer), dataset.load_tokenizer()
    if theirs.sha256 != ours.sha256 and (problem := _find_difference(theirs, ours)):
        raise InvalidValueError(
            f"is {data}, made with another tokenizer than that of {start.path} ({problem})",
            field="data",
            value=data,
            remedy=f"prepare data with the tokenizer in {checkpoint.tokenizer}",
        )


def keep_tokenizer_settings(start: Start, folder: Path) -> None:
    """Copy how the checkpoint's tokenizer is used to a folder with the study's copy of it, if there is one."""
    tokenizer = find_checkpoint(start.path).tokenizer
    if tokenizer is not None and folder.is_dir():
        copy_tokenizer_settings(tokenizer, folder)


def _find_difference(theirs: Tokenizer, ours: Tokenizer) -> str:
    """How two tokenizers differ, in words; empty if they do not."""
    if theirs.vocab != ours.vocab:
        return f"it has {ours.vocab:,} tokens, that one {theirs.vocab:,}"
    for token in range(ours.vocab):
        here, there = ours.decode([token]), theirs.decode([token])
        if here != there:
            return f"token {token} is {here!r} in one and {there!r} in the other"
    if theirs.encode(_PROBE) != ours.encode(_PROBE):
        return "they divide text differently"
    return ""


def warn_if_chance(
    start: Start, model: LanguageModel, dataset: Dataset, *, vocab: int, window: int, device: torch.device
) -> None:
    """Log a warning if a checkpoint predicts the validation data no better than chance.

    Args:
        start: the checkpoint.
        model: computes losses with its weights, before the first step.
        dataset: the data.
        vocab: the model's vocabulary.
        window: tokens of a sequence.
        device: where batches are computed.
    """
    tokens = dataset.tokens("validation")
    loss = validation_loss(model, tokens, max(window, _CHECKED_TOKENS), window, device=device).value
    if not loss < math.log(vocab):
        _log.warning(
            "%s predicts the data no better than chance (a loss of %.2f nats, ln %d is %.2f): was it trained with "
            "another tokenizer?",
            start.path,
            loss,
            vocab,
            math.log(vocab),
        )


def open_start(start: Start, seed: int) -> TrainState:
    """The state with which a run begins, with lazy tensors: weights and moments of the checkpoint, no progress.

    Raises:
        RunError: the checkpoint is no longer the one with which the command began.
    """
    checkpoint = find_checkpoint(start.path)
    if checkpoint.sha256 != start.sha256:
        raise RunError(f"checkpoint {start.path} has changed since the command began", remedy="restore it")
    state = open_state(checkpoint)
    return replace(state, seed=seed, progress=Progress(), recent_losses=())
