"""One batch on its way through the pipeline: its records, suppressions and dispositions."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from sesight.domain.card import CARD_TIME_STEP, Card
from sesight.domain.counting import Counting, tally_of
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
    Report,
    Send,
    campaign_name,
    campaign_of,
)
from sesight.domain.ports import Changes, RecordKey, View
from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from sesight.domain.record import Record, fold, least
from sesight.domain.rollup import Deltas, Rollups, add_suppressed
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import (
    Cause,
    Removal,
    Suppression,
    SuppressionReason,
    has_soft_bounces,
    with_cause,
    with_positive_signal,
    with_removal,
)
from sesight.domain.suppression.manual import (
    SuppressionChange,
    SuppressionCommand,
    affected_streams,
    apply_command,
)
from sesight.domain.suppression.policy import (
    SuppressionPolicy,
    causes_of,
    removal_of,
    streams_in_scope,
    with_counted,
)
from sesight.domain.tally import REACHED
from sesight.domain.timestamps import DAY
from sesight.ingest.reading import OURS, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence


class Rules(Struct, frozen=True, kw_only=True):
    """What the settings say of intake.

    `live_from` gives the first UTC send day (number) not past retention at a time (ms). `backfill`
    takes events of earlier days too, save those whose totals are final. `accounts` empty means any
    account.
    """

    counting: Counting
    suppression: SuppressionPolicy
    live_from: Callable[[int], int]
    ignore_sets: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    backfill: bool = False

    @property
    def sets(self) -> dict[str, str]:
        """Return the stream of each configuration set."""
        return {each.configuration_set: each.id for each in self.counting.streams.values()}

    @property
    def known_sets(self) -> frozenset[str]:
        """Return the configuration sets whose events are sure not to be quarantined, so that
        reading lets their bodies go: none while the account decides too.
        """
        return frozenset() if self.accounts else frozenset(self.sets)


FROZEN = "frozen-day"
"""The reason of an event that a backfill could not take: its send day was held here and is over."""

FUTURE = "future-send-time"
"""Under which an event is quarantined whose message was sent more than a day from now."""

_encode = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_HARMLESS = frozenset(
    {Accepted, Send, Delivery, DeliveryDelay, Open, Click, Reject, RenderingFailure}
)
"""Occurrences that suppress nobody."""


class Processed(Struct, gc=False):
    """What became of one reading: its disposition, the reason where there is one, where it was
    counted, and the records it concerns.
    """

    reading: Reading
    disposition: Disposition
    reason: str | None = None
    stream: str | None = None
    record: Record | None = None
    keys: tuple[RecordKey, ...] = ()

    @property
    def campaign(self) -> str | None:
        """Return the campaign of the record it was folded into, as known after the event."""
        return None if self.record is None else self.record.campaign


class _CardNotes(Struct):
    """What a batch has heard of one campaign: times, and each distinct way it was described."""

    first_sent_at: int
    last_sent_at: int
    last_event_at: int
    said: set[tuple[Any, ...]] = field(default_factory=set)


class Batch:
    """One batch within one transaction. The steps are called in the order of the walk."""

    def __init__(self, view: View, rules: Rules, now: int, *, at_rest: bool = False) -> None:
        """Start with nothing read. What is not understood and comes from where it is kept anyway
        (`at_rest`) fills no more than half of the quarantine.
        """
        self._view = view
        self._rules = rules
        self._now = now
        self._at_rest = at_rest
        self._sets = rules.sets
        self._readings: Sequence[Reading] = ()
        self._done: list[Processed | None] = []
        self._unrouted: list[tuple[int, Event]] = []
        self._records: dict[RecordKey, Record] = {}
        self._stored: dict[RecordKey, Record] = {}
        self._streams: dict[str, str] = {}
        self._touched: dict[RecordKey, None] = {}
        self._new: list[str] = []
        self._causes: dict[tuple[str, str], list[Cause]] = {}
        self._removals: dict[tuple[str, str], list[Removal]] = {}
        self._spellings: dict[tuple[str, str], str] = {}
        self._items: dict[tuple[str, str], Suppression] = {}
        self._quarantined: dict[str, Quarantined] = {}
        self._room: dict[str, tuple[int, int]] = {}
        self._live_from = rules.live_from(now)
        self._frozen: dict[tuple[str, int], bool] = {}
        self._released: list[str] = []
        self._held: dict[tuple[str, str], Suppression] = {}
        self._notes: dict[tuple[str, str], _CardNotes] = {}
        self._deltas = Deltas()

    # -- the steps -------------------------------------------------------------------------------

    def load(self, readings: Sequence[Reading]) -> None:
        """Load the records the batch speaks of: all of a message where they say its stream."""
        self._readings = readings
        self._done = [None] * len(readings)
        wanted = {reading.event.message_id for reading in readings if reading.event is not None}
        wanted.discard("")
        for records in self._view.records(wanted, self._recipients).values():
            self._remember(records)

    def _recipients(self) -> dict[str, set[str]]:
        """Return whom the batch speaks of, for each message of which it needs no others: that needs
        all where an event does not say its stream.
        """
        found: dict[str, set[str]] = {}
        whole: set[str] = set()
        for event in [each.event for each in self._readings if each.event is not None]:
            found.setdefault(event.message_id, set()).update(
                [report.recipient for report in event.reports]
            )
            if event.configuration_set is None:
                whole.add(event.message_id)
        return {message_id: found[message_id] for message_id in found.keys() - whole}

    def _remember(self, records: Iterable[Record]) -> None:
        for record in records:
            key = RecordKey(record.message_id, record.recipient)
            self._records[key] = record
            self._stored[key] = record
            self._streams[record.message_id] = record.stream

    def fold_routed(self) -> None:
        """Fold every event whose configuration set names its stream; answer what is no event."""
        sets, done, certain = self._sets, self._done, not self._rules.accounts
        for n, reading in enumerate(self._readings):
            event = reading.event
            if event is None:
                done[n] = self._without_event(reading)
                continue
            if event.identity.sent_at > self._now + DAY:
                done[n] = self._from_the_future(reading, event)
                continue
            configuration_set = event.configuration_set
            named = sets.get(configuration_set or "")
            if named is not None and certain:
                done[n] = self._fold(reading, event, named)
                continue
            if configuration_set is not None:
                named = named or reading.stream
            if named is None and configuration_set in self._rules.ignore_sets:
                done[n] = Processed(reading, Disposition.IGNORED, "ignored-set")
            elif self._is_foreign(event):
                done[n] = self._quarantine(reading, "unknown-account", event)
            elif named is not None:
                done[n] = self._fold(reading, event, named)
            elif configuration_set is None:
                self._unrouted.append((n, event))
            else:
                done[n] = self._quarantine(reading, "unknown-set", event)

    def _is_foreign(self, event: Event) -> bool:
        accounts = self._rules.accounts
        return bool(accounts) and event.account is not None and event.account not in accounts

    def _from_the_future(self, reading: Reading, event: Event) -> Processed:
        """Keep an event of a message that was not sent yet, says its time: as a record it would come
        before all others until then. It suppresses whom it names, as it will when it is taken.
        """
        stream = self._sets.get(event.configuration_set or "") or reading.stream
        done = self._quarantine(reading, FUTURE, event)
        if stream is not None and not self._is_foreign(event):
            for report in event.reports:
                self._note_causes(event, report, stream)
        return done

    def fold_unrouted(self) -> None:
        """Fold events without a configuration set into the record their message has, if any."""
        for n, event in self._unrouted:
            reading = self._readings[n]
            stream = self._streams.get(event.message_id) or reading.stream
            if stream is None:
                self._done[n] = self._quarantine(reading, "unrouted", event)
            else:
                self._done[n] = self._fold(reading, event, stream)

    def fold_awaiting(self) -> None:
        """Fold quarantined events that waited for a message which now has appeared."""
        for waiting in self._view.awaiting(self._new):
            if waiting.event is not None and waiting.message_id in self._streams:
                event = _decode_event(waiting.event)
                self._load_more(event)
                self._fold(Reading("quarantine", event), event, self._streams[event.message_id])
                self._released.append(waiting.id)

    def _load_more(self, event: Event) -> None:
        """Load the records of an event's recipients that the batch did not speak of."""
        recipients = {event.message_id: {report.recipient for report in event.reports}}
        found = self._view.records([event.message_id], lambda: recipients)
        self._remember(
            record
            for record in found.get(event.message_id, ())
            if RecordKey(record.message_id, record.recipient) not in self._records
        )

    def tally(self) -> None:
        """Count every changed record once, as the difference to what it was counted as."""
        counting = self._rules.counting
        for key in self._touched:
            record = self._records[key]
            before = self._stored.get(key)
            tally = tally_of(record, counting)
            if record.tally != tally:
                self._deltas.add(None if before is None else before.tally, tally)
                record = replace(record, tally=tally)
                self._records[key] = record
            if tally.dimensions is not None:
                self._note_card(record, tally.dimensions.campaign, before)

    def suppress(self) -> None:
        """Join what the batch says of addresses into their suppression items."""
        places = dict.fromkeys([*self._causes, *self._removals])
        self._held = held = self._view.suppressions(places)
        for place in places:
            before = held.get(place)
            item = before or Suppression(*place)
            for cause in self._causes.get(place, ()):
                item = with_cause(item, *place, cause)
            for removal in self._removals.get(place, ()):
                item = with_removal(item, removal)
            spelling = least(item.spelling, self._spellings.get(place))
            if spelling != item.spelling:
                item = replace(item, spelling=spelling)
            item = with_counted(item, self._now, self._rules.suppression)
            if item != before:
                self._items[place] = item

    def weigh(self, view: View) -> Changes:
        """Weigh soft bounces anew against good signs, given a view in which the batch is stored.

        Signs are in records, soft bounces in items: of two batches at the same time that bring one
        each, the later to store sees both. A batch that comes again, since it was cut off, weighs too.
        """
        items: dict[tuple[str, str], Suppression] = {}
        rollups: Rollups = {}
        messages = self._signs()
        for place, before in view.suppressions(messages).items():
            if has_soft_bounces(before):
                records = view.of_address(*place, messages[place])
                item = with_positive_signal(before, records, self._is_expired)
                item = with_counted(item, self._now, self._rules.suppression)
                if item != before:
                    items[place] = item
                    add_suppressed(rollups, before, item)
        return Changes({}, items, rollups, {}, [], [])

    def _signs(self) -> dict[tuple[str, str], set[str]]:
        """Return the places that the batch may have brought a soft bounce or a good sign for, with
        the messages of those signs.
        """
        found: dict[tuple[str, str], set[str]] = {
            place: set()
            for place, causes in self._causes.items()
            if any(cause.reason == SuppressionReason.SOFT_BOUNCES for cause in causes)
        }
        streams = self._rules.counting.streams
        spoken = dict.fromkeys(key for each in self._done if each is not None for key in each.keys)
        for key in spoken | self._touched:
            record = self._records[key]
            of = streams.get(record.stream)
            if of is not None and of.soft_bounces and self._is_good(key):
                found.setdefault((record.stream, key.recipient), set()).add(key.message_id)
        return found

    def _is_good(self, key: RecordKey) -> bool:
        """Return whether a record was or is one of a message that reached somebody."""
        was, now = self._stored.get(key), self._records[key].tally
        before = None if was is None else was.tally
        return any(tally is not None and tally.facts & REACHED for tally in (before, now))

    def _is_expired(self, sent_at: int) -> bool:
        return sent_at // DAY < self._live_from

    def recall(self, message_ids: Collection[str]) -> None:
        """Load records to tally again by today's rules; what counts as before is not written."""
        for records in self._view.records(message_ids).values():
            self._remember(records)
        self._touched = dict.fromkeys(self._records)

    def recount_suppressions(self, places: Collection[tuple[str, str]]) -> None:
        """Count items again, of which a temporary cause has ended."""
        self._held = self._view.suppressions(places)
        for place, item in self._held.items():
            settled = with_counted(item, self._now, self._rules.suppression)
            if settled != item:
                self._items[place] = settled

    def decide(self, decisions: Sequence[SuppressionCommand]) -> list[list[SuppressionChange]]:
        """Join what somebody decided into suppression items; return what each decision did."""
        streams = self._rules.counting.streams
        places = [
            [(name, each.address) for name in affected_streams(each, streams)] for each in decisions
        ]
        self._held = self._view.suppressions({place for some in places for place in some})
        done = []
        for decision, some in zip(decisions, places, strict=True):
            done.append([self._decided(place, decision) for place in some])
        return done

    def _decided(self, place: tuple[str, str], decision: SuppressionCommand) -> SuppressionChange:
        before = self._items.get(place) or self._held.get(place)
        after = apply_command(before, place[0], decision)
        after = with_counted(after, self._now, self._rules.suppression)
        if after != before:
            self._items[place] = after
        return SuppressionChange(place[0], before, after)

    def changes(self) -> Changes:
        """Return everything to commit: one increment per counter of each rollup row."""
        rollups = self._deltas.rows()
        for place, item in self._items.items():
            add_suppressed(rollups, self._held.get(place), item)
        stored = self._stored
        records = {
            key: record
            for key, record in ((key, self._records[key]) for key in self._touched)
            if record is not stored.get(key)
        }
        return Changes(
            records,
            self._items,
            rollups,
            self._cards(),
            list(self._quarantined.values()),
            self._released,
            self._now if records and self._told() else None,
            self.weigh if self._readings else None,
            {place for place, is_frozen in self._frozen.items() if not is_frozen},
            self._newest_told(),
            self._weighed,
        )

    def _told(self) -> bool:
        """Return whether anything came from outside: what we say ourselves does not show that intake
        works, nor that an event which has not come will not come.
        """
        return any(each.origin not in OURS for each in self._readings)

    def _newest_told(self) -> int | None:
        """Return the newest time that SES says of anything; our own events have our clock's time."""
        told = [
            report.occurrence.at
            for reading in self._readings
            if reading.event is not None and reading.origin not in OURS
            for report in reading.event.reports
        ]
        return max(told, default=None)

    def recognise(self, earlier: Batch) -> None:
        """Answer as an earlier round of this batch for what that has written: found again, since others
        have added to it or folded it in meanwhile, it is no duplicate.
        """
        written = self._view.written
        for now, before in zip(self._done, earlier._done, strict=True):
            if now is None or before is None or now.disposition is not Disposition.DUPLICATE:
                continue
            if before.disposition is Disposition.QUARANTINED:
                if now.reading.fingerprint in written:
                    now.disposition = Disposition.UPDATED
            elif not written.isdisjoint(now.keys):
                now.disposition = before.disposition

    def _weighed(self) -> set[RecordKey]:
        """Return the keys of the records that soft bounces are weighed for."""
        found = {
            RecordKey(message_id, address)
            for (_, address), messages in self._signs().items()
            for message_id in messages
        }
        return found | {
            RecordKey(cause.message_id, address)
            for (_, address), causes in self._causes.items()
            for cause in causes
            if cause.reason == SuppressionReason.SOFT_BOUNCES and cause.message_id is not None
        }

    def answers(self, lost: set[RecordKey]) -> list[Processed]:
        """Return what became of each reading, given the keys that could not be stored."""
        done = [each for each in self._done if each is not None]
        for each in done if lost else ():
            if not lost.isdisjoint(each.keys):
                each.disposition, each.reason = Disposition.REFUSED, "store"
        return done

    # -- one event -------------------------------------------------------------------------------

    def _without_event(self, reading: Reading) -> Processed:
        if reading.confirmed:
            return Processed(reading, Disposition.CONFIRMED, reading.nothing)
        if reading.nothing is not None:
            return Processed(reading, Disposition.IGNORED, reading.nothing)
        return self._quarantine(reading, reading.unreadable or "malformed", None)

    def _fold(self, reading: Reading, event: Event, stream: str) -> Processed:
        day = event.identity.sent_at // DAY
        reason = None
        late = day < self._live_from
        if self._rules.backfill:
            late = self._is_frozen(stream, day)
            reason = FROZEN if late else None
        if late or not event.message_id:  # of no message that is held: who unsubscribed has left
            for report in event.reports:
                self._note_causes(event, report, stream)
            return Processed(reading, Disposition.EXPIRED, reason, stream)
        disposition = Disposition.DUPLICATE
        keys: tuple[RecordKey, ...] = ()
        records = self._records
        message_id = event.message_id
        after = None
        for report in event.reports:
            key = RecordKey(message_id, report.recipient)
            keys += (key,)
            before = records.get(key)
            after = fold(before, event, report, stream if before is None else before.stream)
            if after is not before:
                if before is None:
                    disposition = Disposition.CREATED
                    self._meet(message_id, stream)
                elif disposition is Disposition.DUPLICATE:
                    disposition = Disposition.UPDATED
                records[key] = after
                self._touched[key] = None
            if type(report.occurrence) not in _HARMLESS:
                self._note_causes(event, report, stream)
        return Processed(reading, disposition, None, stream, after, keys)

    def _is_frozen(self, stream: str, day: int) -> bool:
        """Return whether the totals of a send day are final, which a backfill must leave as they are."""
        place = (stream, day)
        found = self._frozen.get(place)
        if found is None:
            late = day < self._live_from
            found = late and self._view.is_frozen(stream, day, self._live_from)
            self._frozen[place] = found
        return found

    def _meet(self, message_id: str, stream: str) -> None:
        if message_id not in self._streams:
            self._streams[message_id] = stream
            self._new.append(message_id)

    def _note_causes(self, event: Event, report: Report, stream: str) -> None:
        counting = self._rules.counting
        # what a stream that the settings name no more was like, nobody knows: the wider reading
        of = counting.streams.get(stream) or Stream(stream, stream, "marketing", "")
        campaign = campaign_of(event.identity.tags)
        for address, cause in causes_of(event, report, of, campaign, self._rules.suppression):
            if counting.is_test(address):
                continue
            for each in streams_in_scope(cause.scope, stream, counting.streams):
                place = (each, address)
                self._causes.setdefault(place, []).append(cause)
                if report.spelling is not None and address == report.recipient:
                    self._spellings[place] = least(self._spellings.get(place), report.spelling)

        removal = removal_of(report, of)
        if removal is not None and not counting.is_test(report.recipient):
            for each in streams_in_scope(
                self._rules.suppression.unsubscribed, stream, counting.streams
            ):
                self._removals.setdefault((each, report.recipient), []).append(removal)

    def _quarantine(self, reading: Reading, reason: str, event: Event | None) -> Processed:
        """Keep a body; what was not understood is refused when there is no room, never dropped."""
        held = reading
        if not reading.body and event is not None:  # it was let go: what was read in it is kept
            held = replace(reading, body=msgspec.json.encode(event))
        fingerprint = held.fingerprint
        if fingerprint not in self._quarantined:
            size = len(held.body)
            bodies, bytes_ = self._room.get(reason) or self._room_for(reason, event)
            if bodies <= 0 or bytes_ < size:
                if event is None or reason == FUTURE:
                    return Processed(reading, Disposition.REFUSED, "quarantine-full")
                return Processed(reading, Disposition.QUARANTINED, reason)
            self._room[reason] = bodies - 1, bytes_ - size
            self._quarantined[fingerprint] = Quarantined(
                fingerprint,
                reason,
                reading.detail or _WHY.get(reason, ""),
                held.body,
                self._now,
                event.message_id if event is not None else None,
                event.configuration_set if event is not None else None,
                _encode(event) if event is not None else None,
            )
        return Processed(reading, Disposition.QUARANTINED, reason)

    def _room_for(self, reason: str, event: Event | None) -> tuple[int, int]:
        bodies, bytes_ = self._view.room(reason)
        if self._at_rest and event is None:  # what only waits takes no room from anybody
            return bodies - QUARANTINE_BODIES // 2, bytes_ - QUARANTINE_BYTES // 2
        return bodies, bytes_

    def _note_card(self, record: Record, campaign: str, before: Record | None) -> None:
        identity = record.identity
        sent_at = identity.sent_at // CARD_TIME_STEP * CARD_TIME_STEP
        last_at = max([held.at for held in record.timeline]) // CARD_TIME_STEP * CARD_TIME_STEP
        place = (record.stream, campaign)
        notes = self._notes.get(place)
        if notes is None:
            notes = self._notes[place] = _CardNotes(sent_at, sent_at, last_at)
        elif last_at > notes.last_event_at:
            notes.last_event_at = last_at
        if notes.said and before is not None and before.identity == identity:
            return  # the card has heard of it
        notes.first_sent_at = min(notes.first_sent_at, sent_at)
        notes.last_sent_at = max(notes.last_sent_at, sent_at)
        notes.said.add(
            (
                identity.tags,
                identity.provider,
                identity.sender,
                identity.subject,
                identity.template,
            )
        )

    def _cards(self) -> dict[tuple[str, str], Card]:
        """Return the cards of the campaigns that the batch touched, as far as it knows them."""
        return {
            place: reduce(
                Card.joined,
                [
                    Card(
                        *place,
                        campaign_name(tags),
                        provider,
                        sender,
                        subject,
                        template,
                        notes.first_sent_at,
                        notes.last_sent_at,
                        notes.last_event_at,
                    )
                    for tags, provider, sender, subject, template in notes.said
                ],
            )
            for place, notes in self._notes.items()
        }


_WHY = {
    FUTURE: "The message was sent more than a day from now, says its send time.",
    "unrouted": "The event names no configuration set and its message is not known yet.",
    "unknown-set": "No stream in the settings has the event's configuration set.",
    "unknown-account": "The event is of an account that the settings do not name.",
}
