"""Reading a checkpoint outside a study: exactly the folder that is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.model.config import ModelConfig
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import initial_state


@pytest.mark.parametrize("suffix", [".old", ".new"])
def test_a_damaged_checkpoint_is_not_replaced_by_another_folder(
    suffix: str, model: ModelConfig, tmp_path: Path
) -> None:
    shallow = replace(model, depth=3)
    for seed, name in enumerate(["x", f"x{suffix}"]):
        write_checkpoint(tmp_path / name, initial_state(shallow, 3, seed=seed), shallow, (), None)
    assert find_checkpoint(tmp_path / "x").folder == tmp_path / "x"
    (tmp_path / "x" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InvalidValueError, match=r"cannot be used: .*x/weights.safetensors is damaged"):
        find_checkpoint(tmp_path / "x")
    assert find_checkpoint(tmp_path / f"x{suffix}").folder == tmp_path / f"x{suffix}"
