"""What torch's CPU allocator gave and took back while something ran."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile


def most_alive(kept: Iterable[Tensor], work: Callable[[], Any]) -> int:
    """Most bytes alive while the work runs, beginning with those of the tensors given.

    What was there before and is given back does not count: the profiler may know an address from a session
    before this one, and then reports the size of what was there at that time.

    Args:
        kept: what is there all the time; of a tensor divided over processes, this process's share counts.
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
    """Time in nanoseconds, address, and bytes, negative where they are given back."""
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size
        yield from _allocations(event.children)
