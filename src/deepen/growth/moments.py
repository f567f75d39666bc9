"""What happens at growth to the optimizer's moments, the state that it keeps for each parameter."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepen.errors import look_up


@dataclass(frozen=True, kw_only=True, slots=True)
class MomentPolicy:
    """A rule for the moments of old and new blocks.

    Attributes:
        name, summary: its name, and an explanation in a few words.
        keeps: whether old parameters keep their moments.
        copies: whether the copy of a block also gets a copy of its moments and step counts.
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
        InvalidValueError: the name is unknown.
    """
    return look_up(MOMENT_POLICIES, name, field="moments")
