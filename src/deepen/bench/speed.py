"""The speed of training a model on this machine, from a step or two: for an estimate before a long run."""

from concurrent.futures import Future
from dataclasses import replace

import torch

from deepen.bench.workload import Workload
from deepen.model.config import ModelConfig
from deepen.resource_errors import explain_resource_error
from deepen.study.define.study import Study
from deepen.study.run.executors.local import LocalProcesses
from deepen.study.run.forecast import Speed
from deepen.train.device import measure_peak_flops, pick_device
from deepen.train.settings import TrainSettings

_STEP_TOKENS = {"cuda": 8192, "cpu": 256}
"""Tokens of a measured step, about: enough for the usual speed, and few enough for seconds."""

_MAX_PARAMETERS_ON_CPU = 3 * 10**8
"""With more parameters a step takes a minute on a CPU; the speed of matrix products is measured instead."""


def measure_speed(study: Study, threads: int, *, apart: bool = False) -> Speed | None:
    """Time a step of full training at a study's settings, without compilation; the first step does not count.

    Args:
        study: the study.
        threads: CPU threads.
        apart: use a GPU in a process of its own, so that this one does not hold memory of it afterwards.

    Returns:
        None if there is not enough memory for such a step.
    """
    if not apart or pick_device().type == "cpu":
        return _measure_speed(study.model, study.context, study.settings, threads)
    with LocalProcesses(1) as processes:  # a study itself may have recipes that another process cannot import
        measured: Future[Speed | None] = processes.submit(  # type: ignore[no-untyped-call]
            _measure_speed, study.model, study.context, study.settings, threads
        )
        return measured.result()


def _measure_speed(model: ModelConfig, context: int, settings: TrainSettings, threads: int) -> Speed | None:
    device, precision = pick_device(), settings.precision
    torch.set_num_threads(threads)
    if device.type == "cpu" and model.parameters > _MAX_PARAMETERS_ON_CPU:
        return Speed(flops_per_second=measure_peak_flops(device, precision), is_peak=True)
    context = min(context, _STEP_TOKENS[device.type])
    workload = Workload(
        model=model,
        context=context,
        batch_tokens=max(1, _STEP_TOKENS[device.type] // context) * context,
        settings=replace(settings, compile="no", micro_batch_tokens=0),
        device=device,
    )
    try:
        engine, stopwatch = workload.full_training(), workload.stopwatch
        stopwatch.step_seconds(engine, workload.batch_tokens)
        seconds = stopwatch.step_seconds(engine, 3 * workload.batch_tokens)
    except (RuntimeError, MemoryError) as error:
        if explain_resource_error(error) is None:
            raise
        return None
    flops = workload.flops_per_step(workload.kinds()[0])
    return Speed(flops_per_second=flops / seconds)
