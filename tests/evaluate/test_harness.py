"""lm-evaluation-harness itself, on local files; scores during training are its scores, example by example."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepen.data.shards import Dataset
from deepen.data.tokenizers import Tokenizer, load_tokenizer, make_tokenizer
from deepen.errors import InvalidValueError
from deepen.evaluate.harness import HarnessResults, HarnessScore, run_harness
from deepen.evaluate.harness_tasks import LOCAL_TASKS, HarnessTask
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import CompletionScorer
from deepen.evaluate.task import Score
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.export import export_hugging_face
from deepen.interop.load import load_checkpoint_tokenizer
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import initial_state

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.slow

WORDS = [
    "Congress", "the treaty", "a vessel", "and", "of", "commerce", "  two", "citizens", "it's", "[header]",
    "revenue.", "(1812)", "naïve", "war;", "peace", "\n", "Union", "President", "so", "to",
]  # fmt: skip


def phrase(seed: int, words: int) -> str:
    """Some words that depend on the seed, with what task files hold: double spaces, tags, punctuation."""
    draw = torch.Generator().manual_seed(seed)
    return " ".join(WORDS[i] for i in torch.randint(len(WORDS), (words,), generator=draw).tolist()).strip()


def hellaswag(index: int) -> dict[str, Any]:
    return {
        "activity_label": "Having the floor",
        "ctx_a": phrase(index, 90 if index == 3 else 8),  # one is longer than the model's context
        "ctx_b": phrase(index + 100, 2),
        "ctx": phrase(index, 8),
        "endings": [f"{phrase(index * 4 + ending, 2 + ending)} [title] so" for ending in range(4)],
        "label": str(index % 4),
    }


def arc(index: int) -> dict[str, Any]:
    choices = {"text": [phrase(index * 4 + each, 3) for each in range(4)], "label": ["A", "B", "C", "D"]}
    return {"question": phrase(index, 9), "choices": choices, "answerKey": "ABCD"[index % 4]}


def piqa(index: int) -> dict[str, Any]:
    return {
        "goal": phrase(index, 5),
        "sol1": phrase(index + 50, 6),
        "sol2": phrase(index + 60, 9),
        "label": index % 2,
    }


def winogrande(index: int) -> dict[str, Any]:
    sentence = f"{phrase(index, 6)} _ {phrase(index + 70, 5)}"
    return {"sentence": sentence, "option1": "Sarah", "option2": "the President", "answer": str(1 + index % 2)}


def lambada(index: int) -> dict[str, Any]:
    return {"text": f"{phrase(index, 12)} and {['peace', 'of', 'war', 'Congress'][index % 4]}"}


def blimp(index: int) -> dict[str, Any]:
    name = ("adjunct_island", "wh_island")[index % 2]
    return {"sentence_good": phrase(index, 7), "sentence_bad": phrase(index + 80, 7), "UID": name}


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "hellaswag": hellaswag,
    "arc_easy": arc,
    "arc_challenge": arc,
    "piqa": piqa,
    "winogrande": winogrande,
    "lambada_openai": lambada,
    "blimp": blimp,
}


@pytest.fixture(scope="module")
def model(llama: ModelConfig) -> ModelConfig:
    return replace(llama, depth=2, width=16, mlp=40, context=64, init_std=0.4)


@pytest.fixture(scope="module")
def folder(model: ModelConfig, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as `deepen export` writes it, with the tokenizer of the speeches."""
    folder = tmp_path_factory.mktemp("model")
    state = initial_state(model, model.depth, seed=0)
    write_checkpoint(folder / "ours", state, model, (), dataset.folder)
    export_hugging_face(find_checkpoint(folder / "ours"), folder / "exported")
    return folder / "exported"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tasks")
    for name, make in ROWS.items():
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(make(index)) for index in range(12)))
    return {name: folder / f"{name}.jsonl" for name in ROWS}


@pytest.fixture(scope="module")
def results(folder: Path, files: dict[str, Path]) -> HarnessResults:
    tasks = [HarnessTask(name=name, file=file) for name, file in files.items()]
    return run_harness(folder, tasks, samples=True)


@pytest.fixture(scope="module")
def score(model: ModelConfig, folder: Path) -> Callable[[str, Path], Score]:
    """Scores a task as it is scored during training."""
    network = build(model)
    network.load_state_dict(init_weights(model, model.depth, seed=0))
    tokenizer: Tokenizer = load_tokenizer(folder)
    scorer = CompletionScorer(model=network, context=model.context, device=torch.device("cpu"))

    def score(name: str, file: Path) -> Score:
        task = get_task(name)
        return task.score(scorer, task.load(file, tokenizer))

    return score


def find(results: HarnessResults, task: str) -> dict[str, HarnessScore]:
    return {score.metric: score for score in results.scores if score.task == task}


