"""A study's folder: study.json, one folder per segment, results.json.

study.json records the study, and the sha256 or fingerprint of every file that its results depend on. A folder can
be continued with the same study or a larger one: arms, seeds, anchors, continual shares, accountings, depths and
trials may be added, but not left out, and the budget may rise (see `larger_budget`). Data and task files are
compared by content, so they may have moved.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.study.compile.keys import comparable
from deepen.study.define.study import Study
from deepen.study.store.errors import StoreError
from deepen.study.store.larger_budget import check_budget, continue_to_budget
from deepen.study.store.lock import HOLDER, LOCK, WriterLock
from deepen.study.store.segment_folder import SegmentFolder

_CAN_GROW = ("arms", "seeds", "anchors", "continual_shares", "accountings", "earlier_tokens", "depths")
"""Lists of a study to which entries may be added in the same folder."""

_BEFORE_STUDY_JSON = (LOCK, HOLDER, f"{HOLDER}.tmp", "study.json.tmp", "data")
"""Files that a first run may leave if it is killed before it writes study.json."""


class Store:
    """The folder of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def segment(self, key: str, check_owner: Callable[[], None] = lambda: None) -> SegmentFolder:
        """The folder of a segment.

        Args:
            key: key of the segment.
            check_owner: called before each write; raises if another process has taken the segment over.
        """
        return SegmentFolder(self.folder / "segments" / key, check_owner)

    def segment_keys(self) -> list[str]:
        """Keys of the segments that have a folder."""
        return sorted(path.name for path in self.folder.glob("segments/*") if path.is_dir())

    def lock(self) -> WriterLock:
        """The right to write in this folder, for a `with` block."""
        return WriterLock(self.folder)

    def recorded(self, key: str) -> Any:
        """The value of a key in study.json; None if it is missing."""
        return (self._read_study_json() or {}).get(key)

    def newest_state(self) -> Path | None:
        """The folder of the state that was saved last; None if there is no state."""
        manifests = list(self.folder.glob("segments/*/state/manifest.json"))
        return max(manifests, key=lambda path: path.stat().st_mtime).parent if manifests else None

    def check(self, study: Study, inputs: Mapping[str, Any] | None = None) -> None:
        """Raise a StoreError unless the folder is new, empty, or holds this study or a smaller one.

        Args:
            study: the study to run.
            inputs: content hashes of the files that its results depend on, as far as they are known.
        """
        existing = durable.nearest_existing(self.folder)
        if not existing.is_dir():
            raise StoreError(f"{existing} is a file", field="folder", value=self.folder, remedy="name a folder")
        if existing != self.folder:
            return
        if not (self.folder / "study.json").exists():
            if any(entry.name not in _BEFORE_STUDY_JSON for entry in self.folder.iterdir()):
                raise StoreError(
                    f"{self.folder} holds something else",
                    field="folder",
                    value=self.folder,
                    remedy="name a new folder or a study's own",
                )
            return
        recorded = self._read_study_json() or {}
        if not isinstance(recorded.get("study"), dict):
            raise StoreError(
                f"{self.folder / 'study.json'} is damaged: it has no study",
                remedy="restore it from a copy, or name another `folder`",
            )
        self._check_study(self.read_study(recorded["study"]), study)
        self._check_inputs(recorded, inputs or {})

    def continue_study(self, study: Study) -> Study:
        """The study as this folder continues it, if it holds another budget of it; see `larger_budget`."""
        content = self.recorded("study")
        return study if content is None else continue_to_budget(study, self.read_study(content))

    def with_recorded_additions(self, study: Study) -> Study:
        """The study, extended by the entries of `_CAN_GROW` that this folder has in addition."""
        content = self.recorded("study")
        if content is None:
            return study
        recorded = self.read_study(content)
        additions: dict[str, Any] = {}
        for key in _CAN_GROW:
            own = getattr(study, key)
            additions[key] = (*own, *_missing(own, getattr(recorded, key)))
        return replace(study, **additions)

    def read_study(self, content: Any) -> Study:
        """The study that study.json records."""
        try:
            return Study.from_json(content)
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{self.folder / 'study.json'} has no study that this version of deepen can read ({error})",
                remedy="restore it from a copy, or name another `folder`",
            ) from None

    def _check_study(self, recorded: Study, study: Study) -> None:
        differing = _find_differing(recorded, study)
        if set(differing) <= {"tokens", "earlier_tokens"}:
            check_budget(study, recorded, self.folder)
        if differing:
            old, new = comparable(recorded), comparable(study)
            difference = _describe_difference(differing[0], old.get(differing[0]), new[differing[0]])
            remedy = "name another `folder`, or request the same study or more of it"
            if study.tokens > recorded.tokens:
                remedy = "a larger budget continues this one if nothing else changes; or name another `folder`"
            raise StoreError(
                f"{self.folder} holds a study with other settings ({', '.join(differing)}; {difference})",
                field="folder",
                value=self.folder,
                remedy=remedy,
            )

    def _check_inputs(self, recorded: dict[str, Any], inputs: Mapping[str, Any]) -> None:
        before = dict(_flat(recorded.get("inputs") or {}))
        if "data_fingerprint" in recorded:  # deepen 0.1 recorded only this
            before.setdefault("data.fingerprint", recorded["data_fingerprint"])
        differing = [name for name, found in _flat(inputs) if before.get(name, found) != found]
        if differing:
            raise StoreError(
                f"{_describe_input(differing[0])} differs from what {self.folder} was trained and evaluated with",
                remedy="restore it, or name another `folder`",
            )

    def open(self, study: Study, inputs: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> None:
        """Create the folder if necessary, and write study.json.

        Args:
            study: the study to run.
            inputs: content hashes of the files that its results depend on.
            provenance: further entries of study.json, such as versions and machine.

        Raises:
            StoreError: the folder holds another study.
        """
        self.check(study, inputs)
        self.folder.mkdir(parents=True, exist_ok=True)
        durable.write_json(
            self.folder / "study.json", {"study": study.to_json(), "inputs": inputs, **(provenance or {})}
        )

    def _read_study_json(self) -> dict[str, Any] | None:
        try:
            return durable.read_json(self.folder / "study.json")
        except durable.DamagedError as error:
            raise StoreError(str(error), remedy="restore it from a copy, or name another `folder`") from None


def _missing(own: Sequence[Any], recorded: Sequence[Any]) -> list[Any]:
    """The recorded entries of a list that the study itself does not have."""
    known = [comparable(entry) for entry in own]  # a recorded recipe function is not the function
    return [entry for entry in recorded if comparable(entry) not in known]


def _find_differing(recorded: Study, study: Study) -> list[str]:
    """The fields in which a study is not the one that a folder records, or more of it."""
    old, new = comparable(recorded), comparable(study)
    if recorded.tokens in study.earlier_tokens:
        old["tokens"] = new["tokens"]
    return [key for key in new if not _continues(key, old.get(key), new[key])]


def _continues(key: str, old: Any, new: Any) -> bool:
    """Whether a folder whose study has the value `old` can be continued with `new`."""
    if key in _CAN_GROW and isinstance(old, list):
        return all(entry in new for entry in old)
    if key == "tuning" and new is not None:
        return old is None or _has_trials(new, old)
    return bool(old == new)


def _has_trials(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether a tuning has all trials of another one."""
    more = all(new[key] >= old[key] for key in ("trials", "repeats"))
    more_values = all(set(values) <= set(new["options"].get(name, ())) for name, values in old["options"].items())
    same = all(new[key] == old[key] for key in ("seed", "share"))
    return same and more and more_values and set(old["rates"]) <= set(new["rates"])


def _describe_difference(key: str, old: Any, new: Any) -> str:
    """The first value that differs, such as "settings.on_spike was stop", or "arms had 'small'"."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("type") != new.get("type"):  # their fields cannot be compared
            return f"{key} was {old.get('type')}"
        for inner in sorted(old.keys() | new.keys()):
            if old.get(inner) != new.get(inner):
                return _describe_difference(f"{key}.{inner}", old.get(inner), new.get(inner))
    if isinstance(old, list) and isinstance(new, list):
        for entry in old:
            if isinstance(entry, dict) and "name" in entry and entry not in new:
                same = next((each for each in new if each.get("name") == entry["name"]), None)
                if same is None:
                    return f"{key} had {entry['name']!r}"
                return _describe_difference(f"{key}.{entry['name']}", entry, same)
    return f"{key} was {'not set' if old is None else old}"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by names such as `data.fingerprint`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _describe_input(name: str) -> str:
    """An input of a study in words, such as "the file of task hellaswag"."""
    kind, _, rest = name.partition(".")
    if kind == "tasks":
        return f"the file of task {rest}"
    if kind == "recipes":
        return f"what the recipe of arm {rest} returns"
    return "the tokenizer" if rest == "tokenizer_sha256" else "the data"
