"""The pipeline: the one path from readings to committed records, for every transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sesight.ingest.event_batch import Batch, Processed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sesight.domain.ports import Changes, Clock, Store, View
    from sesight.domain.suppression.manual import SuppressionChange, SuppressionCommand
    from sesight.ingest.event_batch import Rules
    from sesight.ingest.reading import Reading


Observer = Callable[[list[Processed]], None]
"""Told of every batch after its commit: the log and the metrics."""


class Pipeline:
    """Folds batches of readings into a store. One batch at a time; safe to call from any thread."""

    def __init__(self, store: Store, rules: Rules, clock: Clock, observer: Observer | None) -> None:
        """Keep the adapters: a store, the rules of counting and routing, a clock, an observer."""
        self._store = store
        self._rules = rules
        self._clock = clock
        self._observe = observer

    def process(self, readings: Sequence[Reading], *, at_rest: bool = False) -> list[Processed]:
        """Take in one batch: load, fold event by event, tally once a record, commit, answer.

        `at_rest` says that the batch comes from where it is kept (files, a dead-letter queue): it
        leaves room in the quarantine for what comes in live.

        Returns what became of each reading, in their order. When this returns, everything not
        `refused` is durable. Raises StoreUnavailable if nothing of the batch could be stored.
        """
        now = self._clock()
        decided: Batch | None = None

        def fold(view: View) -> Changes:
            nonlocal decided
            batch = Batch(view, self._rules, now, at_rest=at_rest)
            batch.load(readings)
            batch.fold_routed()
            batch.fold_unrouted()
            batch.fold_awaiting()
            batch.tally()
            batch.suppress()
            changes = batch.changes()
            if decided is not None:
                batch.recognise(decided)
            decided = batch
            return changes

        lost = self._store.transact(fold)
        processed = decided.answers(lost) if decided is not None else []
        if self._observe is not None:
            self._observe(processed)
        return processed

    def sync(self) -> None:
        """Make durable what was processed so far, where the store was opened to be quicker."""
        self._store.sync()

    def decide(self, decisions: Sequence[SuppressionCommand]) -> list[list[SuppressionChange]]:
        """Commit what somebody decided of addresses and domains; return what each decision did, by
        stream. Durable when this returns. Raises StoreUnavailable if it could not be stored.
        """
        now = self._clock()
        done: list[list[SuppressionChange]] = []

        def fold(view: View) -> Changes:
            nonlocal done
            batch = Batch(view, self._rules, now)
            done = batch.decide(decisions)
            return batch.changes()

        self._store.transact(fold)
        return done

    def lapse(self, places: Sequence[tuple[str, str]]) -> None:
        """Recount suppressions, by (stream, address), of which a temporary one has ended."""
        now = self._clock()

        def fold(view: View) -> Changes:
            batch = Batch(view, self._rules, now)
            batch.recount_suppressions(places)
            return batch.changes()

        self._store.transact(fold)

    def reclassify(self, message_ids: Collection[str]) -> int:
        """Tally records again by today's rules and settings; return how many counted otherwise."""
        now = self._clock()
        moved = 0

        def fold(view: View) -> Changes:
            nonlocal moved
            batch = Batch(view, self._rules, now)
            batch.recall(message_ids)
            batch.tally()
            changes = batch.changes()
            changes.newest_at = None
            moved = len(changes.records)
            return changes

        self._store.transact(fold)
        return moved
