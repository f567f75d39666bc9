"""Whether arms that grow beat every constant depth that a study has trained, at each budget.

Growing is shown to pay at a budget where an arm wins against all constant depths there, the best of them included,
whichever that is. Each comparison is one at the confidence of its own joint intervals, and none is selected by its
result: an intersection-union test (Berger 1982, Technometrics 24:295), which needs no correction for their number.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from deepen.study.results.schema import ArmResult, Outcome, Verdict


def find_constant_depths(arms: Sequence[ArmResult]) -> tuple[str, ...]:
    """The names of the arms of constant depth."""
    return tuple(dict.fromkeys(arm.name for arm in arms if arm.has_constant_depth))


def find_at_edge(arms: Sequence[ArmResult]) -> frozenset[str]:
    """The names of the arms whose chosen rate is the lowest or the highest that was tried."""
    return frozenset(arm.name for arm in arms if arm.rate_at_edge)


def with_depths(
    verdicts: Sequence[Verdict], against: Mapping[str, Sequence[Verdict]], at_edge: Collection[str] = ()
) -> tuple[Verdict, ...]:
    """Add to the verdicts of arms that grow which constant depths they beat.

    Args:
        verdicts: the verdicts against a study's baseline.
        against: for each arm of constant depth, the verdicts against it.
        at_edge: the arms whose chosen rate is the lowest or the highest that was tried.
    """
    outcomes = {
        (depth, verdict.arm, verdict.budget_share): verdict.outcome
        for depth, judged in against.items()
        for verdict in judged
        if verdict.is_exact
    }

    def add(verdict: Verdict) -> Verdict:
        found = {
            depth: outcome
            for depth in against
            if (outcome := outcomes.get((depth, verdict.arm, verdict.budget_share))) is not None
        }
        beaten = tuple(depth for depth in found if found[depth] is Outcome.WINS)
        return replace(
            verdict,
            depths_beaten=beaten,
            depths_not_beaten=tuple(depth for depth in found if depth not in beaten),
            depths_better=tuple(depth for depth in found if found[depth] is Outcome.LOSES),
            depths_at_edge=tuple(depth for depth in beaten if depth in at_edge),
        )

    return tuple(
        add(verdict) if verdict.is_exact and verdict.arm not in against else verdict for verdict in verdicts
    )
