"""Log lines about refused requests: at most one for each reason and minute, however many there are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sesight.ingest.http.refusals import advice

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long refusals of one reason are counted before the next line about them."""


class RefusalLog:
    """Counts refusals and logs them, without anything from the refused requests.

    The first refusal of a reason is logged at once, those of the following minute in one line.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        """`call_later` is that of an event loop."""
        self._call_later = call_later
        self._counts: dict[tuple[str, int], int] = {}

    def add(self, reason: str, status: int) -> None:
        """Count a refusal."""
        kind = reason, status
        if kind in self._counts:
            self._counts[kind] += 1
        else:
            self._counts[kind] = 1
            self._log_every_minute(kind)

    def flush(self) -> None:
        """Log what is counted so far; call it when the loop stops."""
        for kind in list(self._counts):
            self._log_count(kind)

    def _log_every_minute(self, kind: tuple[str, int]) -> None:
        """Log the refusals counted, again after each minute that had any."""
        if self._log_count(kind):
            self._call_later(SECONDS, lambda: self._log_every_minute(kind))
        else:
            del self._counts[kind]

    def _log_count(self, kind: tuple[str, int]) -> int:
        n = self._counts[kind]
        self._counts[kind] = 0
        if n:
            times = "once" if n == 1 else f"{n:,} times"
            _log.warning("INTAKE_REFUSED %s %d %s. %s", *kind, times, advice(kind[0]))
        return n
