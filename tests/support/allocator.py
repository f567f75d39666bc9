"""Peak memory of torch's CPU allocator during some work."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile


def most_alive(kept: Iterable[Tensor], work: Callable[[], Any]) -> int:
    """Peak bytes in use while the work runs, including the given tensors.

    Frees of memory allocated before are ignored: the profiler may know their addresses from an earlier session,
    and then it reports outdated sizes.

    Args:
        kept: tensors that exist all the time; of a tensor sharded over processes, only the local shard counts.
        work: the work.
    """
    alive = peak = sum(getattr(tensor, "_local_tensor", tensor).nbytes for tensor in kept)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    given = set()
    events = _allocations(profiled.profiler.kineto_results.experimental_event_tree())
    for _, address, size in sorted(events, key=lambda event: event[0]):
        if size > 0:
            given.add(address)
        elif address in given:
            given.remove(address)
        else:
            continue
        alive += size
        peak = max(peak, alive)
    return peak


def _allocations(events: Iterable[Any]) -> Iterator[tuple[int, int, int]]:
    """Time in nanoseconds, address, and bytes (negative for frees)."""
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size
        yield from _allocations(event.children)
