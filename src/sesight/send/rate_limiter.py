"""Pace: no more messages a second, and a day, than the account may send; shared by all workers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sesight.send.ses import AccountUnknown, SesAccount

REFRESH = 60.0
"""Seconds after which the account is asked again."""

SLOWEST = 0.25
"""Of the account's rate, the share below which SES's throttling does not push us."""

LOOK = 0.5
"""How often (seconds) one who waits looks whether to stop."""

RECOVERY = 10.0
"""Seconds without throttling after which the rate goes up by a tenth of the account's."""


class RateLimiter:
    """A token bucket over what the account may send. Safe to use from any thread."""

    def __init__(
        self,
        ask: Callable[[], SesAccount],
        most: float | None,
        clock: Callable[[], float],
    ) -> None:
        """Keep how the account is asked, the most messages a second wanted (None: the account's own
        rate), and a steady clock in seconds. The account is asked at the first `take`.
        """
        self._ask = ask
        self._most = most
        self._clock = clock
        self._condition = threading.Condition()
        self._account: SesAccount | None = None
        self._asked_at = 0.0
        self._asking = threading.Lock()
        self._share = 1.0
        self._slowed_at = 0.0
        self._tokens = 0.0
        self._filled_at = clock()
        self._spent = 0

    def account(self) -> SesAccount:
        """Return what the account may do, asked again every `REFRESH` seconds.

        Raises AccountUnknown if it was never told; else what was told last holds.
        """
        with self._asking:
            now = self._clock()
            if self._account is None or now - self._asked_at >= REFRESH:
                self._asked_at = now
                try:
                    told = self._ask()
                except AccountUnknown:
                    if self._account is None:
                        raise
                else:
                    with self._condition:
                        if self._account is None:
                            self._tokens = 1.0
                        self._account, self._spent = told, 0
            return self._account

    @property
    def full(self) -> float:
        """Return the messages a second that may be sent while SES does not throttle."""
        account = self.account()
        return max(account.rate if self._most is None else min(account.rate, self._most), 0.001)

    @property
    def rate(self) -> float:
        """Return the messages a second that are sent now at most."""
        return self.full * self._share

    def left(self) -> int | None:
        """Return how many more messages the quota of 24 hours has, None for no limit."""
        account = self.account()
        with self._condition:
            if account.quota is None:
                return None
            return max(account.quota - account.used - self._spent, 0)

    def take(self, until: float | None = None, stop: threading.Event | None = None) -> bool:
        """Wait for leave to send one message; return False if it does not come by `until`, or before
        `stop` is set.
        """
        while stop is None or not stop.is_set():
            rate = self.rate  # may ask the account, so it is had before the lock is
            with self._condition:
                wait = self._fill(rate)
                if wait <= 1e-9:
                    self._tokens -= 1
                    self._spent += 1
                    return True
                if until is not None and self._clock() + wait > until:
                    return False
                self._condition.wait(min(wait, LOOK))
        return False

    def give_back(self) -> None:
        """Return a leave that was not used."""
        with self._condition:
            self._tokens += 1
            self._spent -= 1
            self._condition.notify()

    def slow(self) -> None:
        """Go slower for a while: SES throttled."""
        with self._condition:
            self._share = max(self._share * 0.8, SLOWEST)
            self._slowed_at = self._clock()
            self._tokens = min(self._tokens, 0.0)

    def _fill(self, rate: float) -> float:
        """Add what has come since last time; return how long the next token takes (seconds)."""
        now = self._clock()
        if self._share < 1 and now - self._slowed_at >= RECOVERY:
            self._share, self._slowed_at = min(self._share + 0.1, 1.0), now
        # a tenth of a second's worth at once: SES lets short bursts pass
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, max(rate / 10, 1.0))
        self._filled_at = now
        return (1 - self._tokens) / rate
