"""The speed of training a model on this machine, from a step or two: for an estimate before a long run."""

from dataclasses import replace

import torch

from deepen.bench.workload import Workload
from deepen.resource_errors import explain_resource_error
from deepen.study.define.study import Study
from deepen.study.run.forecast import Speed
from deepen.train.device import measure_peak_flops, pick_device

_STEP_TOKENS = {"cuda": 8192, "cpu": 256}
"""Tokens of a measured step, about: enough for the usual speed, and few enough for seconds."""

_MAX_PARAMETERS_ON_CPU = 3 * 10**8
"""With more parameters a step takes a minute on a CPU; the speed of matrix products is measured instead."""


def measure_speed(study: Study, threads: int) -> Speed | None:
    """Time a step of full training at a study's settings, without compilation; the first step does not count.

    Returns:
        None if there is not enough memory for such a step.
    """
    device, precision = pick_device(), study.settings.precision
    torch.set_num_threads(threads)
    if device.type == "cpu" and study.model.parameters > _MAX_PARAMETERS_ON_CPU:
        return Speed(flops_per_second=measure_peak_flops(device, precision), is_peak=True)
    context = min(study.context, _STEP_TOKENS[device.type])
    workload = Workload(
        model=study.model,
        context=context,
        batch_tokens=max(1, _STEP_TOKENS[device.type] // context) * context,
        settings=replace(study.settings, compile="no", micro_batch_tokens=0),
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
