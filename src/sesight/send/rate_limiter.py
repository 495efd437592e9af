"""A rate limiter: a token bucket that workers share, and that SES's throttling slows down."""

from __future__ import annotations

import threading
from collections.abc import Callable

SLOWEST = 0.25
"""The share of the full rate below which throttling does not slow the limiter."""

LOOK = 0.5
"""How often (seconds) a waiting worker checks whether to stop."""

RECOVERY = 10.0
"""Seconds without throttling after which the rate rises by a tenth of the full rate."""


class RateLimiter:
    """Limits calls to a number a second. Safe to use from any thread."""

    def __init__(self, full_rate: Callable[[], float], clock: Callable[[], float]) -> None:
        """`full_rate` returns the calls a second, and may itself call SES; `clock` is a steady clock in
        seconds.
        """
        self._full_rate = full_rate
        self._clock = clock
        self._condition = threading.Condition()
        self._share = 1.0
        self._slowed_at = 0.0
        self._tokens = 1.0
        self._filled_at = clock()

    @property
    def rate(self) -> float:
        """Return the calls a second that are allowed now."""
        return self._full_rate() * self._share

    def take(self, until: float | None = None, stop: threading.Event | None = None) -> bool:
        """Wait until one call is allowed; return False if that is not before `until` or before `stop`
        is set. Raises what `full_rate` raises.
        """
        while stop is None or not stop.is_set():
            rate = self.rate  # outside the lock, since it may call SES
            with self._condition:
                wait = self._fill(rate)
                if wait <= 1e-9:
                    self._tokens -= 1
                    return True
                if until is not None and self._clock() + wait > until:
                    return False
                self._condition.wait(min(wait, LOOK))
        return False

    def give_back(self) -> None:
        """Return a token whose call was not made."""
        with self._condition:
            self._tokens += 1
            self._condition.notify()

    def slow(self) -> None:
        """Go slower for a while, since SES throttled a call."""
        with self._condition:
            self._share = max(self._share * 0.8, SLOWEST)
            self._slowed_at = self._clock()
            self._tokens = min(self._tokens, 0.0)

    def _fill(self, rate: float) -> float:
        """Add the tokens that have accrued; return the seconds until there is a whole one."""
        now = self._clock()
        if self._share < 1 and now - self._slowed_at >= RECOVERY:
            self._share, self._slowed_at = min(self._share + 0.1, 1.0), now
        # SES lets short bursts pass: up to the calls of a tenth of a second at once
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, max(rate / 10, 1.0))
        self._filled_at = now
        return (1 - self._tokens) / rate
