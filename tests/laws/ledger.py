"""A store that is nothing but dictionaries: what any other must agree with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from sesight.domain.event import Event
from sesight.domain.ports import Changes, RecordKey
from sesight.domain.quarantine import QUARANTINE_BYTES, Quarantined
from sesight.domain.record import Record
from sesight.domain.rollup import Deltas, RollupKey, Rollups, add_suppressed
from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.manual import SuppressionChange, SuppressionCommand
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.reclassification import reclassify
from sesight.ingest.rules import Rules
from tests.builders import NOW
from tests.laws.happenings import reading
from tests.reception import RULES

_encode = msgspec.msgpack.Encoder().encode


class Ledger:
    """Records, totals and lists by their keys; reduces the changes that the pipeline commits."""

    def __init__(self, free: int = 1_000, lost: frozenset[RecordKey] = frozenset()) -> None:
        """Start with nothing, with `free` places in the quarantine, losing the keys of `lost`."""
        self.free = free
        self.lost = lost
        self.held: dict[RecordKey, Record] = {}
        self.totals: dict[RollupKey, list[int]] = {}
        self.items: dict[tuple[str, str], Suppression] = {}
        self.waiting: dict[str, Quarantined] = {}

    def transact(self, fold: Callable[[Any], Changes]) -> set[RecordKey]:
        """Apply what a batch changes; return the keys that could not be stored."""
        changes = fold(self)
        self.held |= {
            key: record for key, record in changes.records.items() if key not in self.lost
        }
        self._suppress(changes)
        if changes.afterwards is not None:
            self._suppress(changes.afterwards(self))  # type: ignore[arg-type]
        for each in changes.quarantined:
            first = self.waiting.get(each.id)
            self.waiting[each.id] = each if first is None else replace(each, at=first.at)
        for name in changes.released:
            self.waiting.pop(name, None)
        return self.lost & changes.records.keys()

    def _suppress(self, changes: Changes) -> None:
        """Apply suppressions and increments of rollups."""
        self.items |= changes.suppressions
        for key, change in changes.rollups.items():
            held = self.totals.get(key, [0] * len(change))
            self.totals[key] = [a + b for a, b in zip(held, change, strict=True)]

    def records(
        self,
        message_ids: Collection[str],
        wanted: Callable[[], Mapping[str, Collection[str]]] | None = None,
    ) -> dict[str, list[Record]]:
        """Return the records of messages, leaving out all that may be."""
        found: dict[str, list[Record]] = {}
        recipients = {} if wanted is None else wanted()
        for key, record in self.held.items():
            named = recipients.get(key.message_id)
            if key.message_id in message_ids and (named is None or key.recipient in named):
                found.setdefault(key.message_id, []).append(record)
        return found

    def suppressions(
        self, wanted: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Suppression]:
        """Return suppression items."""
        return {place: self.items[place] for place in wanted if place in self.items}

    def of_address(
        self, stream: str, address: str, messages: Collection[str] = ()
    ) -> Iterable[Record]:
        """Return the records of an address in a stream."""
        del messages  # they are among them
        return [
            record
            for key, record in self.held.items()
            if record.stream == stream and key.recipient == address
        ]

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return what waits for messages."""
        return [
            each
            for each in self.waiting.values()
            if each.reason == "unrouted" and each.message_id in message_ids
        ]

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies the quarantine takes, and how many bytes."""
        held = [len(each.body) for each in self.waiting.values() if each.reason == reason]
        return self.free - len(held), QUARANTINE_BYTES - sum(held)

    def take(self, told: list[Event], rules: Rules = RULES) -> list[Processed]:
        """Take in one batch through the true pipeline."""
        pipeline = Pipeline(self, rules, lambda: NOW, lambda _: None)  # type: ignore[arg-type]
        return pipeline.process([reading(event) for event in told])

    def decide(
        self, *decisions: SuppressionCommand, rules: Rules = RULES
    ) -> list[list[SuppressionChange]]:
        """Take decisions in through the true pipeline."""
        pipeline = Pipeline(self, rules, lambda: NOW, lambda _: None)  # type: ignore[arg-type]
        return pipeline.decide(decisions)

    def reclassify(self, rules: Rules = RULES) -> None:
        """Tally every record again by the rules, as `sesight reclassify` does."""

        def fold(view: Any) -> Changes:
            return reclassify(view, rules, {key.message_id for key in self.held})

        self.transact(fold)

    @property
    def rows(self) -> Rollups:
        """Return the rollup rows that are not all zero."""
        return {key: row for key, row in self.totals.items() if any(row)}

    @property
    def recount(self) -> Rollups:
        """Return the rows that the stored tallies and items alone make."""
        deltas = Deltas()
        for record in self.held.values():
            assert record.tally is not None
            deltas.add(None, record.tally)
        rows = deltas.rows()
        for item in self.items.values():
            add_suppressed(rows, None, item)
        return {key: row for key, row in rows.items() if any(row)}

    @property
    def state(
        self,
    ) -> tuple[dict[RecordKey, bytes], Rollups, dict[tuple[str, str], Suppression], Any]:
        """Return all that must not depend on order: records byte for byte, totals, lists, quarantine."""
        return (
            {key: _encode(record) for key, record in self.held.items()},
            self.rows,
            self.items,
            {(each.id, each.reason) for each in self.waiting.values()},
        )


def told_one_by_one(told: list[Event]) -> Ledger:
    """Return the ledger of events each in a batch of its own, in their order."""
    ledger = Ledger()
    for event in told:
        ledger.take([event])
    return ledger
