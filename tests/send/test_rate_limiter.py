"""No more messages a second, and a day, than the account may send."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from sesight.send.rate_limiter import REFRESH, RateLimiter
from sesight.send.ses import AccountUnknown, SesAccount


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def account(rate: float = 10.0, quota: int | None = None, used: int = 0) -> SesAccount:
    return SesAccount(rate, quota, used, enabled=True, enforcement="HEALTHY")


def taken(pace: RateLimiter, time: Time, seconds: float) -> int:
    """Take all that is given in so many seconds of the clock, a hundredth at a time."""
    got = 0
    for _ in range(round(seconds * 100)):
        while pace.take(until=time.now):
            got += 1
        time.now += 0.01
    return got


@pytest.mark.parametrize("rate", [1.0, 14.0, 200.0])
def test_the_accounts_rate(rate: float) -> None:
    """Over any time the account's rate is reached and, but for the first burst, not passed."""
    time = Time()
    pace = RateLimiter(lambda: account(rate), None, time)
    assert rate * 10 * 0.95 <= taken(pace, time, 10) <= rate * 10 + max(rate / 10, 1)


def test_a_lower_rate_of_ones_own() -> None:
    """A rate of the settings holds where it is below the account's, and not where it is above."""
    time = Time()
    slow = RateLimiter(lambda: account(100), 5.0, time)
    assert taken(slow, time, 10) <= 51
    quick = RateLimiter(lambda: account(5), 100.0, time)
    assert taken(quick, time, 10) <= 51


def test_throttling_slows_and_time_mends() -> None:
    """After SES throttled, less is sent; after a while without, the full rate again."""
    time = Time()
    pace = RateLimiter(lambda: account(100), None, time)
    taken(pace, time, 1)
    for _ in range(3):
        pace.slow()
    assert pace.rate == pytest.approx(100 * 0.8**3)
    taken(pace, time, 60)
    assert pace.rate == 100


def test_what_an_account_allows_unthrottled() -> None:
    """What fits into a request is by the account's rate: throttling takes nothing from it, so that the same
    request can be made again.
    """
    pace = RateLimiter(lambda: account(100), 50.0, Time())
    for _ in range(10):
        pace.slow()
    assert (pace.full, pace.rate < pace.full) == (50.0, True)


def test_throttling_never_stops() -> None:
    """However often SES throttles, a quarter of the rate goes on."""
    pace = RateLimiter(lambda: account(100), None, Time())
    for _ in range(100):
        pace.slow()
    assert pace.rate == 25


def test_the_quota_of_a_day() -> None:
    """What was sent counts against the quota until the account is asked again."""
    time = Time()
    told = [account(10, quota=100, used=95)]
    pace = RateLimiter(lambda: told[-1], None, time)
    assert pace.left() == 5
    assert pace.take()
    assert pace.left() == 4
    pace.give_back()
    assert pace.left() == 5
    told.append(account(10, quota=100, used=99))
    time.now += REFRESH
    assert pace.left() == 1


def test_an_account_that_cannot_be_asked() -> None:
    """While the account was never told, nothing is given; later what was told last holds."""
    time = Time()
    answers: list[SesAccount] = []

    def ask() -> SesAccount:
        if not answers:
            raise AccountUnknown("SES does not say.")
        return answers.pop()

    pace = RateLimiter(ask, None, time)
    with pytest.raises(AccountUnknown):
        pace.take()
    answers.append(account(7))
    time.now += 1
    assert pace.rate == 7
    time.now += REFRESH * 2
    assert pace.rate == 7


def test_an_account_is_asked_by_one() -> None:
    """Many workers that want to know at once ask once."""
    asked: Counter[str] = Counter()
    gate = threading.Event()

    def ask() -> SesAccount:
        asked["n"] += 1
        assert gate.wait(10)
        return account(1_000_000)

    pace = RateLimiter(ask, None, Time())
    workers = [threading.Thread(target=pace.account, daemon=True) for _ in range(16)]
    for each in workers:
        each.start()
    gate.set()
    for each in workers:
        each.join(10)
    assert asked["n"] == 1
