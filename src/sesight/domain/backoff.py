"""Exponential back-off with full jitter: how long to pause before each retry.

Pure: the caller draws the random numbers, measures the time and sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf


def backoff(
    first: float,
    longest: float,
    draw: Callable[[], float],
    remaining: Callable[[], float] = lambda: inf,
) -> Iterator[float]:
    """Yield the seconds to pause before each retry; end when the next pause would outlast the deadline.

    The ceiling of a pause starts at `first` and doubles up to `longest`. The pause itself is a random
    share of its ceiling, so that clients throttled together do not retry together. `draw` returns a
    number from 0 to 1, such as `random.random`; `remaining` returns the seconds left until the
    deadline. Limit the number of retries with `itertools.islice`.

    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """
    ceiling = first
    while True:
        pause = ceiling * draw()
        if pause > remaining():
            return
        yield pause
        ceiling = min(2 * ceiling, longest)
