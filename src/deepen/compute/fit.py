"""Find settings with which a plan fits into a device's memory."""

from dataclasses import replace
from typing import Any

from deepen.compute.memory import must_checkpoint, phase_memory
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import Plan
from deepen.compute.plan_request import PlanRequest


def find_fitting_settings(plan: Plan, capacity_bytes: int) -> dict[str, Any] | None:
    """Try the usual changes in order, and return the first with which a plan fits into a device's memory.

    They are: one sequence at a time, recomputed activations, both; then the same with sharding over the devices of
    the plan, and over more devices. Gradients that are to stay whole are sent in each micro-batch instead.

    Returns:
        The fields of `MemorySettings` that change, with their values; None if no change is enough.
    """
    settings = plan.request.memory
    send = {"reduce_once": False} if settings.reduce_once else {}
    one_sequence = {"micro_batch_tokens": plan.request.context, **send}
    recompute = {"activation_checkpointing": True, **send}
    over_all = {"sharded": True, "shard_group": 0}
    more_devices = [{"devices": settings.devices * 2**n, **over_all} for n in range(1, 12)]
    fleets = [{}, over_all, *more_devices] if settings.devices > 1 else [{}, *more_devices]
    for fleet in fleets:
        for step in (send, one_sequence, recompute, one_sequence | recompute):
            changes: dict[str, Any] = {**fleet, **step}
            if peak_bytes(plan, replace(settings, **changes)) <= capacity_bytes:
                return {name: value for name, value in changes.items() if getattr(settings, name) != value}
    return None


def checkpoint_to_fit(plan: Plan, capacity_bytes: int) -> PlanRequest | None:
    """The request for the same plan with activation checkpointing, if it fits into a GPU's memory only so.

    The repeated forward passes are priced.
    """
    request = plan.request
    kinds = ((planned.phase, planned.trained) for planned in plan.phases)
    settings = replace(request.memory, device_bytes=capacity_bytes)
    if not (settings.gpu and must_checkpoint(kinds, request.model, settings)):
        return None
    return replace(
        request,
        memory=replace(request.memory, activation_checkpointing=True),
        ledger=replace(request.ledger, activation_checkpointing=True),
    )


def peak_bytes(plan: Plan, settings: MemorySettings) -> int:
    """Bytes of the plan's largest phase with other settings."""
    return max(phase_memory(plan.request.model, p.phase, p.trained, settings).peak for p in plan.phases)
