"""Fixtures of tests of many processes."""

from collections.abc import Iterator

import pytest

from ranks import Pools, Ranks


@pytest.fixture(scope="module")
def pools() -> Iterator[Pools]:
    """Pools by number of processes, each started when a test first asks for it."""
    started: dict[int, Ranks] = {}

    def pool(size: int) -> Ranks:
        if size not in started:
            started[size] = Ranks(size)
        return started[size]

    yield pool
    for ranks in started.values():
        ranks.close()
