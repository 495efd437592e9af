"""The circuit breaker: SES that fails, or refuses, several calls in a row gets no more of them.

A call that fails may leave its recipient unknown for a day, so an outage must not be met by every
recipient of a list.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

IN_A_ROW = 5
"""Calls in a row that fail, or are refused with one code, after which whoever makes them stops."""

REST = 30.0
"""Seconds without any call after so many failed, before one is tried again."""

OUTAGE = "outage"
"""The kind of calls that failed; the kind of those refused is the code of the refusal."""

_LOOK = 0.25
"""How often (seconds) one who waits looks whether to stop."""


class Permit(NamedTuple):
    """Leave to make one call: in which round, and whether no other is made beside it."""

    round: int
    alone: bool


class CircuitBreaker:
    """Calls of SES by one stream's sender. Safe to use from any thread.

    Until SES has accepted a message, and after a call that failed or was refused, they go one at a time;
    after failures, with longer and longer pauses. Who enters leaves by one of the other methods.
    """

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        """Keep the seconds of the first pause, and a steady clock in seconds."""
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

    def enter(self, until: float | None, stop: threading.Event) -> Permit | None:
        """Wait for leave to make a call; return None if it does not come by `until` or before `stop` is
        set, and at once while nothing is called.
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

    def leave(self, ticket: Permit) -> None:
        """Say that a call was not made, or that its answer tells nothing of the next one."""
        with self._condition:
            self._left(ticket)

    def accepted(self, ticket: Permit) -> None:
        """Say that SES accepted the message. It tells nothing if another call failed since this began."""
        with self._condition:
            if ticket.round == self._round:
                self._kind, self._in_a_row, self._not_before = None, 0, 0.0
                self._alone = False
            self._left(ticket)

    def failed(self, ticket: Permit, kind: str) -> bool:
        """Say that a call failed (`OUTAGE`) or was refused; return whether that is enough to stop.

        Calls that were under way together count once: what ends them is one fault.
        """
        with self._condition:
            if ticket.round == self._round:
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
                self._in_a_row = 0  # somebody may have mended it: the next run tries as many
            self._left(ticket)
            return enough

    def _left(self, ticket: Permit) -> None:
        if ticket.alone:
            self._occupied = False
        self._condition.notify_all()
