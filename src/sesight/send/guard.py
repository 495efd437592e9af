"""The reputation guard: a stream pauses itself before SES pauses the account."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sesight.domain.sending import Pause
from sesight.domain.stats import counts_of, rates_of
from sesight.domain.text import DAY

if TYPE_CHECKING:
    from sesight.domain.ports import Clock, SendLog, Store

EVERY = 60_000
"""How long (ms) what was found of a stream holds."""


class Guard:
    """Watches the bounce and complaint rates of streams. Safe to use from any thread."""

    def __init__(
        self,
        store: Store,
        log: SendLog,
        clock: Clock,
        *,
        streams: Collection[str],
        bounce: float,
        complaint: float,
        floor: int,
        days: int,
    ) -> None:
        """Keep what is watched: the streams, the rates (of 1) beyond which one pauses, the messages
        attempted (or reached) below which a rate says nothing, and the send days looked at.
        """
        self._store = store
        self._log = log
        self._clock = clock
        self._streams = frozenset(streams)
        self._limits = {"bounce": bounce, "complaint": complaint}
        self._floor = floor
        self._days = days
        self._found: dict[str, tuple[int, Pause | None]] = {}

    def __call__(self, stream: str) -> Pause | None:
        """Return why a stream should pause, or None. Raises StoreUnavailable.

        After somebody let it send again, only the days after that day are looked at: what was known
        then is no reason any more.
        """
        if stream not in self._streams:
            return None
        now = self._clock()
        found = self._found.get(stream)
        resumed_at = self._log.resumed_at(stream)
        if found is not None and now - found[0] < EVERY and (resumed_at or 0) < found[0]:
            return found[1]
        first = now // DAY - self._days + 1
        if resumed_at is not None:
            first = max(first, resumed_at // DAY + 1)
        pause = self._look(stream, first, now)
        self._found[stream] = (now, pause)
        return pause

    def _look(self, stream: str, first: int, now: int) -> Pause | None:
        rows = self._store.rollups("day", stream, since=first, dimension="")
        rates = rates_of(counts_of(rows))
        for name, limit in self._limits.items():
            rate = rates[name]
            if rate.value is not None and rate.denominator >= self._floor and rate.value > limit:
                return Pause(
                    stream=stream,
                    at=now,
                    by="reputation",
                    detail=(
                        f"its {name} rate was {rate.value:.2%} ({rate.numerator:,} of "
                        f"{rate.denominator:,}) over {self._days} days, more than {limit:.2%}."
                    ),
                )
        return None
