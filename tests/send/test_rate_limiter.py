"""No more calls a second than the rate allows."""

import pytest

from sesight.send.rate_limiter import RateLimiter


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def taken(limiter: RateLimiter, time: Time, seconds: float) -> int:
    """Take all tokens that come in so many seconds of the clock, a hundredth at a time."""
    count = 0
    for _ in range(round(seconds * 100)):
        while limiter.take(until=time.now):
            count += 1
        time.now += 0.01
    return count


@pytest.mark.parametrize("rate", [1.0, 14.0, 200.0])
def test_rate(rate: float) -> None:
    """Over any time the rate is reached and, but for the first burst, not exceeded."""
    time = Time()
    limiter = RateLimiter(lambda: rate, time)
    assert rate * 10 * 0.95 <= taken(limiter, time, 10) <= rate * 10 + max(rate / 10, 1)


def test_distance() -> None:
    """At a call a second, the first goes at once, and the next when a second has passed."""
    time = Time()
    limiter = RateLimiter(lambda: 1.0, time)
    assert limiter.take(until=time.now)
    time.now += 0.9
    assert not limiter.take(until=time.now)
    time.now += 0.1
    assert limiter.take(until=time.now)


def test_throttling_slows_and_time_mends() -> None:
    """After SES throttled, the rate is lower; after a while without, it is the full rate again."""
    time = Time()
    limiter = RateLimiter(lambda: 100.0, time)
    taken(limiter, time, 1)
    for _ in range(3):
        limiter.slow()
    assert limiter.rate == pytest.approx(100 * 0.8**3)
    taken(limiter, time, 60)
    assert limiter.rate == 100


def test_throttling_never_stops() -> None:
    """However often SES throttles, a quarter of the rate goes on."""
    limiter = RateLimiter(lambda: 100.0, Time())
    for _ in range(100):
        limiter.slow()
    assert limiter.rate == 25


def test_given_back() -> None:
    """A token that is given back can be taken again at once."""
    time = Time()
    limiter = RateLimiter(lambda: 1.0, time)
    assert limiter.take(until=time.now)
    limiter.give_back()
    assert limiter.take(until=time.now)
