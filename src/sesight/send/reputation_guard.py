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

CACHE_MS = 60_000
"""How long (ms) a result for a stream is cached."""

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
        """`streams` are watched; `bounce` and `complaint` are the rates (from 0 to 1) beyond which a stream
        pauses; `floor` is the smallest denominator at which a rate counts; `days` is the number of send days
        that the rates are taken over.
        """
        self._store = store
        self._log = log
        self._clock = clock
        self._limits = {"bounce": bounce, "complaint": complaint}
        self._floor = floor
        self._days = days
        self._results: dict[str, tuple[int, Pause | None]] = {}
        self.streams = frozenset(streams)

    @property
    def limits(self) -> dict[str, float]:
        """Return the rates beyond which a stream pauses, by name."""
        return dict(self._limits)

    def __call__(self, stream: str) -> Pause | None:
        """Return why a stream should pause, or None. Raises StoreUnavailable.

        After an operator resumed the stream, only mail sent since then counts: what was known then is no
        longer a reason.
        """
        if stream not in self.streams:
            return None
        now = self._clock()
        cached = self._results.get(stream)
        resumption = self._log.resumption(stream)
        resumed_at = 0 if resumption is None else resumption.at
        if cached is not None and now - cached[0] < CACHE_MS and resumed_at < cached[0]:
            return cached[1]
        pause = self._look(stream, now, resumption)
        self._results[stream] = (now, pause)
        return pause

    def resume(self, stream: str) -> Pause | None:
        """Let a stream send again, with its rates counted from now on; return why it was paused."""
        now = self._clock()
        hour = _counts(_BOUNCES, self._hours(stream, now // HOUR, now // HOUR + 1))
        day = _counts(_COMPLAINTS, self._day_rows(stream, now // DAY, now // DAY + 1))
        # zeros too: a resumption without counts was made by a version that did not keep them
        counts = {name: hour[name] for name in _BOUNCES}
        counts |= {name: day[name] for name in _COMPLAINTS}
        return self._log.resume(Resumption(stream=stream, at=now, counts=counts))

    def _look(self, stream: str, now: int, resumption: Resumption | None) -> Pause | None:
        first, end = now // DAY - self._days + 1, now // DAY + 1
        period = f"over {self._days} days"
        counts: Counter[str] = Counter()
        if resumption is not None and resumption.at // DAY >= first:
            first = resumption.at // DAY + 1
            period = "since it was last resumed"
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
                        f"{rate.denominator:,}) {period}, more than {limit:.2%}."
                    ),
                )
        return None

    def _since(self, resumption: Resumption) -> Counter[str]:
        """Return the counts of the day on which a stream was resumed, without those before that moment:
        bounces by the send hour, complaints, which hour rows lack, by the day.
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
    """Return counters summed over rows. `attempted` is derived, since hour rows do not have it."""
    counters = dict(zip(COUNTERS, counts_of(rows), strict=True))
    unattempted = counters["suppressed"] + counters["rejected"] + counters["failed"]
    counters["attempted"] = counters["sent"] - unattempted
    return Counter({name: counters[name] for name in names if counters[name] > 0})
