"""Loading a Hugging Face folder, and generating text from it, compared with transformers."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepen.errors import InvalidValueError
from deepen.interop.generation import DecoderPredictor, Sampling, generate, load_predictor
from deepen.interop.load import load_model
from deepen.study.store.checkpoints import find_checkpoint

transformers = pytest.importorskip("transformers")

PROMPT = [5, 9, 2, 60, 33]


@pytest.fixture(scope="module", params=["gpt2", "qwen3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model in several shards, as transformers saves it."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 24},
        "qwen3": {
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "intermediate_size": 48,
            "max_position_embeddings": 24,
        },
    }
    config = transformers.AutoConfig.for_model(
        request.param, vocab_size=96, initializer_range=0.3, **sizes[request.param]
    )
    folder = tmp_path_factory.mktemp(request.param)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, max_shard_size="30kB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def test_logits_are_those_of_transformers(folder: Path, theirs: Any) -> None:
    tokens_bt = torch.randint(0, 96, (2, 24))
    with torch.no_grad():
        expected = theirs(tokens_bt).logits
    assert (load_model(find_checkpoint(folder))(tokens_bt) - expected).abs().max() < 1e-5


def test_the_most_probable_text_is_that_of_transformers(folder: Path, theirs: Any) -> None:
    expected = theirs.generate(
        torch.tensor([PROMPT]), max_new_tokens=15, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    sampling = Sampling(temperature=0.0)
    model = load_model(find_checkpoint(folder))
    assert [*PROMPT, *generate(DecoderPredictor(model), PROMPT, 15, sampling, vocab=96, end=None)] == expected[
        0
    ].tolist()
    longer = [*generate(DecoderPredictor(model), PROMPT, 40, sampling, vocab=96, end=None)]
    assert len(longer) == 40  # beyond the context


def test_choices_follow_the_distribution_and_its_restrictions(folder: Path) -> None:
    model = load_model(find_checkpoint(folder))
    with torch.no_grad():
        logits_v = model(torch.tensor([PROMPT]))[0, -1]

    def draw(**how: Any) -> Counter[int]:
        return Counter(
            next(generate(DecoderPredictor(model), PROMPT, 1, Sampling(seed=seed, **how), vocab=96, end=None))
            for seed in range(400)
        )

    probable = logits_v.softmax(-1).sort(descending=True)
    first = int(probable.indices[0])
    share = draw()[first] / 400
    assert abs(share - probable.values[0]) < 0.08
    assert set(draw(top_k=2)) == {*probable.indices[:2].tolist()}
    assert set(draw(top_p=0.9 * probable.values[0].item())) == {first}
    sharper = draw(temperature=0.5)[first] / 400
    assert abs(sharper - (logits_v / 0.5).softmax(-1)[first]) < 0.08
    few = 1 + int(probable.indices.min())
    assert max(generate(DecoderPredictor(model), PROMPT, 30, Sampling(), vocab=few, end=None)) < few


def test_the_end_of_the_text_ends_it(folder: Path) -> None:
    model = load_model(find_checkpoint(folder))
    whole = [*generate(DecoderPredictor(model), PROMPT, 12, Sampling(seed=1), vocab=96, end=None)]
    assert [*generate(DecoderPredictor(model), PROMPT, 12, Sampling(seed=1), vocab=96, end=whole[5])] == whole[
        : whole.index(whole[5])
    ]
    with pytest.raises(InvalidValueError, match="prompt is empty"):
        next(generate(DecoderPredictor(model), [], 1, Sampling(), vocab=96, end=None))


def test_tensors_that_the_config_does_not_describe_are_refused(folder: Path, tmp_path: Path) -> None:
    tensors = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    last = max(name for name in tensors if ".2." in name)

    def refusal(changed: dict[str, torch.Tensor]) -> str:
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(InvalidValueError) as refused:
            load_model(find_checkpoint(tmp_path))
        return str(refused.value)

    assert "has no tensor for blocks.2." in refusal({name: tensors[name] for name in tensors if name != last})
    assert "which its config.json does not describe" in refusal(
        {**tensors, last.replace(".2.", ".3."): tensors[last].clone()}
    )
    assert "but its config.json describes" in refusal({**tensors, last: torch.zeros(3, 3)})


def test_a_model_that_deepen_does_not_train_is_sampled_by_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.AutoConfig.for_model("gpt_neox", vocab_size=96, max_position_embeddings=24, **sizes)
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    expected = theirs.generate(
        torch.tensor([PROMPT]), max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    model = load_predictor(find_checkpoint(tmp_path))
    text = generate(model, PROMPT, 10, Sampling(temperature=0.0), vocab=96, end=None)
    assert [*PROMPT, *text] == expected[0].tolist()
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text('{"model_type": "of-nobody"}')
    with pytest.raises(InvalidValueError, match="cannot be loaded by transformers"):
        load_predictor(find_checkpoint(tmp_path))
    (tmp_path / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(InvalidValueError, match=r"has no values for gpt_neox\.layers\.2\."):
        load_predictor(find_checkpoint(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidValueError, match="has only pickled weights"):
        load_predictor(find_checkpoint(tmp_path))
