"""Find the checkpoint that a path means. Needs no torch.

    STUDY                        the run of an arm and a seed, up to its mark at equal compute
    STUDY/segments/KEY[/state]   the state of one segment
    FOLDER with model.json       a checkpoint of deepen's outside a study
    FOLDER with config.json      a folder in Hugging Face's format

In a study's folder, study.json lists for each mark the segments that lead to it. A run that has not reached its
mark is found at its newest state.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.compute.accounting import EXACT_FLOPS
from deepen.data.tokenizer_files import find_tokenizer, hash_tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.checkpoint import (
    MODEL_FILE,
    Checkpoint,
    DeepenCheckpoint,
    read_deepen_checkpoint,
    read_hugging_face_checkpoint,
)
from deepen.study.define.study import Study
from deepen.study.store.errors import StoreError
from deepen.study.store.run_history import read_run
from deepen.train.checkpoint.state_check import MANIFEST, StateError, find_good_state, has_state, read_header

_log = logging.getLogger(__name__)


def find_checkpoint(path: Path | str, *, arm: str | None = None, seed: int | None = None) -> Checkpoint:
    """The checkpoint that a path means; its files are checked, its tensors are not read.

    Args:
        path: a folder, as the module's docstring lists them.
        arm, seed: which run of a study, where it has several.

    Raises:
        InvalidValueError: it is not a checkpoint, its state is damaged, or which of several is meant is not said.
    """
    folder = Path(path)
    try:
        return _find(folder, arm, seed)
    except StateError as error:
        raise InvalidValueError(
            f"cannot be used: {error}", field="checkpoint", value=folder, remedy="copy it again, or name another"
        ) from None


def _find(folder: Path, arm: str | None, seed: int | None) -> Checkpoint:
    if not folder.is_dir():
        raise _wrong_folder(folder)
    durable.check_name(folder, "checkpoint")
    study = _find_study(folder)
    if study is None and (arm is not None or seed is not None):
        raise _wrong_run(arm, seed, f"{folder} is not a study's folder")
    if (folder / MODEL_FILE).is_file():
        return read_deepen_checkpoint(folder)
    if study is not None:
        return _find_in_study(study, folder, arm, seed)
    if (folder / "config.json").is_file():
        return read_hugging_face_checkpoint(folder)
    raise _wrong_folder(folder)


def _wrong_folder(folder: Path) -> InvalidValueError:
    what = "is not a checkpoint" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
    remedy = "name the folder of a study, of a state in it, or one with a config.json in Hugging Face's format"
    if not folder.exists() and not folder.is_absolute() and len(folder.parts) <= 2:
        remedy += f"; if it is a model on the Hub, first: hf download {folder} --local-dir {folder.name}"
    elif (folder / MANIFEST).is_file():
        what = f"is a state without {MODEL_FILE}"
        remedy = "name it inside its study's folder"
    return InvalidValueError(f"{folder} {what}", field="checkpoint", value=folder, remedy=remedy)


def _wrong_run(arm: str | None, seed: int | None, problem: str) -> InvalidValueError:
    """The error that a run is chosen where the folder leaves no choice."""
    field, value = ("seed", seed) if arm is None else ("arm", arm)
    return InvalidValueError(f"is {value}, but {problem}", field=field, value=value, remedy="leave it out")


def _find_study(folder: Path) -> Path | None:
    """The study's folder that a folder is, or is a segment or a state of; None if there is none."""
    here = folder.resolve()
    for candidate in (here, *here.parents[:3]):
        if (candidate / "study.json").is_file():
            inside = here.relative_to(candidate).parts
            return candidate if not inside or inside[0] == "segments" else None
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """The segments that lead to a mark of an arm with a seed; `is_comparison`: at equal compute."""

    arm: str
    seed: int
    keys: tuple[str, ...]
    is_comparison: bool

    def matches(self, arm: str | None, seed: int | None) -> bool:
        """Whether it is a run of an arm and a seed; None stands for any."""
        return arm in (None, self.arm) and seed in (None, self.seed)


