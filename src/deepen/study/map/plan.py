"""The plan of a map: what its studies train, and what they share. Nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepen.errors import InvalidValueError
from deepen.study.compile.study_plan import plan_study
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class MapPlan:
    """The trees of a map's studies, in their order."""

    trees: tuple[Tree, ...]

    @property
    def tokens(self) -> int:
        """Tokens that the map trains."""
        return sum(tree.tokens for tree in self.trees)

    @property
    def tokens_if_separate(self) -> int:
        """Tokens that the same runs would train if none shared a segment."""
        return sum(tree.tokens_if_separate for tree in self.trees)

    @property
    def flops(self) -> int:
        """Exact FLOPs that the map trains."""
        return sum(tree.flops for tree in self.trees)


def plan_map(studies: Sequence[Study]) -> MapPlan:
    """Compile all studies of a map.

    Raises:
        InvalidValueError: an arm does not fit a model or its tokens; the message names the arm.
    """
    return MapPlan(trees=tuple(compile_study(study, data_fingerprint="") for study in studies))


def check_map(studies: Sequence[Study], folder: Path) -> None:
    """Raise an InvalidValueError unless all studies of a map can be planned, and kept in this folder."""
    names = [study.model.name for study in studies]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InvalidValueError(
            f"repeat {min(repeated)!r}: give each model once, and its own name", field="models", value=names
        )
    if (folder / "study.json").exists():
        raise InvalidValueError(
            f"{folder} holds a study, not a map", field="folder", value=folder, remedy="name another folder"
        )
    for study in studies:
        plan_study(study)
