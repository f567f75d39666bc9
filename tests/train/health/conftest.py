from dataclasses import replace

import pytest

from deepen.model.config import ModelConfig


@pytest.fixture(scope="session")
def shallow(model: ModelConfig) -> ModelConfig:
    return replace(model, depth=2, width=16)