def _find_in_study(study_folder: Path, folder: Path, arm: str | None, seed: int | None) -> DeepenCheckpoint:
    content = _read_study_json(study_folder)
    study, runs = content.study, content.runs
    inside = folder.resolve().relative_to(study_folder).parts
    if len(inside) > 1:
        key = inside[1]
        run = next((run for run in runs if key in run.keys and run.matches(arm, seed)), None)
        if run is None and (arm is not None or seed is not None):
            raise _wrong_run(arm, seed, f"{folder} is not a state of such a run")
    else:
        run = _choose_run(study_folder, runs, arm, seed)
        key = _newest_key(study_folder, run)
    state, problems = find_good_state(study_folder / "segments" / key / "state")
    for problem in problems:
        _log.warning("%s; using %s instead", problem, state)
    header = read_header(state)
    if header.depth == 0:
        raise InvalidValueError(f"{state} has no blocks yet", field="checkpoint", value=folder)
    trained = read_run(
        study_folder,
        key,
        header,
        study,
        arm="" if run is None else run.arm,
        fingerprint=content.fingerprint,
    )
    earlier = () if study.start is None else study.start.history
    return DeepenCheckpoint(
        folder=state,
        model=replace(study.model, depth=len(header.layers) or header.depth),
        layers=header.layers,
        seed=header.seed,
        progress=header.progress,
        tokenizer=_find_tokenizer(study_folder, study, content.tokenizer_sha256),
        history=(*earlier, trained),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _StudyJson:
    study: Study
    fingerprint: str
    tokenizer_sha256: str
    runs: tuple[_Run, ...]


def _read_study_json(folder: Path) -> _StudyJson:
    path = folder / "study.json"
    try:
        content = durable.read_json(path) or {}
        study = Study.from_json(content.get("study"))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be used: {error}", remedy="restore it from a copy") from None
    data = (content.get("inputs") or {}).get("data") or {}
    return _StudyJson(
        study=study,
        fingerprint=str(data.get("fingerprint", "")),
        tokenizer_sha256=str(data.get("tokenizer_sha256", "")),
        runs=tuple(_read_runs(folder, content)),
    )


def _read_runs(folder: Path, content: Mapping[str, Any]) -> list[_Run]:
    """The runs that study.json lists; those of results.json where it lists none."""
    routes = content.get("routes")
    if isinstance(routes, list):
        return [
            _Run(
                arm=route["arm"],
                seed=route["seed"],
                keys=tuple(route["keys"]),
                is_comparison=route["accounting"] == EXACT_FLOPS and route["budget_share"] == 1.0,
            )
            for route in routes
        ]
    try:
        results = durable.read_json(folder / "results.json") or {}
    except durable.DamagedError:
        return []
    return [
        _Run(arm=str(arm["name"]), seed=arm["seed"], keys=tuple(arm["segments"]), is_comparison=True)
        for arm in results.get("arms", ())
    ]


def _choose_run(folder: Path, runs: Sequence[_Run], arm: str | None, seed: int | None) -> _Run:
    """The run at equal compute of an arm and a seed, which may be left out where there is one."""
    compared = [run for run in runs if run.is_comparison]
    chosen = [run for run in compared if run.matches(arm, seed)]
    if len(chosen) == 1:
        return chosen[0]
    if not compared:
        raise InvalidValueError(f"{folder} has no runs yet", field="checkpoint", value=folder)
    arms, seeds = list(dict.fromkeys(run.arm for run in compared)), sorted({run.seed for run in compared})
    has = f"{folder} has arms {', '.join(map(repr, arms))} and seeds {', '.join(map(str, seeds))}"
    if chosen:
        several = [f"`{name}`" for name in ("arm", "seed") if len({getattr(run, name) for run in chosen}) > 1]
        choice = f"choose one with {' and '.join(several)}, or name the folder of a state"
        raise InvalidValueError(has, field="checkpoint", value=folder, remedy=choice)
    if arm is not None and arm not in arms:
        raise InvalidValueError(f"{arm!r} is unknown: {has}", field="arm", value=arm, allowed=arms)
    raise InvalidValueError(f"is {seed}, but {has}", field="seed", value=seed)


def _newest_key(folder: Path, run: _Run) -> str:
    """The last segment of a run that has a state."""
    segments = folder / "segments"
    found = [key for key in run.keys if has_state(segments / key / "state")]
    if not found:
        raise InvalidValueError(
            f"{folder} has no state of arm {run.arm!r} with seed {run.seed} yet", field="checkpoint", value=folder
        )
    if found[-1] != run.keys[-1] or not (segments / found[-1] / "done.json").exists():
        _log.warning("arm %r with seed %d is not finished: this is its newest state", run.arm, run.seed)
    return found[-1]


def _find_tokenizer(folder: Path, study: Study, sha256: str) -> Path | None:
    """The folder of a study's tokenizer: its own copy, or that of its data if it is still the same."""
    for candidate in (folder / "tokenizer", folder / "data", Path(study.data)):
        if find_tokenizer(candidate) and hash_tokenizer(candidate) == sha256:
            return candidate
    return None
