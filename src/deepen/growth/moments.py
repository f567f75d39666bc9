"""What happens to the optimizer's moments at growth."""

MOMENT_POLICIES = {
    "keep": "old parameters keep theirs, new ones begin empty",
    "copy": "moments and step counts travel with copied weights; fresh blocks begin empty",
    "reset": "all begin empty",
}


def check_policy(policy: str) -> None:
    """Raise a ValueError for a policy that does not exist."""
    if policy not in MOMENT_POLICIES:
        raise ValueError(f"moments {policy!r} is unknown: use {', '.join(MOMENT_POLICIES)}")
