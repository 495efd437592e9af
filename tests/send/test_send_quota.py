"""What the account may send: asked of SES once a minute, and counted in between."""

import threading
from collections import Counter

import pytest

from sesight.send.send_quota import REFRESH, SendQuota
from sesight.send.ses import AccountUnknown, SesAccount
from tests.send.test_rate_limiter import Time


def account(rate: float = 10.0, quota: int | None = None, used: int = 0) -> SesAccount:
    return SesAccount(rate, quota, used, enabled=True, enforcement="HEALTHY")


@pytest.mark.parametrize(("of_account", "limit", "rate"), [(100, 5.0, 5), (5, 100.0, 5)])
def test_limit_of_the_settings(of_account: float, limit: float, rate: float) -> None:
    """A rate of the settings holds where it is below the account's, and not where it is above."""
    assert SendQuota(lambda: account(of_account), limit, Time()).rate() == rate


def test_quota_of_a_day() -> None:
    """Messages count against the quota until the account is asked again."""
    time = Time()
    answers = [account(10, quota=100, used=95)]
    quota = SendQuota(lambda: answers[-1], None, time)
    assert quota.left() == 5
    quota.use(1)
    assert quota.left() == 4
    quota.use(-1)
    assert quota.left() == 5
    answers.append(account(10, quota=100, used=99))
    time.now += REFRESH
    assert quota.left() == 1


def test_no_quota() -> None:
    """An account without a quota has no number of messages left."""
    assert SendQuota(account, None, Time()).left() is None


def test_account_unknown() -> None:
    """The error passes on until SES has answered once; from then on the last answer holds."""
    time = Time()
    answers: list[SesAccount] = []

    def ask() -> SesAccount:
        if not answers:
            raise AccountUnknown("SES does not say.")
        return answers.pop()

    quota = SendQuota(ask, None, time)
    with pytest.raises(AccountUnknown):
        quota.rate()
    answers.append(account(7))
    time.now += 1
    assert quota.rate() == 7
    time.now += REFRESH * 2
    assert quota.rate() == 7


def test_asked_once() -> None:
    """Many workers that want to know at once make one call."""
    calls: Counter[str] = Counter()
    gate = threading.Event()

    def ask() -> SesAccount:
        calls["n"] += 1
        assert gate.wait(10)
        return account(1_000_000)

    quota = SendQuota(ask, None, Time())
    workers = [threading.Thread(target=quota.account, daemon=True) for _ in range(16)]
    for worker in workers:
        worker.start()
    gate.set()
    for worker in workers:
        worker.join(10)
    assert calls["n"] == 1
