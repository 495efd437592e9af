"""The pipeline: the one path from readings to committed records, for every transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sesight.ingest.event_batch import EventBatch
from sesight.ingest.lapsed_suppressions import recount_suppressions
from sesight.ingest.manual_suppression import apply_decisions
from sesight.ingest.processed import Processed
from sesight.ingest.reclassification import reclassify

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sesight.domain.ports import Changes, Clock, Store, View
    from sesight.domain.suppression.manual import SuppressionChange, SuppressionCommand
    from sesight.ingest.reading import Reading
    from sesight.ingest.rules import Rules


Observer = Callable[[list[Processed]], None]
"""Called with every batch after its commit: the journal and the metrics."""


class Pipeline:
    """Commits to a store, one batch at a time. Any thread may use it."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        clock: Clock,
        observer: Observer | None,
        batch_type: type[EventBatch] = EventBatch,
    ) -> None:
        """`batch_type` is there for whoever watches the steps: the bench and the walk in the docs."""
        self._store = store
        self._rules = rules
        self._clock = clock
        self._observe = observer
        self._batch_type = batch_type

    def process(self, readings: Sequence[Reading], *, at_rest: bool = False) -> list[Processed]:
        """Take in one batch of readings; return what became of each, in their order.

        When this returns, everything that is not `refused` is durable. `at_rest` means that the
        bodies remain where they came from (files, a dead-letter queue): the unreadable ones leave
        room in the quarantine for what arrives live. Raises StoreUnavailable if nothing was stored.

        The store may call `decide` again, after a conflict with another process. It calls
        `weigh_soft_bounces` when the records are stored: SQLite in the same transaction, DynamoDB
        after the commit and again until nothing changes (decision 19).
        """
        now = self._clock()
        previous: EventBatch | None = None

        def decide(view: View) -> Changes:
            nonlocal previous
            batch = self._batch_type(view, self._rules, now, at_rest=at_rest)
            batch.load_records(readings)
            batch.fold_routed_events()
            batch.fold_unrouted_events()
            batch.fold_awaiting_events()
            batch.tally_records()
            batch.update_suppressions()
            changes = batch.changes()
            changes.afterwards = batch.weigh_soft_bounces
            if previous is not None:
                batch.keep_dispositions(previous)
            previous = batch
            return changes

        unstored = self._store.transact(decide)
        processed = previous.dispositions(unstored) if previous is not None else []
        if self._observe is not None:
            self._observe(processed)
        return processed

    def decide(self, decisions: Sequence[SuppressionCommand]) -> list[list[SuppressionChange]]:
        """Commit manual suppressions and removals; return the changes of each, by stream.

        Durable when this returns. Raises StoreUnavailable if nothing was stored.
        """
        now = self._clock()
        changed: list[list[SuppressionChange]] = []

        def decide(view: View) -> Changes:
            nonlocal changed
            changes, changed = apply_decisions(view, self._rules, now, decisions)
            return changes

        self._store.transact(decide)
        return changed

    def lapse(self, places: Sequence[tuple[str, str]]) -> None:
        """Recount suppressions, by (stream, address), whose temporary cause has ended."""
        now = self._clock()
        self._store.transact(lambda view: recount_suppressions(view, self._rules, now, places))

    def reclassify(self, message_ids: Collection[str]) -> int:
        """Tally the records of messages again by today's rules and settings; return how many records
        now count differently.
        """
        changed = 0

        def decide(view: View) -> Changes:
            nonlocal changed
            changes = reclassify(view, self._rules, message_ids)
            changed = len(changes.records)
            return changes

        self._store.transact(decide)
        return changed

    def sync(self) -> None:
        """Make durable what was processed so far, if the store was opened with less durability."""
        self._store.sync()
