"""What command lines become: options of recipes, models, tasks, budgets."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.cli.requests import bench, plan, study, train
from deepen.cli.requests.parser import RequestError, parse_arguments
from deepen.cli.requests.recipe_options import RECIPE_OPTIONS
from deepen.cli.requests.run_request import RunRequest
from deepen.interop.hugging_face.config import make_config
from deepen.model.config import ModelConfig
from deepen.model.presets import PEAK_RATES, PRESETS, TOKENS_PER_STEP
from deepen.schedule.recipes import RECIPES
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import TaskFile
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.study import Study

NEW_RECIPE = '''
from typing import Annotated

from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule
from deepen.schedule.recipe import recipe
from deepen.schedule.option import OneOf


@recipe("with-pauses")
def with_pauses(
    model: ModelConfig, tokens: int, *, pauses: int = 2, share: float = 0.5, restart: Annotated[str, OneOf(("warm", "cold"))] = "warm",
    log_pauses: bool = False
) -> Schedule:
    """Train with pauses.

    Args:
        tokens: total training tokens.
        pauses: how often to pause.
        share: how long a pause is.
        restart: how to continue.
        log_pauses: whether to log them.
    """
    return Schedule(phases=(Phase(depth=model.depth, tokens=tokens, label="full depth"),))
'''  # noqa: E501


def test_the_options_of_a_new_recipe_need_no_change_here():
    code = NEW_RECIPE + (
        "from deepen.cli.entry import main\n"
        "from deepen.cli.requests import train\n"
        "line = 'with-pauses --pauses 3 --share 0.25 --restart cold --log-pauses --steps 5'\n"
        "(arm,) = train.parse(line.split()).study.arms\n"
        "assert arm.options == {'pauses': 3, 'share': 0.25, 'restart': 'cold', 'log_pauses': True}, arm\n"
        "assert main(['train', '--help']) == 0\n"
        "assert main(['plan', 'with-pauses', '--restart', 'cald', '--pauses', 'x', '--stages', '3']) == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "error: --restart 'cald' is unknown (did you mean 'cold'?): use warm or cold",
        "error: --pauses is 'x': it must be a whole number",
        "error: --stages: recipe with-pauses has no such option; "
        "it has --pauses, --share, --restart, --log-pauses",
    ]
    for shown in (
        "--pauses N",
        "how often to pause (default: 2) [with-pauses]",
        "how to continue: warm, cold",
        "--log-pauses",
    ):
        assert shown in done.stdout


def test_recipes_that_share_an_option_give_it_the_same_type():
    for option in RECIPE_OPTIONS:
        kinds = {
            (recipe.options[option.key].kind, recipe.options[option.key].choices)
            for recipe in RECIPES.values()
            if option.key in recipe.options
        }
        assert len(kinds) == 1, option.name


def test_a_preset_of_a_recipe_is_overridden_by_options():
    (arm,) = train.parse(["two-phase", "--preset", "paper-as-released", "--scope", "all"]).study.arms
    assert arm.options == {"partition": "floor", "round_down": True, "reset_at_continual": True, "scope": "all"}
    (arm,) = train.parse(["staged", "--preset", "paper-as-released", "--partition", "front"]).study.arms
    assert arm.options == {"partition": "front", "round_down": True, "reset_at_continual": True}


@pytest.mark.parametrize("preset", ["paper-as-written", "paper-as-released"])
def test_train_plan_and_study_use_the_same_model_with_a_preset(preset: str):
    expected = study.parse(["paper", "--preset", preset, "--data", "sotu"]).study.model
    assert expected.vocab == 50_304
    for recipe in ("two-phase", "staged"):
        model = ["--model", "gpt2-124m", "--preset", preset]
        assert train.parse([recipe, *model]).study.model == plan.parse([recipe, *model]).plan.model == expected
        assert train.parse([recipe, *model, "--vocab", "50257"]).study.model.vocab == 50_257


def test_tasks_are_named_in_two_ways():
    arguments = ["quickstart", "--hellaswag", "h.jsonl"]
    short = study.parse(arguments).study.evaluation
    assert short == study.parse(["quickstart", "--task", "hellaswag=h.jsonl"]).study.evaluation
    assert short.tasks == (TaskFile(task="hellaswag", path=Path("h.jsonl")),)
    assert short.tasks_every_tokens == short.every_tokens
    for wrong, words in (
        ("helaswag=h.jsonl", "--task 'helaswag' is unknown (did you mean 'hellaswag'?)"),
        ("hellaswag", "--task is 'hellaswag': write NAME=FILE"),
        ("hellaswag=", "--task is 'hellaswag=': write NAME=FILE"),
    ):
        with pytest.raises(RequestError) as raised:
            study.parse(["quickstart", "--task", wrong])
        assert raised.value.problems[0].startswith(words)
    with pytest.raises(RequestError, match="twice"):
        study.parse([*arguments, "--task", "hellaswag=other.jsonl"])


def test_jobs_are_short_for_a_local_executor():
    assert study.parse(["quickstart"]).executor == ExecutorChoice()
    assert study.parse(["quickstart", "--jobs", "3"]).executor == local(3)
    assert study.parse(["quickstart", "--executor", "local:3"]).executor == local(3)
    assert study.parse(["quickstart", "--jobs", "3"], distributed=False).shard is False
    assert study.parse(["quickstart", "--shard"], distributed=True).executor == local(1)


def test_a_run_has_a_folder_of_its_own():
    folders = {
        str(train.parse(line.split()).folder)
        for line in (
            "full", "full --seed 1", "full --model micro", "small", "small --start-depth 3", "full --depth 6",
            "full --vocab 2048", "full --depth 6 --vocab 2048",
        )
    }  # fmt: skip
    assert len(folders) == 8 and "deepen-runs/full-nano-seed-0" in folders
    assert study.parse(["quickstart"]).folder == Path("deepen-runs/quickstart")
    assert study.parse(["quickstart", "--out", "here"]).folder == Path("here")


SIZES = "--family llama --depth 6 --width 32 --heads 4 --kv-heads 2 --mlp 96 --vocab 2048 --head untied"


def test_a_model_of_any_size_is_trained_studied_and_planned_alike():
    sizes = [*SIZES.split(), "--context", "32"]
    trained = train.parse(["full", *sizes]).study
    studied = study.parse(["quickstart", *sizes]).study
    planned = plan.parse(["full", "--model", "nano", *sizes])
    assert isinstance(planned, plan.RecipePlanRequest)
    assert trained.model == studied.model == planned.plan.model
    model = trained.model
    assert (model.family, model.depth, model.width, model.heads, model.kv_heads) == ("llama", 6, 32, 4, 2)
    assert (model.mlp, model.vocab, model.tied, model.context) == (96, 2048, False, 32)
    assert trained.context == studied.context == planned.plan.context == 32
    assert studied.batch_tokens % 32 == 0


def test_a_model_can_be_a_hugging_face_folder_whose_sizes_change_like_a_presets(tmp_path: Path):
    folder = tmp_path / "Tiny-Qwen3"
    folder.mkdir()
    model = ModelConfig(
        name="Tiny-Qwen3", family="llama", depth=3, width=16, heads=2, kv_heads=1, head_dim=12, mlp=24, context=32,
        vocab=100, qk_norm="per-head", rope_base=1e6,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(make_config(model)))
    assert train.parse(["full", "--model", str(folder)]).study.model == model
    changed = train.parse(["full", "--model", str(folder), "--depth", "6", "--biases", "attention"]).study.model
    assert changed == replace(model, name="custom", depth=6, biases="attention")
    assert train.parse(["full", "--model", f"{folder}/"]).folder == Path("deepen-runs/full-Tiny-Qwen3-seed-0")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '{"model_type": "gemma2"}',
            "model_type of mine is 'gemma2': this kind of model is not trained: use gpt2",
        ),
        ("{", "config.json is not JSON"),
        ("[]", "config.json is not a JSON object"),
        ('{"model_type": "gpt2"}', "n_layer of mine is missing: it must be a whole number"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(content: str, words: str, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(content)
    with pytest.raises(RequestError) as refusal:
        train.parse(["full", "--model", str(tmp_path / "mine")])
    [problem] = refusal.value.problems
    assert problem.startswith(f"--model cannot be {tmp_path}/mine: ") and words in problem


def test_sizes_of_a_study_change_its_own_model_unless_another_is_named(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom deepen.model.presets import PRESETS\n"
        "from deepen.study.define.presets import STUDIES\n"
        "study = replace(STUDIES['quickstart'](), model=PRESETS['micro'])\n"
    )
    own = study.parse([str(file), "--depth", "24"]).study
    assert own.model == replace(PRESETS["micro"], name="custom", depth=24, context=128) and own.context == 64
    assert study.parse([str(file), "--model", "mini", "--depth", "24"]).study.model.width == 128
    assert study.parse([str(file)]).study.rate.peak == PEAK_RATES["nano"]  # the file's own


def test_batch_and_rate_of_other_sizes_are_those_of_the_nearest_preset():
    deeper = train.parse(["full", "--depth", "13"]).study
    assert deeper.batch_tokens == TOKENS_PER_STEP["nano"] and deeper.rate.peak == PEAK_RATES["nano"]
    wide = train.parse(["full", "--width", "768", "--heads", "12"]).study
    assert wide.batch_tokens == TOKENS_PER_STEP["gpt2-124m"] and wide.rate.peak == PEAK_RATES["gpt2-124m"]
    assert wide.model.init_std == PRESETS["gpt2-124m"].init_std < deeper.model.init_std


def test_a_plan_of_a_study_takes_what_the_study_takes():
    line = ["paper", "--scale", "0.01", "--seeds", "2", "--rate", "cosine"]
    planned = plan.parse(line)
    assert isinstance(planned, plan.StudyPlanRequest)
    assert replace(planned.study, data="sotu") == study.parse([*line, "--data", "sotu"]).study


def test_points_set_how_often_a_study_is_evaluated():
    line = ["paper", "--data", "sotu", "--model", "nano", "--scale", "1e-5"]
    dense, sparse = study.parse(line).study, study.parse([*line, "--points", "4"]).study
    for made, points in ((dense, 40), (sparse, 4)):
        for every in (made.evaluation.every_tokens, made.evaluation.tasks_every_tokens):
            assert abs(every - made.tokens / points) <= made.batch_tokens / 2
    assert dense.tokens == sparse.tokens


def test_a_ramp_is_trained_beside_the_baseline_with_it_and_without(tmp_path: Path):
    line = "one-shot --against full --batch-ramp 0:256,0.5:1024 --context-ramp 0:16,0.5:32"
    wanted = train.parse(line.split())
    ramps = [(arm.name, str(arm.batch_ramp), str(arm.context_ramp)) for arm in wanted.study.arms]
    assert ramps == [
        ("full", "None", "None"),
        ("full with ramp", "0:256,0.5:1024", "0:16,0.5:32"),
        ("one-shot with ramp", "0:256,0.5:1024", "0:16,0.5:32"),
    ]
    assert (wanted.study.batch_tokens, wanted.study.context) == (1024, 32)
    assert Study.from_json(json.loads(json.dumps(wanted.study.to_json()))) == wanted.study
    own = train.parse(["full", "--against", "full", "--batch-ramp", "0:256,0.5:1024"]).study
    assert [arm.name for arm in own.arms] == ["full", "full with ramp"]


def test_a_study_with_a_ramp_keeps_its_baseline_without():
    plain = study.parse(["quickstart"])
    ramped = study.parse(["quickstart", "--batch-ramp", "0:256,0.5:1024"])
    assert isinstance(plain, RunRequest) and isinstance(ramped, RunRequest)
    baseline, *arms = ramped.study.arms
    assert baseline == plain.study.arms[0] and ramped.study.baseline == plain.study.baseline
    assert [arm.name for arm in arms] == [f"{arm.name} with ramp" for arm in plain.study.arms]
    assert {str(arm.batch_ramp) for arm in arms} == {"0:256,0.5:1024"}


def test_training_in_part_is_compared_with_full_training():
    request = train.parse(["full", "--train", "blocks:8-11", "--against", "full"])
    assert [arm.name for arm in request.study.arms] == ["full", "full with train blocks:8-11"]
    assert request.study.baseline == "full" and "against-full" in request.folder.name


def test_a_micro_batch_is_a_setting_of_every_command_that_trains_and_of_no_key():
    asked = ["--micro-batch-tokens", "512"]
    requests = [
        train.parse(["full", *asked]),
        *(study.parse([name, *asked]) for name in ("quickstart", "fair")),
        study.parse(["paper", "--data", "sotu", *asked]),
        bench.parse(asked),
    ]
    assert [request.study.settings.micro_batch_tokens for request in requests] == [512] * 5
    each = study.parse_studies(parse_arguments(study.STUDY, ["map", *asked]))
    assert {one.settings.micro_batch_tokens for one in each} == {512}
    usual, changed = (compile_study(study.parse(["quickstart", *given]).study, "") for given in ([], asked))
    assert usual.nodes.keys() == changed.nodes.keys()
