"""States in shares: processes that save one, as threads that have real notes in one store."""

from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed import HashStore

from deepen.model.lazy import LazyTensors
from deepen.train.checkpoint.shard_files import HeldRows
from deepen.train.checkpoint.state_folder import save_state
from deepen.train.distributed.failure import FailureNotes
from deepen.train.distributed.saving import SaveNotes
from deepen.train.state import Share, TrainState


def hold(state: TrainState, share: Share) -> TrainState:
    """What one process holds of a state."""

    def rows(tensor: torch.Tensor) -> HeldRows:
        held = share.rows(len(tensor)) if tensor.dim() else None
        kept = tensor if held is None else tensor[held.start : held.stop].clone()
        return HeldRows(kept, share, tuple(tensor.shape), tensor.dtype)

    def all_rows(tensors: dict[str, torch.Tensor]) -> LazyTensors:
        return LazyTensors({name: rows(tensor) for name, tensor in tensors.items()})

    moments = {name: all_rows(dict(kept)) for name, kept in state.moments.items()}
    return replace(state, weights=all_rows(dict(state.weights)), moments=moments)


def save_in_shares(state: TrainState, folder: Path, count: int) -> None:
    """Save a state as `count` processes do that hold a share of it each."""
    store = HashStore()
    notes = [SaveNotes(store, FailureNotes(rank, count, store, lambda _: None)) for rank in range(count)]
    for rank in range(1, count):
        notes[rank].write_on_request(1, hold(state, Share(rank, count)))
    own = hold(state, Share(0, count))
    save_state(replace(own, others=notes[0].others(1, count)), folder)