@pytest.mark.parametrize("name", LOCAL_TASKS)
def test_scores_during_training_are_those_of_the_harness(
    name: str, results: HarnessResults, files: dict[str, Path], score: Callable[[str, Path], Score]
):
    ours, theirs = score(LOCAL_TASKS[name].parser, files[name]), find(results, name)
    assert {score.n for score in theirs.values()} == {ours.n} == {12}
    for metric, their in theirs.items():
        assert ours.metrics[metric] == pytest.approx(their.value, rel=1e-5), metric
        if metric != "perplexity" and name != "blimp":  # resampled by the harness; pooled over phenomena
            assert ours.metrics[f"{metric}_stderr"] == pytest.approx(their.stderr), metric


@pytest.mark.parametrize("name", [name for name in LOCAL_TASKS if name != "blimp"])
def test_every_example_has_the_harnesss_outcome(
    name: str, results: HarnessResults, files: dict[str, Path], score: Callable[[str, Path], Score]
):
    ours = score(LOCAL_TASKS[name].parser, files[name])
    value = next(metric for metric, value in ours.metrics.items() if value == ours.value)
    samples = sorted(results.details["samples"][name], key=lambda sample: sample["doc_id"])
    assert list(ours.outcomes) == [sample[value] for sample in samples]
    assert 0 < sum(ours.outcomes) < 12 or name == "lambada_openai"


def test_the_outcomes_of_blimp_are_the_harnesss_too(
    results: HarnessResults, files: dict[str, Path], score: Callable[[str, Path], Score]
):
    ours = score("blimp", files["blimp"]).outcomes
    for start, name in enumerate(("blimp_adjunct_island", "blimp_wh_island")):
        samples = sorted(results.details["samples"][name], key=lambda sample: sample["doc_id"])
        assert list(ours[start::2]) == [sample["acc"] for sample in samples]
    assert [score.group for score in results.scores if score.task.startswith("blimp_")] == ["blimp"] * 2


def test_rows_of_llm_foundry_and_compressed_files_give_the_same_scores(
    folder: Path, results: HarnessResults, tmp_path: Path
):
    def convert(name: str, row: dict[str, Any]) -> dict[str, Any]:
        if name == "arc_easy":
            query, choices = f"Question: {row['question']}", row["choices"]["text"]
            return {"query": query, "choices": choices, "gold": "ABCD".index(row["answerKey"])}
        if name == "piqa":
            query = f"Question: {row['goal']}\n"
            return {"query": query, "choices": [row["sol1"], row["sol2"]], "gold": row["label"]}
        if name == "winogrande":
            before, _, after = row["sentence"].partition("_")
            options = [before + row["option1"], before + row["option2"]]
            return {"context_options": options, "continuation": after.strip(), "gold": int(row["answer"]) - 1}
        context, _, word = row["text"].rpartition(" ")
        return {"context": context, "continuation": word}

    tasks = []
    for name in ("arc_easy", "piqa", "winogrande", "lambada_openai"):
        lines = "\n".join(json.dumps(convert(name, ROWS[name](index))) for index in range(12))
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        tasks.append(HarnessTask(name=name, file=tmp_path / f"{name}.jsonl.gz"))
    converted = run_harness(folder, tasks)
    for task in tasks:
        for metric, score in find(converted, task.name).items():
            value = find(results, task.name)[metric].value  # of other batches, whose sums may round otherwise
            assert score.value == pytest.approx(value, rel=1e-6), (task.name, metric)


def test_a_limit_takes_the_first_examples(folder: Path, files: dict[str, Path], results: HarnessResults):
    [score] = run_harness(folder, [HarnessTask(name="winogrande", file=files["winogrande"])], limit=5).scores
    samples = sorted(results.details["samples"]["winogrande"], key=lambda sample: sample["doc_id"])
    assert (score.n, score.value) == (5, sum(sample["acc"] for sample in samples[:5]) / 5)


