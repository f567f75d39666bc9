"""Whether results.json follows from the logs: its marks, and the outcomes to which its losses lead."""

from dataclasses import dataclass, replace

from deepen.data.shards import Dataset
from deepen.study.compile.tree import Tree
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.collect import collect
from deepen.study.results.results_file import RESULTS_FILE, load_results
from deepen.study.results.schema import MarkResult, Results, Verdict
from deepen.study.store.study_folder import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsComparison:
    """The comparison of results.json with the logs.

    Attributes:
        marks: how many marks were compared.
        problems: marks that do not follow from the logs, each in a sentence.
        other_outcomes: arms for which this version of deepen comes to another outcome, each in a sentence.
    """

    marks: int
    problems: tuple[str, ...]
    other_outcomes: tuple[str, ...]


def compare_results(tree: Tree, store: Store, dataset: Dataset) -> ResultsComparison:
    """Collect the results of a study again, and compare them with its results.json.

    Raises:
        ResultsError: results.json is missing or damaged.
    """
    recorded = load_results(store.folder)
    collected = collect(tree, store, dataset, machine="", wall_seconds=0.0)
    collected = with_verdicts(replace(collected, looks=recorded.looks))
    old, new = _marks(recorded), _marks(collected)
    problems = []
    for (arm, seed, accounting, share), mark in old.items():
        found = new.get((arm, seed, accounting, share))
        where = f"{RESULTS_FILE}: {arm}, seed {seed}, at {share:g} of the budget"
        if found is None:
            problems.append(f"{where}: the logs have no such mark")
        elif (mark.val_loss, mark.tokens) != (found.val_loss, found.tokens):
            problems.append(
                f"{where}: a loss of {mark.val_loss} after {mark.tokens:,} tokens, but the logs have "
                f"{found.val_loss} after {found.tokens:,}"
            )
    outcomes = {_verdict_key(verdict): verdict.outcome for verdict in collected.verdicts}
    others = [
        f"{verdict.arm}: {verdict.outcome} in {RESULTS_FILE}, {outcomes[_verdict_key(verdict)]} by this version"
        for verdict in recorded.verdicts
        if outcomes.get(_verdict_key(verdict), verdict.outcome) != verdict.outcome
    ]
    return ResultsComparison(marks=len(old), problems=tuple(problems), other_outcomes=tuple(others))


def _marks(results: Results) -> dict[tuple[str, int, str, float], MarkResult]:
    return {
        (arm.name, arm.seed, mark.accounting, mark.budget_share or 0.0): mark
        for arm in results.arms
        for mark in arm.marks
    }


def _verdict_key(verdict: Verdict) -> tuple[str, str, float | None]:
    return verdict.arm, verdict.accounting, verdict.budget_share
