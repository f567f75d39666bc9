"""The plan of a study: its tree, compiled again whenever training has decided something, and study.json with it.

compiled without decisions     study.json keeps the routes, trials and lineage that it has
states on disk are checked     from now on decisions can be read from them
compiled with decisions        study.json gets the routes, trials and lineage of this tree, and of each later one
"""

from collections.abc import Mapping
from typing import Any

from deepen.data.shards import Dataset
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.study import Study
from deepen.study.run.decisions import Decisions, check_choices
from deepen.study.run.job import make_jobs
from deepen.study.run.scheduler import WorkPlan, find_pending
from deepen.study.store.larger_budget import log_continuation
from deepen.study.store.lineage import Lineage
from deepen.study.store.study_folder import Store


class Planner:
    """Compiles a study, again whenever training has decided something, and records the tree in study.json.

    Args:
        study, store, dataset: the study, its folder, its data.
        inputs: content hashes of the files that its results depend on.
        provenance: how the study is run, for study.json.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        dataset: Dataset,
        inputs: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> None:
        self._study, self._store, self._inputs, self._provenance = study, store, inputs, provenance
        self._decisions = Decisions(store)
        self.tree = compile_study(study, dataset.fingerprint)
        _log_continuation(self.tree, store)
        self._knows_decisions = not self.tree.checks
        self._record()
        self.dataset = dataset.with_tokenizer_in(store.folder / "tokenizer")

    @property
    def plan(self) -> WorkPlan:
        """What is to be trained."""
        jobs = make_jobs(self.tree, self.dataset, self._store.folder, self._inputs["tasks"])
        return WorkPlan(tree=self.tree, jobs=jobs)

    @property
    def expected_tree(self) -> Tree:
        """The tree by the losses of the trials that are on disk, which are not checked yet: for a forecast."""
        if not self.tree.tuning.arms:
            return self.tree
        find_loss = Decisions(self._store).find_loss
        return compile_study(self._study, self.dataset.fingerprint, find_loss=find_loss)

    def refresh(self) -> None:
        """Compile the study with the decisions and the losses of trials so far."""
        decisions = self._decisions
        self.tree = compile_study(self._study, self.dataset.fingerprint, decisions.find, decisions.find_loss)
        check_choices(self.tree)
        decisions.record_losses(self.tree)

    def replan(self) -> WorkPlan | None:
        """What is to be trained after the decisions so far; None if that has not changed.

        It is called when the states are checked from which decisions follow.
        """
        before, decisions = self.tree, self._decisions
        if before.can_change(decisions.find_loss):
            self.refresh()
            decisions.log_choices(before, self.tree)
        is_same = self.tree.has_same_training(before)
        if not is_same:
            decisions.log_new(before, self.tree)
        if not (is_same and self._knows_decisions):
            self._knows_decisions = True
            self._record()
        return None if is_same else self.plan

    def _record(self) -> None:
        """Write study.json; until the decisions are known, with the routes that it has already."""
        entries = _describe_tree(self.tree)
        if not self._knows_decisions:
            recorded = {name: self._store.recorded(name) for name in entries}
            entries |= {name: entry for name, entry in recorded.items() if entry is not None}
        fingerprint = {"data_fingerprint": self.tree.data_fingerprint}
        self._store.open(self._study, self._inputs, {**fingerprint, **self._provenance, **entries})


def _describe_tree(tree: Tree) -> dict[str, Any]:
    """The entries of study.json that follow from decisions, too."""
    return {
        "lineage": Lineage.from_tree(tree).to_json(),
        "routes": [route.to_json() for route in tree.routes],
        "trials": [{**route.to_json(), "peak": trial.peak} for trial, route in tree.tuning.runs],
    }


def _log_continuation(tree: Tree, store: Store) -> None:
    """Log how much is trained already of a study that continues from a smaller budget."""
    recorded = store.recorded("study")
    if recorded is not None and recorded["tokens"] < tree.study.tokens:
        waiting = [tree.nodes[key] for key in tree.waiting if store.segment(key).done is None]
        pending = sum(node.segment.tokens for node in (*find_pending(tree, store), *waiting))
        log_continuation(tree.study, recorded["tokens"], tree.tokens - pending, tree.tokens)
