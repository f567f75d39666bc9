"""What happens to the optimizer's moments (whatever it keeps for each parameter) at growth."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepen.errors import InvalidValueError


@dataclass(frozen=True, kw_only=True, slots=True)
class MomentPolicy:
    """A moment policy.

    Attributes:
        name, summary: for people.
        keeps: whether the parameters that were there keep their moments.
        copies: whether a copied block receives a copy of the moments, step counts included.
    """

    name: str
    summary: str
    keeps: bool
    copies: bool


MOMENT_POLICIES: Mapping[str, MomentPolicy] = {
    policy.name: policy
    for policy in (
        MomentPolicy(
            name="keep",
            summary="old parameters keep their moments, new blocks begin with empty ones",
            keeps=True,
            copies=False,
        ),
        MomentPolicy(
            name="copy",
            summary="copied blocks receive copies of moments and step counts, fresh blocks begin with empty ones",
            keeps=True,
            copies=True,
        ),
        MomentPolicy(name="reset", summary="all parameters begin with empty moments", keeps=False, copies=False),
    )
}
"""All moment policies by name. To add one, add an entry."""


def get_moment_policy(name: str) -> MomentPolicy:
    """A moment policy by name.

    Raises:
        InvalidValueError: there is none of that name.
    """
    if name not in MOMENT_POLICIES:
        raise InvalidValueError(
            f"{name!r} is unknown",
            field="moments",
            value=name,
            remedy=f"use {', '.join(MOMENT_POLICIES)}",
            allowed=MOMENT_POLICIES,
        )
    return MOMENT_POLICIES[name]
