"""What intake counts, for Prometheus and for intake health."""

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
"""The reason of an empty reading: SNS reports that a topic subscription has ended."""

_MINUTE = 60_000
_MINUTES_KEPT = 60


class BatchCounts(Struct, array_like=True):
    """The counts of one batch: (disposition, event type, stream, number), quarantined bodies by reason,
    events without a campaign tag by stream, readings, seconds to the commit, and whether a topic
    subscription was confirmed (True) or ended (False) last.
    """

    dispositions: list[tuple[str, str, str, int]]
    quarantined: dict[str, int]
    untagged: dict[str, int]
    size: int
    seconds: float
    subscribed: bool | None = None

    @classmethod
    def of(cls, processed: list[Processed], seconds: float) -> BatchCounts:
        """Count a batch."""
        dispositions = Count(
            [
                (
                    result.disposition,
                    None if (event := result.event) is None else event.reports[0].occurrence.type,
                    result.stream,
                )
                for result in processed
            ]
        )
        quarantined = Count(
            [
                result.reason or "unknown"
                for result in processed
                if result.disposition is Disposition.QUARANTINED
            ]
        )
        untagged = Count(
            [
                result.stream or "none"
                for result in processed
                if (record := result.record) is not None
                and campaign_of(record.identity.tags) == UNTAGGED
            ]
        )
        subscribed = None
        for reading in [result.reading for result in processed]:
            if type(reading) is EmptyReading and (
                reading.confirmed or reading.reason == UNSUBSCRIBED
            ):
                subscribed = reading.confirmed
        return cls(
            [
                (disposition.value, kind or "none", stream or "none", n)
                for (disposition, kind, stream), n in dispositions.items()
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
        self._clock = clock
        self._lock = threading.Lock()
        self.registry = registry = CollectorRegistry()
        self.dispositions: Count[str] = Count()
        self.refused: Count[str] = Count()
        self.refused_at: int | None = None
        """When a request was last refused in a way that its sender retries (5xx)."""
        self.unsubscribed_at: int | None = None
        """When SNS reported the end of a topic subscription, unless one was confirmed since."""
        self._minutes: dict[int, Count[str]] = {}
        self.events = Counter(
            "sesight_events",
            "Events and envelopes processed, by disposition, event type and stream.",
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
            "Lines of processed events that were dropped: nothing reads the output, or writing failed.",
            registry=registry,
        )
        self.secret_failures = Counter(
            "sesight_secret_failures",
            "Failed reads of senders' secrets, by stream. The secret that was read before stays in use.",
            ["stream"],
            registry=registry,
        )
        self.sweeps = Counter(
            "sesight_sweeps", "Sweeps that looked for expired data.", registry=registry
        )
        self.swept = Counter(
            "sesight_swept",
            "Records, intents, quarantined bodies and hour rows that were removed when they expired.",
            ["what"],
            registry=registry,
        )
        self.clock_doubted = Gauge(
            "sesight_clock_doubted",
            "1 while nothing expires because the clock is far ahead of the newest events.",
            registry=registry,
        )
        self.depth = Gauge(
            "sesight_queue_depth", "Requests in progress in intake.", registry=registry
        )
        self.commit_seconds = Histogram(
            "sesight_commit_seconds",
            "Time from the start of a batch to its commit.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
        self.batch_size = Histogram(
            "sesight_batch_events",
            "Events in one batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=registry,
        )
        self.newest_age = Gauge(
            "sesight_newest_event_age_seconds",
            "Time since the newest event was processed.",
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
        """Count a refused request. Any thread may call this."""
        self.refusals.labels(reason, str(status)).inc()
        now = self._clock()
        with self._lock:
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
        """Return the number of requests refused in the last `minutes` (at most 60), by reason."""
        with self._lock:
            return sum(
                (n for at, n in self._minutes.items() if now // _MINUTE - at < minutes), Count()
            )

    def watch(self, depth: Callable[[], int], newest_at: Callable[[], int | None]) -> None:
        """Read these two values at result scrape."""
        self.depth.set_function(depth)

        def age() -> float:
            try:
                at = newest_at()
            except StoreUnavailable:  # the other metrics matter most at such a time
                at = None
            return float("nan") if at is None else (self._clock() - at) / 1000

        self.newest_age.set_function(age)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
