"""The network of a Hugging Face folder as `transformers` loads it, also of a kind that deepen does not train."""

from pathlib import Path
from typing import Any

import torch

from deepen.errors import InvalidValueError
from deepen.extras import import_extra
from deepen.interop.hugging_face.weight_files import find_tensors


def load_network(folder: Path, *, purpose: str, dtype: torch.dtype | str = "auto") -> Any:
    """Load a network on the CPU, for evaluation. No pickle and no code in the folder is loaded.

    Args:
        folder: the folder.
        purpose: what needs `transformers`, for the error where it is not installed.
        dtype: type of the weights; "auto" for the one in which they are stored.

    Raises:
        InvalidValueError: `transformers` is not installed or cannot load the folder, or weights are missing.
    """
    find_tensors(folder)  # its errors explain what is wrong with the files
    transformers = import_extra("transformers", extra="hf", purpose=purpose)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        network, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, local_files_only=True, use_safetensors=True
        )
    except (ValueError, OSError, ImportError, RuntimeError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _unusable(folder, f"cannot be loaded by transformers: {reason}") from None
    if lost := sorted(map(str, {*found["missing_keys"], *found["mismatched_keys"]})):
        raise _unusable(folder, f"has no values for {', '.join(lost[:3])}, which transformers expects")
    return network.eval()


def _unusable(folder: Path, problem: str) -> InvalidValueError:
    return InvalidValueError(f"{folder} {problem}", field="checkpoint", value=folder)
