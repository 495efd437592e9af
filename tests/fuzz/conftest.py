"""How long to fuzz: a few hundred examples of each, or SESIGHT_FUZZ_SECONDS for all of them together."""

import os
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

SECONDS = float(os.environ.get("SESIGHT_FUZZ_SECONDS", "0"))
AT_ONCE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[], Iterator[int]]:
    """Yield a round after the other until this test's share of the time is used; one at least."""

    def until_then() -> Iterator[int]:
        ends = monotonic() + SECONDS * AT_ONCE / len(request.session.items)
        number = 0
        yield number
        while monotonic() < ends:
            number += 1
            yield number

    return until_then
