"""How a segment's step fits into a GPU: micro-batches, activation checkpointing, when gradients are sent.

Rank 0 decides for all processes.
"""

import logging
from dataclasses import asdict, replace

from deepen.compute.memory import complete_settings, must_checkpoint
from deepen.compute.memory_settings import BYTES, ONE_DEVICE, Division, MemorySettings
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.train.segment import Segment
from deepen.train.settings import CUDA_GRAPHS, TrainSettings

_log = logging.getLogger(__name__)


def describe_phase(segment: Segment) -> Phase:
    """A segment as the phase whose memory can be computed."""
    return Phase(
        depth=segment.depth,
        tokens=segment.batch_tokens,
        label=segment.label,
        batch_tokens=segment.batch_tokens,
        context=segment.context,
    )


def memory_settings(settings: TrainSettings, division: Division = ONE_DEVICE) -> MemorySettings:
    """What the memory of a step on a CPU depends on.

    Args:
        settings: settings of the step.
        division: how processes divide a batch and the model.
    """
    return MemorySettings(
        precision=settings.precision if settings.precision in BYTES else "fp32",
        micro_batch_tokens=settings.micro_batch_tokens,
        **asdict(division),
        reduce_once=settings.reduce_once,
        activation_checkpointing=settings.activation_checkpointing,
        optimizer=settings.optimizer.cost,
    )


def fit_settings(
    settings: TrainSettings,
    segment: Segment,
    model: ModelConfig,
    free_bytes: int,
    division: Division = ONE_DEVICE,
) -> TrainSettings:
    """The settings of a segment's steps on a GPU, with what they leave open.

    That is the micro-batch, whether blocks run forward twice, which they do where one sequence would not fit, and
    whether sharded gradients are sent once in a step.

    Args:
        settings: settings of a step.
        segment: what is trained.
        model: the model at its final depth.
        free_bytes: free memory of a GPU before the model is on it; 0 on a CPU, which changes nothing.
        division: as in `memory_settings`.
    """
    if not free_bytes:
        return settings
    memory = replace(memory_settings(settings, division), gpu=True, device_bytes=free_bytes)
    phase = describe_phase(segment)
    if settings.checkpoint_to_fit and must_checkpoint([(phase, segment.trains)], model, memory):
        _log.info(
            "activation checkpointing (%s): without it a step would not fit into the GPU's memory", segment.label
        )
        settings = replace(settings, activation_checkpointing=True)
        if settings.compile == CUDA_GRAPHS:
            _log.info("no CUDA graphs (%s): they do not go with activation checkpointing", segment.label)
            settings = replace(settings, compile="yes")
        memory = replace(memory, activation_checkpointing=True)
    memory = complete_settings(model, phase, segment.trains, memory)
    if division.sharded:
        settings = replace(settings, reduce_once=memory.reduce_once)
    return replace(settings, micro_batch_tokens=memory.micro_batch_tokens)
