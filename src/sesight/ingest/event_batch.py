"""A batch of readings within one transaction: the steps of `Pipeline.process`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sesight.domain.event import (
    Accepted,
    Click,
    Delivery,
    DeliveryDelay,
    Disposition,
    Event,
    Open,
    Reject,
    RenderingFailure,
    Send,
)
from sesight.domain.ports import Changes, RecordKey
from sesight.domain.record import fold
from sesight.domain.timestamps import DAY
from sesight.ingest import soft_bounces
from sesight.ingest.batch_quarantine import FUTURE, BatchQuarantine, quarantine_id
from sesight.ingest.batch_records import BatchRecords
from sesight.ingest.processed import Processed
from sesight.ingest.reading import OURS, EmptyReading, EventReading, UnreadableReading
from sesight.ingest.suppression_causes import SuppressionCauses
from sesight.ingest.suppression_changes import SuppressionChanges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesight.domain.ports import View
    from sesight.ingest.reading import Reading
    from sesight.ingest.rules import Rules

FROZEN = "frozen-day"
"""The reason of an event that a backfill refuses: the totals of its send day are final."""

_decode_event = msgspec.msgpack.Decoder(Event).decode
_NEVER_SUPPRESS = frozenset(
    {Accepted, Send, Delivery, DeliveryDelay, Open, Click, Reject, RenderingFailure}
)
"""Occurrences that say nothing for or against suppressing an address."""


class EventBatch:
    """One batch. The steps are called in the order in which they stand here."""

    def __init__(self, view: View, rules: Rules, now: int, *, at_rest: bool = False) -> None:
        """Start with nothing read. For `at_rest` see `BatchQuarantine`."""
        self._view = view
        self._rules = rules
        self._now = now
        self._sets = rules.sets
        self._live_from = rules.live_from(now)
        self._readings: Sequence[Reading] = ()
        self._processed: list[Processed | None] = []
        self._unrouted: list[tuple[int, EventReading]] = []
        self._released: list[str] = []
        self._frozen: dict[tuple[str, int], bool] = {}
        self.records = BatchRecords(view)
        self._causes = SuppressionCauses(rules)
        self._suppressions = SuppressionChanges(view, rules.suppression, now, ())
        self._quarantine = BatchQuarantine(view, now, at_rest=at_rest)

    def load_records(self, readings: Sequence[Reading]) -> None:
        """Load the records that the events speak of, all at once."""
        self._readings = readings
        self._processed = [None] * len(readings)
        events = [reading.event for reading in readings if type(reading) is EventReading]
        message_ids = {event.message_id for event in events}
        message_ids.discard("")

        def recipients() -> dict[str, set[str]]:
            """Return whose records are enough, by message. An event without a configuration set gets
            its stream from any record of its message, so such a message is not among them.
            """
            named: dict[str, set[str]] = {}
            unrouted: set[str] = set()
            for event in events:
                named.setdefault(event.message_id, set()).update(
                    [report.recipient for report in event.reports]
                )
                if event.configuration_set is None:
                    unrouted.add(event.message_id)
            return {message_id: named[message_id] for message_id in named.keys() - unrouted}

        self.records.load(message_ids, recipients)

    def fold_routed_events(self) -> None:
        """Fold every event whose configuration set names its stream. Readings without an event, and
        events that are ignored or quarantined, get their dispositions here.
        """
        sets, processed, any_account = self._sets, self._processed, not self._rules.accounts
        for n, reading in enumerate(self._readings):
            if not isinstance(reading, EventReading):
                processed[n] = self._without_event(reading)
                continue
            event = reading.event
            if event.identity.sent_at > self._now + DAY:
                processed[n] = self._quarantine_future(reading)
                continue
            configuration_set = event.configuration_set
            stream = sets.get(configuration_set or "")
            if stream is not None and any_account:
                processed[n] = self._fold(reading, stream)
                continue
            if configuration_set is not None:
                stream = stream or reading.stream
            if stream is None and configuration_set in self._rules.ignore_sets:
                processed[n] = Processed(reading, Disposition.IGNORED, "ignored-set")
            elif self._is_foreign(event):
                processed[n] = self._quarantine.add_event(reading, "unknown-account")
            elif stream is not None:
                processed[n] = self._fold(reading, stream)
            elif configuration_set is None:
                self._unrouted.append((n, reading))
            else:
                processed[n] = self._quarantine.add_event(reading, "unknown-set")

    def fold_unrouted_events(self) -> None:
        """Fold events without a configuration set into the record that their message has, if any; else
        quarantine them until their message appears.
        """
        for n, reading in self._unrouted:
            stream = self.records.streams.get(reading.event.message_id) or reading.stream
            if stream is None:
                self._processed[n] = self._quarantine.add_event(reading, "unrouted")
            else:
                self._processed[n] = self._fold(reading, stream)

    def fold_awaiting_events(self) -> None:
        """Fold quarantined events whose message has appeared in this batch, and release them."""
        records = self.records
        for waiting in self._view.awaiting(records.new_messages):
            if waiting.event is not None and waiting.message_id in records.streams:
                event = _decode_event(waiting.event)
                records.load_recipients(event)
                reading = EventReading("quarantine", event)
                self._fold(reading, records.streams[event.message_id])
                self._released.append(waiting.id)

    def tally_records(self) -> None:
        """Tally every changed record once; the difference to its stored tally goes to the rollups."""
        self.records.tally(self._rules.counting)

    def update_suppressions(self) -> None:
        """Join what the events say of addresses into their suppression items."""
        causes, places = self._causes, self._causes.places
        items = SuppressionChanges(self._view, self._rules.suppression, self._now, places)
        for place in places:
            items.put(place, causes.join_into(items.get(place), place))
        self._suppressions = items

    def changes(self) -> Changes:
        """Return everything to commit, but for the weighing of soft bounces."""
        records = self.records.to_write()
        is_from_outside = any(reading.origin not in OURS for reading in self._readings)
        return Changes(
            records=records,
            suppressions=self._suppressions.changed,
            rollups=self._suppressions.add_to(self.records.deltas.rows()),
            cards=self.records.cards.joined(),
            quarantined=list(self._quarantine.bodies.values()),
            released=self._released,
            # our own events do not show that intake works
            newest_at=self._now if records and is_from_outside else None,
            backfilled={day for day, is_frozen in self._frozen.items() if not is_frozen},
            event_at=self._newest_event_at(),
            awaiting=self._weighed_records,
        )

    def weigh_soft_bounces(self, view: View) -> Changes:
        """Weigh soft bounces against deliveries and engagement; return the suppressions that change.

        The store calls it once the batch is in the view: see `sesight.ingest.soft_bounces`.
        """
        return soft_bounces.weigh(view, self._rules, self._now, self._evidence())

    def keep_dispositions(self, previous: EventBatch) -> None:
        """Keep the dispositions of a previous attempt at this batch for what that attempt has written:
        found again, it is no duplicate.
        """
        written = self._view.written
        for now, before in zip(self._processed, previous._processed, strict=True):
            if now is None or before is None or now.disposition is not Disposition.DUPLICATE:
                continue
            if before.disposition is Disposition.QUARANTINED:
                reading = now.reading
                if type(reading) is EventReading and quarantine_id(reading) in written:
                    now.disposition = Disposition.UPDATED
            elif not written.isdisjoint(now.keys):
                now.disposition = before.disposition

    def dispositions(self, unstored: set[RecordKey]) -> list[Processed]:
        """Return what became of each reading. Events of which a record could not be stored are
        refused, so that their sender tries again.
        """
        processed = [each for each in self._processed if each is not None]
        for result in processed if unstored else ():
            if not unstored.isdisjoint(result.keys):
                result.disposition, result.reason = Disposition.REFUSED, "store"
        return processed

    # -- one reading -----------------------------------------------------------------------------

    def _without_event(self, reading: EmptyReading | UnreadableReading) -> Processed:
        if isinstance(reading, EmptyReading):
            disposition = Disposition.CONFIRMED if reading.confirmed else Disposition.IGNORED
            return Processed(reading, disposition, reading.reason)
        return self._quarantine.add_unreadable(reading)

    def _fold(self, reading: EventReading, stream: str) -> Processed:
        event = reading.event
        day = event.identity.sent_at // DAY
        reason = None
        is_expired = day < self._live_from
        if self._rules.backfill:
            is_expired = self._is_frozen(stream, day)
            reason = FROZEN if is_expired else None
        # an event of an unsubscribe link names no message if its record is gone: it still suppresses
        if is_expired or not event.message_id:
            self._causes.add_event(event, stream)
            return Processed(reading, Disposition.EXPIRED, reason, stream)
        disposition = Disposition.DUPLICATE
        keys: tuple[RecordKey, ...] = ()
        records = self.records
        current = records.current
        message_id = event.message_id
        after = None
        for report in event.reports:
            key = RecordKey(message_id, report.recipient)
            keys += (key,)
            before = current.get(key)
            after = fold(before, event, report, stream if before is None else before.stream)
            if after is not before:
                if before is None:
                    disposition = Disposition.CREATED
                    records.add_message(message_id, stream)
                elif disposition is Disposition.DUPLICATE:
                    disposition = Disposition.UPDATED
                current[key] = after
                records.changed[key] = None
            if type(report.occurrence) not in _NEVER_SUPPRESS:
                self._causes.add(event, report, stream)
        return Processed(reading, disposition, None, stream, after, keys)

    def _quarantine_future(self, reading: EventReading) -> Processed:
        """Quarantine an event whose message was sent in the future, going by its send time. A record of
        it would be listed above all others until then. Its suppressions do not wait.
        """
        event = reading.event
        stream = self._sets.get(event.configuration_set or "") or reading.stream
        processed = self._quarantine.add_event(reading, FUTURE)
        if stream is not None and not self._is_foreign(event):
            self._causes.add_event(event, stream)
        return processed

    def _is_foreign(self, event: Event) -> bool:
        accounts = self._rules.accounts
        return bool(accounts) and event.account is not None and event.account not in accounts

    def _is_frozen(self, stream: str, day: int) -> bool:
        """Return whether the totals of a send day are final, so that a backfill must not change them."""
        place = (stream, day)
        if place not in self._frozen:
            self._frozen[place] = day < self._live_from and self._view.is_frozen(
                stream, day, self._live_from
            )
        return self._frozen[place]

    def _newest_event_at(self) -> int | None:
        """Return the newest time in the provider's events. Those of our own have our clock's time, by
        which the store must not judge its clock.
        """
        times = [
            report.occurrence.at
            for reading in self._readings
            if type(reading) is EventReading and reading.origin not in OURS
            for report in reading.event.reports
        ]
        return max(times, default=None)

    def _weighed_records(self) -> set[RecordKey]:
        """Return the keys of the records that count as not stored while they cannot be weighed."""
        return soft_bounces.weighed_records(self._evidence(), self._causes)

    def _evidence(self) -> soft_bounces.Evidence:
        keys = [key for each in self._processed if each is not None for key in each.keys]
        streams = self._rules.counting.streams
        return soft_bounces.evidence(self._causes, self.records, keys, streams)
