"""A circuit breaker: after several calls in a row that failed or were refused, SES gets no more of them.

A call that fails may leave its recipient unknown for a day, so an outage must not reach every recipient
of a mailing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

IN_A_ROW = 5
"""Calls in a row that fail, or are refused with one code, after which a run stops."""

REST = 30.0
"""Seconds without a call after `IN_A_ROW` failed, before one is tried again."""

OUTAGE = "outage"
"""The kind of calls that failed. The kind of refused calls is the code of the refusal."""

_LOOK = 0.25
"""How often (seconds) a waiting worker checks whether to stop."""


class Permit(NamedTuple):
    """Permission for one call. `round` counts failures so far; `alone`: no other call is made beside it."""

    round: int
    alone: bool


class CircuitBreaker:
    """Guards the calls that one stream's sender makes. Safe to use from any thread.

    Until SES has accepted a message, and after a call that failed or was refused, calls are made one at
    a time; after failures, with growing pauses. Every permit is ended by `release`, `accepted` or
    `failed`.
    """

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        """`pause` is the first pause in seconds; `clock` a steady clock in seconds."""
        self._pause = pause
        self._clock = clock
        self._condition = threading.Condition()
        self._kind: str | None = None
        self._in_a_row = 0
        self._alone = True
        self._occupied = False
        self._round = 0
        self._not_before = 0.0

    @property
    def is_failing(self) -> bool:
        """Return whether the last call failed."""
        return self._kind == OUTAGE

    def acquire(self, until: float | None, stop: threading.Event) -> Permit | None:
        """Wait for permission to make a call; return None if that is not before `until` or before `stop`
        is set, and at once while the breaker is open.
        """
        with self._condition:
            while not stop.is_set():
                now = self._clock()
                wait = max(self._not_before - now, 0.0)
                if wait == 0 and not (self._alone and self._occupied):
                    self._occupied = self._alone
                    return Permit(self._round, self._alone)
                is_open = self._kind == OUTAGE and self._in_a_row >= IN_A_ROW
                if (is_open and wait) or (until is not None and now + wait >= until):
                    return None
                self._condition.wait(min(wait, _LOOK) or _LOOK)
        return None

    def release(self, permit: Permit) -> None:
        """End a permit whose call was not made, or whose answer says nothing about the next call."""
        with self._condition:
            self._end(permit)

    def accepted(self, permit: Permit) -> None:
        """End a permit whose message SES accepted. Ignored if another call failed since it was given."""
        with self._condition:
            if permit.round == self._round:
                self._kind, self._in_a_row, self._not_before = None, 0, 0.0
                self._alone = False
            self._end(permit)

    def failed(self, permit: Permit, kind: str) -> bool:
        """End a permit whose call failed (`OUTAGE`) or was refused (its code); return whether to stop.

        Calls that were under way together count once: one fault ends them all.
        """
        with self._condition:
            if permit.round == self._round:
                self._in_a_row = self._in_a_row + 1 if kind == self._kind else 1
                self._kind = kind
                self._alone = True
                self._round += 1
                if kind == OUTAGE:
                    pause = self._pause * 2 ** (self._in_a_row - 1)
                    resting = self._in_a_row >= IN_A_ROW
                    self._not_before = self._clock() + (REST if resting else pause)
            enough = kind == self._kind and self._in_a_row >= IN_A_ROW
            if enough and kind != OUTAGE:
                self._in_a_row = (
                    0  # an operator may have fixed the cause: the next run tries as many
                )
            self._end(permit)
            return enough

    def _end(self, permit: Permit) -> None:
        if permit.alone:
            self._occupied = False
        self._condition.notify_all()
