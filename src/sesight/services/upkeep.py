"""Upkeep: the periodic work of a process: expiry, suppressions that end, events that waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.services.quarantine import retry, take_due
from sesight.store.retention import in_words, is_longer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sesight.domain.ports import Clock, Store, SweepResult
    from sesight.ingest.pipeline import Pipeline
    from sesight.services.suppressions import SuppressionService
    from sesight.store.dynamodb.store import DynamoStore
    from sesight.store.retention import Retention
    from sesight.store.sqlite.store import SqliteStore

SWEEP_INTERVAL_MS = 10 * 60_000
"""A server sweeps expired records at its first quiet moment, then at most this often."""

SWEEP_ROWS = 5_000
"""Records removed by one sweep, so that requests never wait long behind it."""

RETRIED_EVENTS = 1_000
"""Events that wait for their message, the newest, that a function tries again in one run."""


class Upkeep:
    """The upkeep of a server: `run` is called whenever nothing else is to be done."""

    def __init__(
        self,
        store: SqliteStore | DynamoStore,
        pipeline: Pipeline,
        suppressions: Callable[[], SuppressionService],
        clock: Clock,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._suppressions = suppressions
        self._clock = clock
        self._swept_at: int | None = None

    def run(self) -> SweepResult | None:
        """Do what is due; return what a sweep removed, None if none was due. Raises StoreUnavailable."""
        now = self._clock()
        swept = None
        # a clock that was set back must not put the next sweep off
        if self._swept_at is None or not 0 <= now - self._swept_at < SWEEP_INTERVAL_MS:
            self._suppressions().inherit()
            take_due(self._store, self._pipeline, self._store.retention.trusted_time(now))
            swept = self._store.sweep(now, SWEEP_ROWS)
            if swept.most < SWEEP_ROWS:
                self._swept_at = now
            if not swept.doubted:
                end_suppressions(self._store, self._pipeline, now)
        self._store.do_idle_work()
        return swept


def end_suppressions(store: Store, pipeline: Pipeline, now: int) -> bool:
    """End up to `SWEEP_ROWS` suppressions whose time is over; return whether there were any."""
    due = store.suppressions_due(now, SWEEP_ROWS)
    if due:
        pipeline.lapse([(item.stream, item.address) for item in due])
    return bool(due)


def run_on_lambda(
    store: Store,
    pipeline: Pipeline,
    known_sets: Collection[str],
    now: int,
) -> SweepResult:
    """Do the upkeep of functions, which no process does between invocations; return what a sweep removed.

    What does not fit into an invocation is done by the next one. Raises StoreUnavailable.
    """
    while end_suppressions(store, pipeline, now):
        pass
    # A function that ended after it stored a message, and before it looked for events that waited for that
    # message, left them waiting. They come before the sweep: an event matters more than room.
    retry(store, pipeline, known_sets, "unrouted", limit=RETRIED_EVENTS)
    take_due(store, pipeline, now)
    return store.sweep(now, SWEEP_ROWS)


def retention_warning(days: int | None, retention: Retention) -> str | None:
    """Return a sentence if the settings ask for fewer `days` than the store keeps records for, else None. A
    longer retention of the settings takes effect when the store is opened.
    """
    if days is None or days == retention.days or retention.planned is not None:
        return None
    if is_longer(days, retention.days):
        return None
    return (
        f"The settings say retention_days = {days}; the store keeps records for "
        f"{in_words(retention.days)}, and goes on to. To shorten it: sesight retention shorten"
    )