def test_what_cannot_be_evaluated_is_named(
    folder: Path, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = files["piqa"]
    with pytest.raises(
        InvalidValueError, match=r"tasks boolq cannot be read from a file: use hellaswag, arc_easy"
    ):
        HarnessTask(name="boolq", file=file)
    with pytest.raises(InvalidValueError, match=r"piqa\.jsonl, line 1: not a.* ARC easy item"):
        run_harness(folder, [HarnessTask(name="arc_easy", file=file)])
    with pytest.raises(
        InvalidValueError, match=r"'piqq' is unknown to lm-evaluation-harness \(did you mean 'piqa'"
    ):
        run_harness(folder, [HarnessTask(name="piqq")])
    with pytest.raises(InvalidValueError, match="shots is 2, but the file of piqa has no examples for prompts"):
        run_harness(folder, [HarnessTask(name="piqa", file=file)], shots=2)
    with pytest.raises(InvalidValueError, match=r"cannot be loaded by transformers .* it needs config\.json"):
        run_harness(tmp_path, [HarnessTask(name="piqa", file=file)])
    with pytest.raises(InvalidValueError, match=r"the data of piqa cannot be loaded .*: tasks piqa=FILE"):
        run_harness(folder, [HarnessTask(name="piqa")])


def test_an_answer_longer_than_the_context_is_named(folder: Path, tmp_path: Path):
    row = lambda answer: {"goal": "peace", "sol1": answer, "sol2": "war", "label": 0}  # noqa: E731
    rows = [row("a treaty"), row(" ".join(["commerce and revenue"] * 40))]
    (tmp_path / "piqa.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        InvalidValueError, match="tasks piqa has an answer that is longer than the model's context"
    ):
        run_harness(folder, [HarnessTask(name="piqa", file=tmp_path / "piqa.jsonl")])


def test_a_checkpoint_without_its_tokenizer_is_named(folder: Path, files: dict[str, Path], tmp_path: Path):
    tasks = [HarnessTask(name="piqa", file=files["piqa"])]
    shutil.copytree(folder, tmp_path / "without", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(InvalidValueError, match=r"without has no tokenizer: put its tokenizer\.json there"):
        run_harness(tmp_path / "without", tasks)
    shutil.copytree(folder, tmp_path / "other")
    make_tokenizer("gpt2").write(tmp_path / "other")
    with pytest.raises(InvalidValueError, match="has a tokenizer of 50,257 tokens, but a model of 512"):
        run_harness(tmp_path / "other", tasks)


@pytest.mark.parametrize("kind", ["Gemma2", "Qwen2"])
def test_an_empty_tokenizer_is_refused(kind: str, files: dict[str, Path], tmp_path: Path):
    """It is what transformers makes for a folder that has none: every text is unknown, or has no tokens."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = getattr(transformers, f"{kind}Config")(**sizes, num_attention_heads=2, num_key_value_heads=1)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tasks = [HarnessTask(name="blimp", file=files["blimp"])]
    with pytest.raises(InvalidValueError, match=r"model has no tokenizer: put its tokenizer\.json there"):
        run_harness(tmp_path / "model", tasks)
    transformers.AutoTokenizer.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "model")
    with pytest.raises(InvalidValueError, match=r"makes (only unknown|no) tokens of ordinary text"):
        run_harness(tmp_path / "model", tasks)
    with pytest.raises(InvalidValueError, match=r"makes (only unknown|no) tokens of ordinary text"):
        load_checkpoint_tokenizer(find_checkpoint(tmp_path / "model"))


def test_a_tokenizer_without_settings_ends_texts_as_it_does_with_them(
    folder: Path, files: dict[str, Path], results: HarnessResults, tmp_path: Path
):
    transformers = pytest.importorskip("transformers")
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    bare = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    bare.save_pretrained(tmp_path / "model")
    assert bare.eos_token is bare.bos_token is None
    scores = run_harness(tmp_path / "model", [HarnessTask(name="blimp", file=files["blimp"])]).scores
    assert scores == tuple(score for score in results.scores if score.task.startswith("blimp"))


def test_the_end_of_text_is_the_special_token_of_the_config_or_is_asked_for(
    folder: Path, files: dict[str, Path], tmp_path: Path
):
    tasks = [HarnessTask(name="piqa", file=files["piqa"])]
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer_config*"))
    tokenizer = (folder / "tokenizer.json").read_text()
    (tmp_path / "model" / "tokenizer.json").write_text(tokenizer.replace("<|endoftext|>", "[STOP]"))
    assert run_harness(tmp_path / "model", tasks).scores
    for name in ("config.json", "generation_config.json"):
        content = json.loads((folder / name).read_text()) | {"eos_token_id": 5}  # an ordinary token
        (tmp_path / "model" / name).write_text(json.dumps(content))
    with pytest.raises(InvalidValueError, match=r"without a token that ends .* eos_token in"):
        run_harness(tmp_path / "model", tasks)


def test_perplexity_is_resampled_in_this_process(
    folder: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    """A fork of a process with threads can hang, as the harness's own pool of processes did."""

    def fork() -> int:
        raise AssertionError("a process was forked")

    monkeypatch.setattr(os, "fork", fork)
    scores = run_harness(folder, [HarnessTask(name="lambada_openai", file=files["lambada_openai"])]).scores
    assert next(score.stderr for score in scores if score.metric == "perplexity") > 0
    assert "DISABLE_MULTIPROC" not in os.environ


def test_no_pickle_is_loaded(folder: Path, files: dict[str, Path], tmp_path: Path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidValueError, match="cannot be loaded by transformers"):
        run_harness(tmp_path, [HarnessTask(name="piqa", file=files["piqa"])])
