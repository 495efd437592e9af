"""Lines about refusals, for whoever looks at a server's output: one a reason and minute, however many."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sesight.ingest.http.refusals import advice

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long the refusals of a reason are counted before there is another line about them."""


class Refusals:
    """Counts refusals and writes lines about them, in which there is nothing of what was refused.

    The first of a reason has its line at once, those that follow within a minute one together.
    """

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """Take what calls a function after so many seconds, as a loop's `call_later`."""
        self._later = later
        self._counts: dict[tuple[str, int], int] = {}

    def add(self, reason: str, status: int) -> None:
        """Count a refusal."""
        about = reason, status
        if about in self._counts:
            self._counts[about] += 1
        else:
            self._counts[about] = 1
            self._tell(about)

    def tell(self) -> None:
        """Write the lines that are due later: there is no later."""
        for about in list(self._counts):
            self._write(about)

    def _tell(self, about: tuple[str, int]) -> None:
        """Write a line of those counted, and another after a minute; without any, forget the reason."""
        if self._write(about):
            self._later(SECONDS, lambda: self._tell(about))
        else:
            del self._counts[about]

    def _write(self, about: tuple[str, int]) -> int:
        n = self._counts[about]
        self._counts[about] = 0
        if n:
            times = "once" if n == 1 else f"{n:,} times"
            _log.warning("INTAKE_REFUSED %s %d %s. %s", *about, times, advice(about[0]))
        return n
