"""The account's send quota: messages a second and in 24 hours, asked of SES once a minute."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sesight.send.ses import AccountUnknown, SesAccount

REFRESH = 60.0
"""Seconds after which the account is asked again."""


class SendQuota:
    """What the account may send. Safe to use from any thread."""

    def __init__(
        self, ask: Callable[[], SesAccount], limit: float | None, clock: Callable[[], float]
    ) -> None:
        """`ask` calls SES (raises AccountUnknown); `limit` caps the messages a second, None: the
        account's own rate holds; `clock` is a steady clock in seconds.
        """
        self._ask = ask
        self._limit = limit
        self._clock = clock
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._account: SesAccount | None = None
        self._asked_at = 0.0
        self._used = 0
        """Messages sent since the account was asked."""

    def account(self) -> SesAccount:
        """Return what the account may do. Many workers that ask at once make one call.

        Raises AccountUnknown if SES never answered; otherwise the last answer holds.
        """
        with self._asking:
            now = self._clock()
            if self._account is None or now - self._asked_at >= REFRESH:
                self._asked_at = now
                try:
                    account = self._ask()
                except AccountUnknown:
                    if self._account is None:
                        raise
                else:
                    with self._lock:
                        self._account, self._used = account, 0
            return self._account

    def rate(self) -> float:
        """Return the messages a second that may be sent. Raises AccountUnknown."""
        rate = self.account().rate
        return max(rate if self._limit is None else min(rate, self._limit), 0.001)

    def left(self) -> int | None:
        """Return how many more messages fit into the quota of 24 hours, None for no limit."""
        account = self.account()
        with self._lock:
            if account.quota is None:
                return None
            return max(account.quota - account.used - self._used, 0)

    def use(self, messages: int) -> None:
        """Count messages against the quota; a negative number gives them back."""
        with self._lock:
            self._used += messages
