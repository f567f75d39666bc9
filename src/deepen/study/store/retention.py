"""Which states are kept: those that a mark is measured at, those still needed, and what was asked for beyond.

A state goes only once every state that came after it is good; so whatever is damaged, there is always one to go
on from that is not further back than it has to be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepen.study.compile.tree import Tree
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store, StoreError
from deepen.train.checkpoint.state_files import StateError, read_progress
from deepen.train.checkpoint.state_folder import find_good_state


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What of a tree decides which states are needed: who starts from whom, and where marks stand."""

    children: Mapping[str, Sequence[str]]
    marks: frozenset[str]

    @staticmethod
    def of(tree: Tree) -> "Lineage":
        """That of a tree."""
        return Lineage(children=tree.children(), marks=tree.mark_keys)

    def described(self) -> dict[str, Any]:
        """As study.json has it."""
        return {"children": {key: list(keys) for key, keys in self.children.items()}, "marks": sorted(self.marks)}

    @staticmethod
    def recorded(store: Store) -> "Lineage":
        """That of a study's folder.

        Raises:
            StoreError: study.json does not tell it.
        """
        said = store.recorded("lineage")
        if said is None:
            raise StoreError(
                f"{store.folder} does not say which states are needed: run its command once more with this deepen "
                "(what is there is not trained again), then prune"
            )
        return Lineage(children=said["children"], marks=frozenset(said["marks"]))

    def can_prune(self, key: str, store: Store, keep: str, *, verify: bool = False) -> bool:
        """Whether the state of a segment is no longer needed, and every state that replaces it is good."""
        children = self.children.get(key, ())
        if keep == "all" or key in self.marks or not children or (keep == "forks" and len(children) > 1):
            return False
        return store.segment(key).done is not None and all(
            self._replaced_by(child, store, verify) for child in children
        )

    def _replaced_by(self, key: str, store: Store, verify: bool) -> bool:
        """Whether a segment is done and its final state, or what came after where that is gone, is good."""
        folder = store.segment(key)
        if folder.done is None:
            return False
        if folder.has_state:
            return final_state_problem(folder, verify=verify) is None
        children = self.children.get(key, ())
        return (
            key not in self.marks and bool(children) and all(self._replaced_by(c, store, verify) for c in children)
        )

    def drop(self, keys: Iterable[str], store: Store, keep: str) -> None:
        """Remove those states of `keys` that may go."""
        for key in keys:
            if store.segment(key).has_state and self.can_prune(key, store, keep):
                store.segment(key).drop_state()


def final_state_problem(folder: SegmentFolder, *, verify: bool = False) -> str | None:
    """What is wrong with the state of a segment, None where it is good and, of a finished one, its last."""
    try:
        found, problems = find_good_state(folder.folder / "state", verify=verify)
        if problems:
            return problems[0]
        at, done = read_progress(found).tokens, folder.done
    except StateError as error:
        return str(error)
    if done is not None and at != done["progress"]["tokens"]:
        return f"{found} is of {at:,} tokens, and the segment is done at {done['progress']['tokens']:,}"
    return None
