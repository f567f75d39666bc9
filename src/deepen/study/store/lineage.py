"""The lineage of a study's segments: which segments start from which. It decides which states can be pruned.

A state is pruned only when every state that was trained from it is good. So if damage is found later, training can
continue from the state just before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepen.study.compile.tree import Tree, find_trunk
from deepen.study.store.errors import StoreError
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.study_folder import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """The part of a study's tree that decides which states are needed.

    Attributes:
        children: for each segment, the keys of the segments that start from its final state.
        marks: keys of the segments that end in a mark.
        trunk: keys of the segments from whose ends a larger budget would continue.
        trial_ends: keys of the segments at whose ends trials end, of which only the loss is needed.
        given_up: keys of the segments of trials that diverged, which are not trained.
    """

    children: Mapping[str, Sequence[str]]
    marks: frozenset[str]
    trunk: frozenset[str] = frozenset()
    trial_ends: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()

    @classmethod
    def from_tree(cls, tree: Tree) -> "Lineage":
        """The lineage of a compiled study."""
        return cls(
            children=tree.children(),
            marks=tree.mark_keys,
            trunk=find_trunk(tree),
            trial_ends=tree.trial_ends - tree.mark_keys,
            given_up=tree.given_up,
        )

    @classmethod
    def read(cls, store: Store) -> "Lineage":
        """The lineage that study.json records.

        Raises:
            StoreError: study.json has no lineage.
        """
        recorded = store.recorded("lineage")
        if recorded is None:
            raise StoreError(
                f"{store.folder} does not record which states are needed",
                remedy="run its command once with this version of deepen (nothing is trained twice), then prune",
            )
        return cls(
            children=recorded["children"],
            marks=frozenset(recorded["marks"]),
            trunk=frozenset(recorded.get("trunk", ())),
            trial_ends=frozenset(recorded.get("trial_ends", ())),
            given_up=frozenset(recorded.get("given_up", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """The lineage as study.json records it."""
        return {
            "children": {key: list(keys) for key, keys in self.children.items()},
            "marks": sorted(self.marks),
            "trunk": sorted(self.trunk),
            "trial_ends": sorted(self.trial_ends),
            "given_up": sorted(self.given_up),
        }

    def keeps(self, key: str, policy: RetentionPolicy) -> bool:
        """Whether a segment's final state stays on disk for good."""
        in_trunk = policy.keeps_trunk and key in self.trunk
        return key in self.marks or in_trunk or policy.keeps(len(self.children.get(key, ())))

    def can_prune(self, key: str, store: Store, policy: RetentionPolicy, *, verify: bool = False) -> bool:
        """Whether a segment's final state can be removed.

        Args:
            key: key of the segment.
            store: the study's folder.
            policy: which states stay although they are not needed.
            verify: hash every byte of the later states first.
        """
        children = self.children.get(key, ())
        if self.keeps(key, policy) or not (children or key in self.trial_ends):
            return False
        if key in self.given_up:
            return True
        return store.segment(key).done is not None and all(
            self._is_replaced_by(child, store, verify) for child in children
        )

    def _is_replaced_by(self, key: str, store: Store, verify: bool) -> bool:
        """Whether a segment is done and its final state is good; if that is pruned, the states after it count."""
        folder = store.segment(key)
        if key in self.given_up:
            return True
        if folder.done is None:
            return False
        if folder.has_state:
            return folder.final_state_problem(verify=verify) is None
        children = self.children.get(key, ())
        return (
            key not in self.marks
            and (bool(children) or key in self.trial_ends)
            and all(self._is_replaced_by(child, store, verify) for child in children)
        )

    def prune(self, keys: Iterable[str], store: Store, policy: RetentionPolicy) -> None:
        """Remove the final states of these segments, where possible."""
        for key in keys:
            if store.segment(key).has_state and self.can_prune(key, store, policy):
                store.segment(key).remove_state()
