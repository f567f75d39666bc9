"""Write a safetensors file with one tensor in memory, byte for byte as the safetensors library does."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from deepen import durable
from deepen.model.lazy import LazyTensor, unread
from deepen.train.checkpoint.stored import DTYPE_NAMES

_ORDER = (torch.int64, torch.float64, torch.float32, torch.int32, torch.bfloat16, torch.float16)
"""Types in the order in which the library writes them; tensors of one type are sorted by name."""
_ALIGNMENT = 8


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a file; lazy ones are read one at a time."""
    header, end = {}, 0
    ordered = sorted(unread(tensors).items(), key=lambda entry: (_ORDER.index(entry[1].dtype), entry[0]))
    for name, tensor in ordered:
        span = [end, end + tensor.nbytes]
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": span}
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    durable.write(path, len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        read = tensor.load() if isinstance(tensor, LazyTensor) else tensor
        durable.write(path, read.contiguous().view(-1).view(torch.uint8).numpy().data, "ab")
    durable.check_size(path, 8 + len(text) + end)
