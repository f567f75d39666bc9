"""The segment of a finished study that is trained again, and the segments that lead to it from a saved state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from deepen.errors import InvalidValueError, join_or, nearest
from deepen.schedule.recipe import RecordedRecipe
from deepen.study.compile.keys import canonical
from deepen.study.compile.tree import Node, Tree, compile_study
from deepen.study.define.study import Study
from deepen.study.run.decisions import Decisions
from deepen.study.store.errors import StoreError
from deepen.study.store.study_folder import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What to train again.

    Attributes:
        path: segments, each from the end of the one before; the last is compared with its evaluations too.
        arms: names of the arms that contain it.
        candidates: from how many segments it was drawn; 1 if it was named.
    """

    path: tuple[Node, ...]
    arms: tuple[str, ...]
    candidates: int

    @property
    def node(self) -> Node:
        """The segment."""
        return self.path[-1]

    @property
    def start(self) -> str | None:
        """The key of the segment from whose saved state the training begins; None if it begins with a new run."""
        return self.path[0].parent


def read_tree(store: Store, study: Study | None = None) -> Tree:
    """The tree of a study that has run, as its folder records it.

    Args:
        store: the study's folder.
        study: the same study with the functions of its own recipes, which study.json only names; None if it has
            none, or to read the study from study.json.

    Raises:
        InvalidValueError: the folder has no study that this version can compile, or another one than `study`.
    """
    recorded = store.recorded("study")
    if recorded is None:
        raise StoreError(
            f"{store.folder} has no study.json",
            field="folder",
            value=store.folder,
            remedy="name the folder of a study that has run",
        )
    if study is None:
        study = store.read_study(recorded)
        own = [arm.name for arm in study.arms if isinstance(arm.recipe, RecordedRecipe)]
        if own:
            raise InvalidValueError(
                f"arm {own[0]!r} has a recipe of its author's, which study.json only names",
                remedy="name the author's Python file with `code`",
            )
    else:
        store.check(study)
    fingerprint = store.recorded("data_fingerprint") or ""
    decisions = Decisions(store)
    return compile_study(study, fingerprint, decisions.find, decisions.find_loss)


def choose(
    tree: Tree, store: Store, *, key: str = "", arm: str = "", draw: int = 0, from_start: bool = False
) -> Choice:
    """Choose a finished segment, and the path to it from the nearest state on disk.

    Args:
        tree: the compiled study.
        store: its folder.
        key: the segment's key or its beginning; empty to draw one.
        arm: draw among the segments of this arm; empty for all arms.
        draw: seed of the draw; every token that was trained is as likely to be drawn.
        from_start: train its whole run, from a new model, instead of continuing from a saved state.

    Raises:
        InvalidValueError: there is no such segment, or none is finished.
    """
    names = dict.fromkeys(route.arm.name for route in tree.routes)
    if arm and arm not in names:
        raise InvalidValueError(
            f"{arm!r} is unknown{nearest(arm, names)}: use {join_or(names)}", field="arm", value=arm, allowed=names
        )
    arms: dict[str, dict[str, None]] = {}
    trials = ((f"a trial of {trial.arm.name}", route) for trial, route in tree.tuning.runs)
    for name, route in (*((route.arm.name, route) for route in tree.routes), *trials):
        for each in route.keys:
            arms.setdefault(each, {})[name] = None
    done = [each for each in tree.nodes if store.segment(each).done is not None and (not arm or arm in arms[each])]
    if not done:
        raise StoreError(
            f"{store.folder} has no finished segment that this version of deepen trains",
            field="folder",
            value=store.folder,
            remedy="verify it with the version that study.json names, or run the study first",
        )
    found = [each for each in done if each.startswith(key)]
    if key and len(found) != 1:
        what = "is the beginning of several segments" if found else "is not a finished segment of this study"
        raise InvalidValueError(
            f"{key!r} {what}", field="segment", value=key, remedy=f"use one of {store.folder / 'segments'}"
        )
    found = sorted(found)
    lengths = [tree.nodes[each].segment.tokens for each in found]
    [chosen] = Random(draw).choices(found, weights=lengths)
    path = tuple(reversed(list(_lead_back(tree, store, chosen, from_start=from_start))))
    return Choice(path=path, arms=tuple(arms[chosen]), candidates=len(found))


def _lead_back(tree: Tree, store: Store, key: str, *, from_start: bool) -> Iterator[Node]:
    """The segment and those before it, back to one whose parent has a good state."""
    node = tree.nodes[key]
    yield node
    while node.parent is not None and (from_start or not _has_good_state(store, node.parent)):
        node = tree.nodes[node.parent]
        yield node


def _has_good_state(store: Store, key: str) -> bool:
    folder = store.segment(key)
    return folder.done is not None and folder.has_state and folder.final_state_problem(verify=True) is None


def check_records(choice: Choice, store: Store) -> None:
    """Check the logs and the descriptions of the segments of a path.

    Raises:
        StoreError: a log is damaged, or a spec.json describes another segment.
    """
    for node in choice.path:
        folder = store.segment(node.key)
        for problem in (*folder.log_problems(), *_spec_problems(node, folder.spec or {})):
            raise StoreError(problem, remedy="restore it from a copy, or choose another `segment`")


def _spec_problems(node: Node, spec: Mapping[str, Any]) -> Iterator[str]:
    """How a segment's spec.json differs from the segment to which study.json leads.

    Fields that only one of them has are those of another version of deepen.
    """
    recipe, recorded = canonical(node.segment), spec.get("recipe") or {}
    differs = [name for name in recipe.keys() & recorded.keys() if recipe[name] != recorded[name]]
    if (spec.get("parent"), spec.get("seed")) != (node.parent, node.seed) or differs:
        what = f" ({', '.join(sorted(differs))})" if differs else ""
        yield f"segments/{node.key}/spec.json does not describe the segment to which study.json leads{what}"
