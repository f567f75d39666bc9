"""Retention policies: which states stay on disk when they are no longer needed. Does not need torch.

A state at a mark, or one that pending segments start from, always stays. A policy decides about the others. It is
not part of a study's identity: each run in a folder may use another one. To add a policy, add an entry to
`RETENTION_POLICIES`:

    RetentionPolicy(name="forks", help="...", keeps=lambda children: children > 1)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deepen.errors import InvalidValueError, join_or, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionPolicy:
    """A rule for states that no pending segment needs.

    Attributes:
        name: the name by which it is chosen.
        help: the states that stay, in a few words.
        keeps: whether a state stays, given the number of segments that start from it.
        removes_states: whether the policy removes any states.
        keeps_trunk: whether states from which a larger budget would continue stay (see `find_trunk`).
    """

    name: str
    help: str
    keeps: Callable[[int], bool]
    removes_states: bool = True
    keeps_trunk: bool = False


RETENTION_POLICIES: Mapping[str, RetentionPolicy] = {
    policy.name: policy
    for policy in (
        RetentionPolicy(
            name="last", help="states at the marks, and those still needed", keeps=lambda children: False
        ),
        RetentionPolicy(
            name="trunk",
            help="also those from which a larger budget would continue",
            keeps=lambda children: False,
            keeps_trunk=True,
        ),
        RetentionPolicy(
            name="forks",
            help="also those from which more than one segment starts",
            keeps=lambda children: children > 1,
        ),
        RetentionPolicy(
            name="all",
            help="the final state of every segment",
            keeps=lambda children: True,
            removes_states=False,
        ),
    )
}


DEFAULT_POLICY = "trunk"
"""The policy of a run that names none."""


def get_retention_policy(name: str) -> RetentionPolicy:
    """The policy with this name.

    Raises:
        InvalidValueError: the name is unknown.
    """
    if name not in RETENTION_POLICIES:
        raise InvalidValueError(
            f"{name!r} is unknown{nearest(name, RETENTION_POLICIES)}",
            field="keep",
            value=name,
            remedy=f"use {join_or(RETENTION_POLICIES)}",
            allowed=RETENTION_POLICIES,
        )
    return RETENTION_POLICIES[name]
