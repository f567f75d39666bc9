"""Exported checkpoints, as transformers loads them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.export import export_hugging_face
from deepen.interop.generation import DecoderPredictor, Sampling, generate
from deepen.interop.history import FinalScore, Grown, Loaded, Trained
from deepen.interop.load import load_model, load_state
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.start import Start
from deepen.study.define.study import Arm, Study
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import initial_state

transformers = pytest.importorskip("transformers")

TEXT = "My fellow citizens, we  must\nnot FORGET 1861: naïve 北京 🙂"


@pytest.fixture(scope="module", params=["gpt2", "llama", "qwen3", "olmo2"])
def checkpoint(
    request: pytest.FixtureRequest, model: ModelConfig, llama: ModelConfig, dataset: Dataset, tmp_path_factory: Any
) -> Path:
    """A checkpoint of a small model of each kind, with weights large enough to make logits differ."""
    base = {
        "gpt2": model,
        "llama": llama,
        "qwen3": replace(llama, qk_norm="per-head"),
        "olmo2": replace(llama, qk_norm="all-heads", norm_position="post"),
    }[request.param]
    base = replace(base, depth=3, init_std=0.2)
    folder: Path = tmp_path_factory.mktemp(request.param) / "checkpoint"
    write_checkpoint(folder, initial_state(base, 3, seed=1), base, (), dataset.folder)
    return folder


def test_transformers_computes_the_same(checkpoint: Path, tmp_path: Path) -> None:
    export_hugging_face(find_checkpoint(checkpoint), tmp_path / "out", shard_bytes=20_000)
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    ours = load_model(find_checkpoint(checkpoint))
    tokens_bt = torch.randint(0, ours.config.vocab, (2, 16))
    with torch.no_grad():
        assert (theirs.eval()(tokens_bt).logits - ours(tokens_bt)).abs().max() < 1e-5
    assert sum(p.numel() for p in theirs.parameters()) == ours.config.parameters
    prompt = tokens_bt[0, :5].tolist()
    continued = theirs.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)[0].tolist()
    ended = [
        *generate(DecoderPredictor(ours), prompt, 8, Sampling(temperature=0.0), vocab=ours.config.vocab, end=0)
    ]
    assert continued[5:][: len(ended)] == ended
    again = load_model(find_checkpoint(tmp_path / "out"))
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in ours.state_dict().items())


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_what_divides_branches_by_the_depth_is_folded_into_the_weights(
    norm_position: str, llama: ModelConfig, tmp_path: Path
) -> None:
    qk_norm = {"pre": "per-head", "post": "all-heads"}[norm_position]
    model = replace(llama, depth=3, init_std=0.2, norm_position=norm_position, qk_norm=qk_norm)
    model = replace(model, parametrization="depth-mup")
    write_checkpoint(tmp_path / "ours", initial_state(model, 3, seed=1), model, (), None)
    export_hugging_face(find_checkpoint(tmp_path / "ours"), tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    ours, again = (load_model(find_checkpoint(tmp_path / name)) for name in ("ours", "out"))
    assert (ours.branch_scale, again.branch_scale) == (1 / 3, 1)
    tokens_bt = torch.randint(0, model.vocab, (2, 16))
    with torch.no_grad():
        assert (theirs(tokens_bt).logits - ours(tokens_bt)).abs().max() < 1e-5
        assert (again(tokens_bt) - ours(tokens_bt)).abs().max() < 1e-5


def test_the_tokenizer_encodes_alike(checkpoint: Path, dataset: Dataset, tmp_path: Path) -> None:
    export_hugging_face(find_checkpoint(checkpoint), tmp_path / "out")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), load_tokenizer(dataset.folder)
    assert theirs(TEXT)["input_ids"] == ours.encode(TEXT)
    assert theirs.decode(ours.encode(TEXT)) == TEXT
    assert theirs.eos_token_id == ours.end_of_text == theirs.bos_token_id
    assert theirs.model_max_length == 16


def test_weights_in_bf16_are_rounded_to_the_nearest(checkpoint: Path, tmp_path: Path) -> None:
    export_hugging_face(find_checkpoint(checkpoint), tmp_path / "out", dtype="bf16")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert theirs.dtype is torch.bfloat16
    ours, again = (load_model(find_checkpoint(folder)) for folder in (checkpoint, tmp_path / "out"))
    rounded = {name: weight.bfloat16().float() for name, weight in ours.state_dict().items()}
    assert all(torch.equal(weight, rounded[name]) for name, weight in again.state_dict().items())


def test_the_card_describes_how_the_model_was_made(
    make_study: Callable[..., Study], run_study: Callable[..., Any], model: ModelConfig, tmp_path: Path
) -> None:
    options = {"start_depth": 1}
    rows = '{"sentence_good": "it is so", "sentence_bad": "so it", "UID": "wh_island"}\n' * 2
    (tmp_path / "blimp.jsonl").write_text(rows)
    tasks = (TaskFile(task="blimp", path=tmp_path / "blimp.jsonl"),)
    study = make_study(
        name="cards",
        evaluation=Evaluation(every_tokens=2 * 32, validation_tokens=64, tasks=tasks),
        model=replace(model, depth=2),
        tokens=4 * 32,
        arms=(Arm(name="grows", recipe="one-shot", options=options),),
        baseline="grows",
        anchors=(1.0,),
        accountings=("flops",),
    )
    results = run_study(study, tmp_path / "study")
    checkpoint = find_checkpoint(tmp_path / "study")
    loss = results["arms"][0]["marks"][0]["train_loss"]
    trained = checkpoint.history[-1]
    assert isinstance(trained, Trained)
    scores = {
        **trained.tasks,
        "hellaswag": FinalScore(value=0.3, stderr=0.0046, n=10042, metric="acc_token"),
        "hellaswag-harness": FinalScore(value=0.31, stderr=0.0046, n=10042, metric="acc_norm"),
        "lambada": FinalScore(value=0.2, stderr=0.01, n=5153, metric="acc"),
        "another": FinalScore.from_json(0.5),  # an older version wrote no more
    }
    grown = Grown(old_depth=4, new_depth=6, operator="copy-zero")
    history = (Loaded(source="gpt2", model_type="gpt2", blocks=4), grown, replace(trained, tasks=scores))
    export_hugging_face(replace(checkpoint, history=history), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for part in (
        'AutoModelForCausalLM.from_pretrained("out")',
        "It was grown: 4 to 6 blocks, copy-zero; 1 to 2 blocks, from 0,0.",
        "It began as `gpt2` (gpt2, 4 blocks).",
        "| run | arm `grows` with seed 0 of the study `cards` |",
        "| recipe | one-shot |",
        "| data | speeches (fingerprint `",
        "| HellaSwag (deepen's task `hellaswag`) | 0.3000 ± 0.0046, `acc_token`, "
        "accuracy by log-likelihood per token, n = 10,042 |",
        "| HellaSwag (harness) (deepen's task `hellaswag-harness`) | 0.3100 ± 0.0046, `acc_norm`, "
        "accuracy by log-likelihood per character, n = 10,042 |",
        "| LAMBADA (deepen's task `lambada`) | 0.2000 ± 0.0100, `acc`, accuracy, n = 5,153 |",
        "| another | 0.5000 |",
        f"| training loss | {loss:.4f} nats per token, mean of the last 2 steps |",
        "`acc`, accuracy by the log-likelihood of the whole answer, n = 2 |",
        "| validation loss | ",
        " FLOPs, counted exactly",
        "| full depth | 2 | ",
        "| everything | ",
    ):
        assert part in card, part


def test_the_command_writes_a_folder_and_says_what_is_missing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    try:
        assert main(["export", str(checkpoint), "--to", "hf", "-o", str(tmp_path / "out")]) == 0
        assert "It has no tokenizer" in capsys.readouterr().out
    finally:
        (tmp_path / "tokenizer.json").rename(checkpoint / "tokenizer.json")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "README.md",
    }
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text()) == {}
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "out")]) == 2
    assert "--out" in (error := capsys.readouterr().err) and "is in use" in error
    with pytest.raises(InvalidValueError, match="is in Hugging Face's format already: copy the folder"):
        export_hugging_face(find_checkpoint(tmp_path / "out"), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_special_tokens_and_the_template_for_chats_of_a_hugging_face_folder_are_kept(
    make_study: Callable[..., Study], run_study: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    """Through training and growth."""
    origin = tmp_path / "origin"
    export_hugging_face(find_checkpoint(checkpoint), origin)
    tokenizer = transformers.AutoTokenizer.from_pretrained(origin)
    tokenizer.pad_token = tokenizer.eos_token = "!"
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}!{% endfor %}"
    tokenizer.save_pretrained(origin)
    end = tokenizer.eos_token_id
    assert end != 0
    (origin / "generation_config.json").write_text(json.dumps({"eos_token_id": [end, 0], "bos_token_id": 0}))
    begun = find_checkpoint(origin)
    study = make_study(
        name="expand",
        model=replace(begun.model, depth=4),
        tokens=2 * 32,
        rate=Constant(peak=1e-3),
        arms=(Arm(name="expand", recipe="expand", options={"start_depth": 3}),),
        baseline="expand",
        anchors=(1.0,),
        accountings=("flops",),
        start=Start.at(begun),
    )
    run_study(study, tmp_path / "study")
    trained = find_checkpoint(tmp_path / "study")
    write_checkpoint(tmp_path / "again", load_state(trained), trained.model, trained.history, trained.tokenizer)
    export_hugging_face(find_checkpoint(tmp_path / "again"), tmp_path / "out")
    kept = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (kept.eos_token, kept.pad_token) == ("!", "!")
    assert kept.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "Hi!"
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.generation_config.eos_token_id == [end, 0] == model.config.eos_token_id


def test_settings_without_an_end_of_text_are_completed(checkpoint: Path, tmp_path: Path) -> None:
    """A tokenizer.json alone, as PreTrainedTokenizerFast saves it, has settings that do not name the token."""
    bare = transformers.PreTrainedTokenizerFast(tokenizer_file=str(checkpoint / "tokenizer.json"))
    bare.save_pretrained(tmp_path / "bare")
    (tmp_path / "bare" / "generation_config.json").write_text('{"do_sample": true}')
    ours = find_checkpoint(checkpoint)
    end = load_tokenizer(checkpoint).end_of_text
    write_checkpoint(tmp_path / "ours", load_state(ours), ours.model, (), tmp_path / "bare")
    export_hugging_face(find_checkpoint(tmp_path / "ours"), tmp_path / "out")
    assert bare.eos_token is None
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").eos_token_id == end
    settings = transformers.GenerationConfig.from_pretrained(tmp_path / "out")
    assert settings.eos_token_id == end and settings.do_sample
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == end
