from pathlib import Path

import pytest

from deepen.data.shards import Dataset


@pytest.fixture
def described(dataset: Dataset, tmp_path: Path) -> Path:
    """A copy of the dataset's folder, which a test may damage."""
    folder = tmp_path / "described"
    folder.mkdir()
    for path in dataset.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
