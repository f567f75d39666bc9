"""Find settings with which a plan fits into a device's memory."""

from dataclasses import replace
from typing import Any

from deepen.compute.memory import phase_memory
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import Plan


def find_fitting_settings(plan: Plan, capacity_bytes: int) -> dict[str, Any] | None:
    """Try the usual changes in order, and return the first with which a plan fits into a device's memory.

    They are: one sequence at a time, recomputed activations, both; then the same with sharding over the devices of
    the plan, and over more devices.

    Returns:
        The fields of `MemorySettings` that change, with their values; None if no change is enough.
    """
    settings = plan.request.memory
    one_sequence = {"micro_batch_tokens": plan.request.context}
    recompute = {"activation_checkpointing": True}
    over_all = {"sharded": True, "shard_group": 0}
    more_devices = [{"devices": settings.devices * 2**n, **over_all} for n in range(1, 12)]
    fleets = [{}, over_all, *more_devices] if settings.devices > 1 else [{}, *more_devices]
    for fleet in fleets:
        for step in ({}, one_sequence, recompute, one_sequence | recompute):
            changes: dict[str, Any] = {**fleet, **step}
            if _peak_bytes(plan, replace(settings, **changes)) <= capacity_bytes:
                return {name: value for name, value in changes.items() if getattr(settings, name) != value}
    return None


def _peak_bytes(plan: Plan, settings: MemorySettings) -> int:
    """Bytes of the plan's largest phase with other settings."""
    return max(phase_memory(plan.request.model, p.phase, p.trained, settings).peak for p in plan.phases)
