"""What intake counts, for Prometheus, and the health of it in words."""

from __future__ import annotations

import threading
from collections import Counter as Count
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sesight.domain.errors import StoreUnavailable
from sesight.domain.event import UNTAGGED, Disposition, campaign_of
from sesight.ingest.reading import EmptyReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesight.domain.ports import Clock, SweepResult
    from sesight.ingest.processed import Processed


UNSUBSCRIBED = "unsubscribed-topic"
"""The code of a reading in which SNS says that a subscription has ended."""

_MINUTE = 60_000
_MINUTES_KEPT = 60


class BatchCounts(Struct, array_like=True):
    """What is counted of one batch: (disposition, type, stream, how many), bodies by reason of their
    quarantine, events without a campaign tag by stream, its size, the seconds it took, and whether
    a subscription was confirmed or ended last, None if neither.
    """

    dispositions: list[tuple[str, str, str, int]]
    quarantined: dict[str, int]
    untagged: dict[str, int]
    size: int
    seconds: float
    subscribed: bool | None = None

    @classmethod
    def of(cls, processed: list[Processed], seconds: float) -> BatchCounts:
        """Count what became of a batch."""
        seen = Count(
            [
                (
                    each.disposition,
                    None if (event := each.event) is None else event.reports[0].occurrence.type,
                    each.stream,
                )
                for each in processed
            ]
        )
        quarantined = Count(
            [
                each.reason or "unknown"
                for each in processed
                if each.disposition is Disposition.QUARANTINED
            ]
        )
        untagged = Count(
            [
                each.stream or "none"
                for each in processed
                if (record := each.record) is not None
                and campaign_of(record.identity.tags) == UNTAGGED
            ]
        )
        subscribed = None
        for reading in [each.reading for each in processed]:
            if type(reading) is EmptyReading and (
                reading.confirmed or reading.reason == UNSUBSCRIBED
            ):
                subscribed = reading.confirmed
        return cls(
            [
                (disposition.value, kind or "none", stream or "none", n)
                for (disposition, kind, stream), n in seen.items()
            ],
            quarantined,
            untagged,
            len(processed),
            seconds,
            subscribed,
        )


class Metrics:
    """The metrics of one process. Names are contract: docs/how-to/monitor.md is generated from them."""

    def __init__(self, clock: Clock) -> None:
        """Start every metric at nothing, in a registry of its own."""
        self._clock = clock
        self._refusing = threading.Lock()
        self.registry = registry = CollectorRegistry()
        self.dispositions: Count[str] = Count()
        self.refused: Count[str] = Count()
        self.refused_at: int | None = None
        """When a request was last refused that its sender tries again (5xx)."""
        self.unsubscribed_at: int | None = None
        """When SNS said that a subscription has ended, none having been confirmed since."""
        self._minutes: dict[int, Count[str]] = {}
        self.events = Counter(
            "sesight_events",
            "Events and envelopes taken in, by what became of them.",
            ["disposition", "type", "stream"],
            registry=registry,
        )
        self.missing_tag = Counter(
            "sesight_missing_campaign_tag",
            "Events without a campaign tag.",
            ["stream"],
            registry=registry,
        )
        self.quarantined = Counter(
            "sesight_quarantined",
            "Bodies quarantined, by reason.",
            ["reason"],
            registry=registry,
        )
        self.refusals = Counter(
            "sesight_refusals",
            "Requests refused, by reason and HTTP status.",
            ["reason", "status"],
            registry=registry,
        )
        self.lines_dropped = Counter(
            "sesight_journal_lines_dropped",
            "Lines of processed events that were not written: nobody read them, or it failed.",
            registry=registry,
        )
        self.secret_failures = Counter(
            "sesight_secret_failures",
            "Secrets of senders that could not be read, by stream; one read before goes on being used.",
            ["stream"],
            registry=registry,
        )
        self.sweeps = Counter(
            "sesight_sweeps", "Times that what expired was looked for.", registry=registry
        )
        self.swept = Counter(
            "sesight_swept",
            "Records, intents, quarantined bodies and hour rows removed when their time was over.",
            ["what"],
            registry=registry,
        )
        self.clock_doubted = Gauge(
            "sesight_clock_doubted",
            "1 while nothing expires, since the clock is far ahead of what is known of the time.",
            registry=registry,
        )
        self.depth = Gauge(
            "sesight_queue_depth", "Requests under way in intake.", registry=registry
        )
        self.commit_seconds = Histogram(
            "sesight_commit_seconds",
            "Time from the start of a batch to its commit.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
        self.batch_size = Histogram(
            "sesight_batch_events",
            "Events of one batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=registry,
        )
        self.newest_age = Gauge(
            "sesight_newest_event_age_seconds",
            "Time since the newest event was taken in.",
            registry=registry,
        )

    def count(self, batch: BatchCounts) -> None:
        """Count one committed batch."""
        for *labels, n in batch.dispositions:
            self.dispositions[labels[0]] += n
            self.events.labels(*labels).inc(n)
        for reason, n in batch.quarantined.items():
            self.quarantined.labels(reason).inc(n)
        for stream, n in batch.untagged.items():
            self.missing_tag.labels(stream).inc(n)
        self.batch_size.observe(batch.size)
        self.commit_seconds.observe(batch.seconds)
        if batch.subscribed is not None:
            self.unsubscribed_at = None if batch.subscribed else self._clock()

    def sweep(self, swept: SweepResult) -> None:
        """Count what a sweep removed."""
        self.sweeps.inc()
        for what in ("records", "intents", "quarantined", "hours"):
            self.swept.labels(what).inc(getattr(swept, what))
        self.clock_doubted.set(swept.doubted)

    def refuse(self, reason: str, status: int) -> None:
        """Count one refused request. Any thread may call it."""
        self.refusals.labels(reason, str(status)).inc()
        now = self._clock()
        with self._refusing:
            self.refused[reason] += 1
            if status >= 500:
                self.refused_at = now
            minute = now // _MINUTE
            if minute not in self._minutes:
                self._minutes = {
                    at: n for at, n in self._minutes.items() if minute - at <= _MINUTES_KEPT
                }
                self._minutes[minute] = Count()
            self._minutes[minute][reason] += 1

    def refused_within(self, minutes: int, now: int) -> Count[str]:
        """Return how many requests were refused, by reason, in the last `minutes` (at most 60)."""
        with self._refusing:
            return sum(
                (n for at, n in self._minutes.items() if now // _MINUTE - at < minutes), Count()
            )

    def watch(self, depth: Callable[[], int], newest_at: Callable[[], int | None]) -> None:
        """Read these two when somebody asks."""
        self.depth.set_function(depth)

        def age() -> float:
            try:
                at = newest_at()
            except StoreUnavailable:  # the other metrics are wanted then most of all
                at = None
            return float("nan") if at is None else (self._clock() - at) / 1000

        self.newest_age.set_function(age)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)
