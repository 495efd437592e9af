"""The reputation guard: a stream pauses itself before SES pauses the account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from sesight.domain.sending import Pause, Resumption
from sesight.domain.stats import RATES, counts_of, divide
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR

if TYPE_CHECKING:
    from sesight.domain.ports import Clock, SendLog, Store
    from sesight.domain.rollup import RollupRow

EVERY = 60_000
"""How long (ms) what was found of a stream holds."""

_BOUNCES = ("attempted", "bounced")
_COMPLAINTS = ("reached", "complained")
_HOURS = DAY // HOUR


class ReputationGuard:
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
        self._limits = {"bounce": bounce, "complaint": complaint}
        self._floor = floor
        self._days = days
        self._found: dict[str, tuple[int, Pause | None]] = {}
        self.streams = frozenset(streams)

    @property
    def limits(self) -> dict[str, float]:
        """Return the rates beyond which a stream pauses, by their names."""
        return dict(self._limits)

    def __call__(self, stream: str) -> Pause | None:
        """Return why a stream should pause, or None. Raises StoreUnavailable.

        After somebody let it send again, only mail sent since then is looked at: what was known then is
        no reason any more.
        """
        if stream not in self.streams:
            return None
        now = self._clock()
        found = self._found.get(stream)
        resumption = self._log.resumption(stream)
        resumed_at = 0 if resumption is None else resumption.at
        if found is not None and now - found[0] < EVERY and resumed_at < found[0]:
            return found[1]
        pause = self._look(stream, now, resumption)
        self._found[stream] = (now, pause)
        return pause

    def resume(self, stream: str) -> Pause | None:
        """Let a stream send again, whose mail counts from this moment; return what it was paused for."""
        now = self._clock()
        of_hour = _counts(_BOUNCES, self._hours(stream, now // HOUR, now // HOUR + 1))
        of_day = _counts(_COMPLAINTS, self._day_rows(stream, now // DAY, now // DAY + 1))
        # zeros too: a resumption without any counts is one from before they were kept
        counts = {name: of_hour[name] for name in _BOUNCES}
        counts |= {name: of_day[name] for name in _COMPLAINTS}
        return self._log.resume(Resumption(stream=stream, at=now, counts=counts))

    def _look(self, stream: str, now: int, resumption: Resumption | None) -> Pause | None:
        first, end = now // DAY - self._days + 1, now // DAY + 1
        over = f"over {self._days} days"
        counts: Counter[str] = Counter()
        if resumption is not None and resumption.at // DAY >= first:
            first = resumption.at // DAY + 1
            over = "since it was last resumed"
            counts += self._since(resumption)
        rows = self._day_rows(stream, first, end)
        counts += _counts(_BOUNCES, rows) + _counts(_COMPLAINTS, rows)
        for name, limit in self._limits.items():
            part, whole = (counts[counter] for counter in RATES[name])
            rate = divide(part, whole)
            if rate.value is not None and rate.denominator >= self._floor and rate.value > limit:
                return Pause(
                    stream=stream,
                    at=now,
                    by="reputation",
                    detail=(
                        f"its {name} rate was {rate.value:.2%} ({rate.numerator:,} of "
                        f"{rate.denominator:,}) {over}, more than {limit:.2%}."
                    ),
                )
        return None

    def _since(self, resumption: Resumption) -> Counter[str]:
        """Return what was counted of the rest of the day on which a stream was resumed: bounces by the
        hours of their messages, complaints by the day.
        """
        stream, hour, day = resumption.stream, resumption.at // HOUR, resumption.at // DAY
        counts = _counts(_BOUNCES, self._hours(stream, hour + 1, (day + 1) * _HOURS))
        if resumption.counts:
            counts += _counts(_BOUNCES, self._hours(stream, hour, hour + 1))
            counts += _counts(_COMPLAINTS, self._day_rows(stream, day, day + 1))
            counts -= Counter(resumption.counts)
        return counts

    def _hours(self, stream: str, first: int, end: int) -> list[RollupRow]:
        return self._store.rollups("hour", stream, since=first, until=end, dimension="")

    def _day_rows(self, stream: str, first: int, end: int) -> list[RollupRow]:
        return self._store.rollups("day", stream, since=first, until=end, dimension="")


def _counts(names: Iterable[str], rows: Iterable[RollupRow]) -> Counter[str]:
    """Return some counters summed over rows; `attempted` is made of others, as hour rows need it."""
    found = dict(zip(COUNTERS, counts_of(rows), strict=True))
    unattempted = found["suppressed"] + found["rejected"] + found["failed"]
    found["attempted"] = found["sent"] - unattempted
    return Counter({name: found[name] for name in names if found[name] > 0})
