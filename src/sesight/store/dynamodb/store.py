"""The DynamoDB store: for many writers at once, where one machine is not enough.

A batch is not one transaction here: suppressions are written first, then records, each on condition
that it still is what the batch had read; what has changed meanwhile is read and decided again. Rollups
follow from the change feed (`rollup_feed.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from sesight.domain.card import Card
from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.event import UNATTRIBUTED
from sesight.domain.ports import (
    Changes,
    Clock,
    RecordFilter,
    RecordKey,
    RecordPage,
    SuppressionPage,
    SweepResult,
    View,
)
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.rollup import Family, RollupKey, RollupRow, Rollups
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import Suppression, suppression_keys
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR
from sesight.store.dynamodb.change_feed import Feed, Written
from sesight.store.dynamodb.client import BATCH_READ, Calls, between, equals
from sesight.store.dynamodb.commit import CARD, Commit, Parts
from sesight.store.dynamodb.connection import (
    LOCAL_PATIENCE,
    client_of,
    create_tables,
    parse_url,
    session_of,
)
from sesight.store.dynamodb.item_codec import EVERY_ITEM, Item, read_card, read_suppression
from sesight.store.dynamodb.keys import TOTAL, key_text, text_key
from sesight.store.dynamodb.message_log import Log
from sesight.store.dynamodb.metadata import Notes
from sesight.store.dynamodb.open_dimensions import RegisteredValues
from sesight.store.dynamodb.quarantine import Quarantine
from sesight.store.dynamodb.rollup_aggregator import Aggregator
from sesight.store.dynamodb.rollups import Rows
from sesight.store.dynamodb.send_log import DynamoSendLog
from sesight.store.dynamodb.tables import (
    DUE_INDEX,
    PREFIX_INDEX,
    control_table,
    tables_of,
)
from sesight.store.dynamodb.view import DynamoView
from sesight.store.filters import PATIENCE
from sesight.store.retention import (
    AHEAD,
    DEFAULT_DAYS,
    READ_AGAIN,
    Look,
    Retention,
    Setting,
    State,
    believed,
    changed,
    in_force,
    is_longer,
    looked,
    shortened,
)
from sesight.store.sqlite.expiry import HOURS_KEPT
from sesight.store.sqlite.suppressions import LAST, QUARANTINE_MS

ROUNDS = 8
"""How often a batch is decided again before what is still in conflict is given back."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.8
"""Seconds at most before a batch is decided again, at random: doubled each time, so that many who
change the same come out of each other's way.
"""

FEED_LAG = 90.0
"""Seconds in which changes come by the feed: batches wait for up to a minute to fill."""

AWAITED = 10_000
"""Records of the latest commits that `settle` waits for."""

COMPACTED_FOR = 10 * DAY
"""Milliseconds after a campaign's last event during which its rows are looked through for old parts."""

_NONE = (0,) * len(COUNTERS)


class DynamoStore:
    """`sesight.domain.ports.Store` in DynamoDB tables. Any thread may use it, all at once."""

    def __init__(
        self,
        region: str,
        streams: Mapping[str, Stream],
        *,
        endpoint: str | None = None,
        prefix: str = "",
        retention_days: int | None = None,
        policy: SuppressionPolicy | None = None,
        clock: Clock,
    ) -> None:
        """Open the tables of a region.

        An `endpoint` is a local engine: missing tables are created there, expired records are swept
        and the change feed is followed by this process, all of which AWS does by itself.
        Raises SettingsError if there is no such table, StoreUnavailable.
        """
        self._clock = clock
        self._local = endpoint is not None
        session, options = session_of(region, endpoint)
        self.calls = Calls(client_of(session, options))
        self._streams_client = partial(session.create_client, "dynamodbstreams", **options)
        self.tables = tables_of(streams, prefix)
        control = control_table(prefix).name
        self._feed: Feed | None = None
        self._awaited: dict[Written, int] = {}
        self._usual_days: dict[tuple[str, int], int] = {}
        self._closed = False
        if endpoint is not None:
            self.while_there_is(lambda: LOCAL_PATIENCE)
            create_tables(self.calls, streams, prefix)
        self._notes = Notes(self.calls, control, sweeps=self._local)
        self._quarantine = Quarantine(self.calls, control)
        self._rows = Rows(self.calls, self.tables)
        self._values = RegisteredValues(self.calls, self.tables)
        self._log = Log(self.calls, self.tables, self._notes)
        self.sending = DynamoSendLog(self.calls, control, self.tables)
        self.conflicts = 0
        """How many records were decided again so far, since others had changed them first."""
        try:
            self.retention = self._open_retention(retention_days)
        except self.calls.failure as error:
            self.close()
            raise SettingsError(
                f"The table {control} in {region} cannot be used: {error}."
            ) from None
        except StoreUnavailable:
            self.close()
            raise
        self._parts = Parts(
            self.calls,
            self.tables,
            self._notes,
            self._quarantine,
            clock,
            SuppressionPolicy() if policy is None else policy,
            self.expires_at,
            self._hold,
            self._held_since,
            {},
        )

    def close(self) -> None:
        """Let go of threads and connections; on a local engine, bring rollups up to date first."""
        if self._closed:
            return
        if self._local and self._awaited:
            self.while_there_is(lambda: LOCAL_PATIENCE)
            self.settle()
        self._closed = True
        self.calls.close()
        if self._feed is not None:
            self._feed.close()

    def serve(self) -> None:
        """Do nothing: any number of servers may use the tables at once."""

    def damage(self) -> str | None:
        """Return None: DynamoDB keeps what it was given."""
        return None

    def while_there_is(self, remaining: Callable[[], float]) -> None:
        """Let calls be tried again only while there is time: `remaining` tells how many seconds.

        A Lambda function says what is left to it, less what it needs to answer.
        """
        self.calls.remaining = remaining

    @property
    def throttled(self) -> Mapping[str, int]:
        """Return how often each table or index was throttled so far."""
        return self.calls.throttled

    # Writing

    def transact(self, fold: Callable[[View], Changes]) -> set[RecordKey]:
        """Run `fold` over a view and commit what it returns; see the port.

        Raises StoreUnavailable if nothing of the batch may count as stored.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        view = DynamoView(self.calls, self.tables, self._quarantine, self._is_frozen)
        commit = Commit(self._parts, view)
        changes = fold(view)
        try:
            for number in range(ROUNDS):
                if commit.round(changes):
                    break
                self.conflicts += len(commit.conflicts)
                self._pause(number)
                changes = fold(view)
            else:
                if not commit.stands(changes):
                    raise StoreUnavailable("Others change the same all the time.")
        except StoreUnavailable:
            if not (commit.written and commit.stands(changes)):
                raise
        lost = commit.unwritten(changes)
        if changes.afterwards is not None:
            try:
                self._change_afterwards(changes.afterwards)
            except StoreUnavailable:
                lost |= changes.awaiting()
        commit.finish(changes, whole=not lost)
        self._await(commit.written)
        return lost

    def _pause(self, number: int) -> None:
        """Pause after a round, given how many there were before it."""
        longest = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
        self.calls.sleep(random.uniform(0, longest))  # noqa: S311

    def _change_afterwards(self, decide: Callable[[View], Changes]) -> None:
        """Change suppressions as records now stored want it, until a look shows nothing to change.

        Everybody looks after writing, at the item first and at records then: whoever is the last to
        write either sees all.
        """
        for number in range(ROUNDS):
            view = DynamoView(self.calls, self.tables, self._quarantine, self._is_frozen)
            changes = decide(view)
            if not changes.suppressions:
                return
            if not Commit(self._parts, view).round(changes):
                self._pause(number)
        raise StoreUnavailable("Others change the same all the time.")

    def _await(self, written: Mapping[tuple[RecordKey, str], int]) -> None:
        """Remember what was written, for `settle`."""
        awaited = self._awaited
        for ((message_id, recipient), stream), version in written.items():
            place = (self.tables[stream].tracking.name, text_key(message_id), text_key(recipient))
            awaited.pop(place, None)
            awaited[place] = version
        for place in list(islice(awaited, max(len(awaited) - AWAITED, 0))):
            awaited.pop(place, None)

    def bounded(self, rollups: Rollups) -> Rollups:
        """Return increments under the rows that keep them: values beyond the bound as `~other`."""
        return self._bounded(rollups, register=False)

    def _bounded(self, rollups: Rollups, *, register: bool) -> Rollups:
        rows = self._values.rows(rollups, register=register)
        kept: Rollups = {}
        for key in sorted(rollups):
            _add(kept, rows[key], rollups[key])
        return kept

    def repair(self, rollups: Rollups) -> None:
        """Add increments to rollup rows, and sum totals of their campaigns anew; see the port."""
        self._rows.repair(self._bounded(rollups, register=True))
        for stream, campaign in sorted({(key.stream, key.campaign) for key in rollups}):
            if campaign:
                self._rows.repair(self._missing_in_totals(stream, campaign))

    def _missing_in_totals(self, stream: str, campaign: str) -> Rollups:
        """Return what a campaign's totals lack to be the sum of its days."""
        for _ in range(ROUNDS):
            before = self.campaign_totals(stream, campaign)
            days = self.rollups(Family.DAY, stream, campaign)
            if before == self.campaign_totals(stream, campaign):
                break
        else:
            raise StoreUnavailable(f"The totals of {campaign!r} change all the time: try again.")
        missing: Rollups = {}
        for key, counts in days:
            _add(missing, key._replace(family=TOTAL, bucket=0), counts)
        for key, counts in before:
            _add(missing, key._replace(family=TOTAL), [-n for n in counts])
        return missing

    def sync(self) -> None:
        """Do nothing: what was committed is durable."""

    def settle(self) -> None:
        """Follow the change feed until rollups agree with what was committed here; on AWS, give the
        function that follows it the time that it takes when it is well.
        """
        if not self._local:
            self.calls.sleep(FEED_LAG)
            return
        if self._feed is None:
            aggregator = Aggregator(self.calls, self.tables, self._clock)
            tables = [table.name for of in self.tables.values() for table in of[:2]]
            self._feed = Feed(self._streams_client(), self.calls, aggregator, tables)
        self._feed.follow(self._awaited)

    def idle(self) -> None:
        """Follow the change feed where nobody else does."""
        if self._local:
            self.settle()

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Remove what has outlived its use: old hour rows and quarantined bodies, and up to `limit`
        expired records and intents where DynamoDB's own expiry does not.
        """
        if self._local:
            self._look(now)
        then = self.retention.believed(now)
        live_from = self.live_from(now)
        removed = 0
        for stream in self.tables if self._local else ():
            held = self._notes.backfilled(stream, live_from, live_from)
            for day in self._notes.days(stream, 0, live_from):
                if removed < limit and day not in held:
                    self._notes.note_swept_to(day + 1)
                    removed += self._sweep_day(stream, day, limit - removed)
        hours = sum(
            self._rows.forget_hours(stream, then // HOUR - HOURS_KEPT) for stream in self.tables
        )
        bodies = self._quarantine.expired(then - QUARANTINE_MS)
        self._quarantine.release(bodies)
        intents = self.sending.sweep(then, limit) if self._local else 0
        return SweepResult(removed, intents, len(bodies), hours, live_from, doubted=then != now)

    def _sweep_day(self, stream: str, day: int, limit: int) -> int:
        walk = self._log.walk(stream, day * DAY, (day + 1) * DAY)
        gone = list(islice(walk, limit))
        self.calls.delete_many(self.tables[stream].tracking.name, [entry.key for entry in gone])
        if len(gone) < limit:
            self._notes.forget_day(stream, day)
        return len(gone)

    def compact(self, now: int) -> int:
        """Put old parts of rollup rows together; return how many went. Daily is often enough."""
        return sum(
            self._rows.compact(
                stream,
                now,
                [
                    card.campaign
                    for card in self._cards(stream)
                    if (card.last_event_at or 0) > now - COMPACTED_FOR
                ],
            )
            for stream in self.tables
        )

    # Reading

    def messages(
        self, wanted: RecordFilter, limit: int, cursor: str | None, now: int, *, newer: bool = False
    ) -> RecordPage:
        """Return a page of records; see the port."""
        return self._log.page(wanted, limit, cursor, self.live_from(now), newer=newer)

    def message(self, message_id: str, now: int) -> list[Record]:
        """Return all records of one message that are still held, `*` last."""
        view = DynamoView(self.calls, self.tables, self._quarantine, self._is_frozen)
        live_from = self.live_from(now) * DAY
        found = view.records([message_id]).get(message_id, [])
        return sorted(
            (record for record in found if record.identity.sent_at >= live_from),
            key=lambda record: (record.recipient == UNATTRIBUTED, record.recipient),
        )

    def rollups(
        self,
        family: str,
        stream: str,
        campaign: str = "",
        since: int | None = None,
        until: int | None = None,
        dimension: str | None = None,
    ) -> list[RollupRow]:
        """Return rows of one family and scope; see the port."""
        return self._rows.read(family, stream, campaign, since, until, dimension)

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's day rows summed over all days; see the port."""
        return self._rows.campaign_totals(stream, campaign)

    def bad_changes(self) -> dict[str, int]:
        """Return how many changes of each stream's feeds could not be read, and are in no total."""
        return {stream: self._rows.bad_records(stream) for stream in self.tables}

    def cards(self, streams: Collection[str]) -> list[tuple[Card, Sequence[int]]]:
        """Return every card with its campaign's totals."""
        found: list[tuple[Card, Sequence[int]]] = []
        for stream in self.tables:
            if stream in streams:
                totals = self._rows.totals(stream)
                found += [(card, totals.get(card.campaign, _NONE)) for card in self._cards(stream)]
        return found

    def _cards(self, stream: str) -> Iterator[Card]:
        items = self.calls.query(
            TableName=self.tables[stream].rollups.name, ConsistentRead=True, **equals(pk=CARD)
        )
        return map(read_card, items)

    def card(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        if stream not in self.tables:
            return None
        key = {"pk": {"S": CARD}, "sk": {"S": campaign}}
        item = self.calls.get(self.tables[stream].rollups.name, key)
        return read_card(item) if item is not None else None

    def suppression(self, stream: str, address: str) -> Suppression | None:
        """Return one item, as it is at this moment."""
        if stream not in self.tables:
            return None
        table = self.tables[stream].suppression.name
        item = self.calls.get(table, {"email": {"S": text_key(address)}})
        return read_suppression(item) if item is not None else None

    def suppressions_of(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items that can block the addresses in a stream; see the port."""
        if stream not in self.tables:
            return {}
        table = self.tables[stream].suppression.name
        keys = sorted({key for each in addresses for key in suppression_keys(each)})
        asked = [(table, {"email": {"S": text_key(key)}}) for key in keys]
        found = [read_suppression(item) for _, item in self.calls.get_many(asked, consistent=True)]
        return {item.address: item for item in found}

    def suppressions(
        self,
        stream: str,
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> SuppressionPage:
        """Return a page of items in order of the address; see the port."""
        if stream not in self.tables:
            return SuppressionPage([], None)
        table = self.tables[stream].suppression.name
        begin = text_key(prefix) if prefix else "!"
        low = begin if after is None else max(begin, text_key(after))
        looked = 0
        last: str | None = None
        keys: list[tuple[str, Item]] = []
        for entry in self.calls.query(
            limit * PATIENCE + 1,
            TableName=table,
            IndexName=PREFIX_INDEX.name,
            **between(("list", EVERY_ITEM), ("email", low, (begin if prefix else "") + LAST)),
        ):
            address = key_text(entry["email"]["S"])
            if address == after:
                continue
            looked += 1
            if active in (None, entry["active"]["BOOL"]) and (
                reason is None or entry.get("reason", {}).get("S") == reason
            ):
                keys.append((table, {"email": entry["email"]}))
            if len(keys) == limit or looked == limit * PATIENCE:
                last = address
                break
        read = [read_suppression(item) for _, item in self.calls.get_many(keys, consistent=True)]
        found = [
            item
            for item in read
            # the index may be behind
            if active in (None, item.counted is not None)
            and (reason is None or (item.counted is not None and item.counted[1] == reason))
        ]
        return SuppressionPage(sorted(found, key=lambda item: text_key(item.address)), last)

    def suppressions_due(self, now: int, limit: int) -> list[Suppression]:
        """Return counted items whose time to block is over at `now`, the longest over first."""
        due: list[tuple[int, Suppression]] = []
        for tables in self.tables.values():
            table = tables.suppression.name
            entries = list(
                self.calls.query(
                    limit,
                    TableName=table,
                    IndexName=DUE_INDEX.name,
                    KeyConditionExpression="due = :due AND #until <= :now",
                    ExpressionAttributeNames={"#until": DUE_INDEX.range},
                    ExpressionAttributeValues={":due": {"S": EVERY_ITEM}, ":now": {"N": str(now)}},
                )
            )
            keys = [(table, {"email": entry["email"]}) for entry in entries]
            for _, item in self.calls.get_many(keys, consistent=True):
                if "until" in item and int(item["until"]["N"]) <= now:
                    due.append((int(item["until"]["N"]), read_suppression(item)))
        return [item for _, item in sorted(due, key=lambda both: both[0])[:limit]]

    def suppressions_counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every item of a stream that counts as active, in order of the address."""
        if stream not in self.tables:
            return
        table = self.tables[stream].suppression.name
        entries = self.calls.query(
            TableName=table, IndexName=PREFIX_INDEX.name, **equals(list=EVERY_ITEM)
        )
        while some := list(islice(entries, BATCH_READ)):
            keys = [(table, {"email": one["email"]}) for one in some if one["active"]["BOOL"]]
            items = [item for _, item in self.calls.get_many(keys, consistent=True)]
            for item in sorted(items, key=lambda item: str(item["email"]["S"])):
                found = read_suppression(item)
                if found.counted is not None:
                    yield found

    def quarantine(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return quarantined bodies, newest first."""
        return self._quarantine.newest(limit, reason)

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many bodies are quarantined, by reason."""
        return self._quarantine.counts()

    def newest_at(self) -> int | None:
        """Return when the newest applied event was taken in, to the second."""
        return self._notes.noted("newest_at")

    def first_day(self) -> int | None:
        """Return the first UTC send day the store ever held."""
        return self._notes.noted("first_day")

    def list_version(self, stream: str) -> int:
        """Return the version that was noted of a stream's suppression list; see the port."""
        return self._notes.noted(f"list:{stream}") or 0

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; see the port."""
        self._notes.note_list_version(stream, version)

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Forget the versions that were noted of other lists; see the port."""
        self._notes.keep_list_versions(streams)

    def held_days(self, stream: str, now: int) -> list[int]:
        """Return the send days of which records are held, in order."""
        if stream not in self.tables:
            return []
        live = self.live_from(now)
        return [
            day
            for day in [
                *self._notes.backfilled(stream, live, live),
                *self._notes.days(stream, live),
            ]
            if next(self._log.walk(stream, day * DAY, (day + 1) * DAY), None) is not None
        ]

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not, in order of the send."""
        if stream not in self.tables:
            return
        walk = self._log.walk(stream, day * DAY, (day + 1) * DAY)
        while some := list(islice(walk, BATCH_READ)):
            records = dict(self._log.fetch(iter(some)))
            for entry in some:
                record = records.get(entry.at)
                if record is not None:
                    yield record

    # Retention

    def live_from(self, now: int) -> int:
        """Return the first UTC send day (number) that is not expired at `now` (epoch ms)."""
        return self.retention.live_from(now)

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        return self.retention.expires_at(day)

    def _open_retention(self, days: int | None) -> Retention:
        """Return how long records are kept; a longer retention than there was is noted."""
        now = self._clock()
        state = self._notes.state()
        if not state.settings or days is not None:
            today = believed(state.look, now) // DAY

            def lengthened(settings: list[Setting]) -> list[Setting]:
                if not settings:
                    return [Setting(today, DEFAULT_DAYS if days is None else days)]
                if days is None or not is_longer(days, in_force(settings, today)[-1].days):
                    return settings
                return changed(settings, Setting(today, days), today)

            self._notes.change_settings(lengthened)
        if self._local and (state.look is None or not 0 <= now - state.look.known_at < HOUR):
            self._note_look(state, now)
        return Retention(self._notes.state, self._notes.state(), self._clock)

    def _look(self, now: int) -> None:
        """Look at the clock and note what is known of it then."""
        self._note_look(self._notes.state(), now)
        self.retention.take(self._notes.state())

    def _note_look(self, state: State, now: int) -> None:
        before = state.look or Look(self._notes.noted("newest_at") or now)
        event_at = self._notes.noted("event_at")
        look = looked(before, now, event_at)
        self._notes.note_look(look)
        if (
            look.doubted_from is None
        ):  # what a clock that was ahead took in is not the newest for ever
            self._notes.lower_newest(event_at or now, now + AHEAD)

    def shorten(self, days: int) -> Setting:
        """Have records kept for fewer days from the day that is returned on; it can be taken back until
        then. Raises InvalidRequest if that is not shorter.
        """
        today = self.retention.believed(self._clock()) // DAY

        def shorter(settings: list[Setting]) -> list[Setting]:
            return changed(settings, shortened(settings, days, today), today)

        self._notes.change_settings(shorter)
        state = self._notes.state()
        self.retention.take(state)
        return state.settings[-1]

    def take_back(self) -> bool:
        """Take a shorter retention back that is not in force yet; return whether there was one."""
        today = self.retention.believed(self._clock()) // DAY
        was = self.retention.planned is not None
        self._notes.change_settings(lambda settings: in_force(settings, today))
        self.retention.take(self._notes.state())
        return was

    # Backfills

    def _has_totals(self, stream: str, day: int) -> bool:
        rows = self.rollups(Family.DAY, stream, "", day, day + 1, "")
        return any(any(row.counts) for row in rows)

    def _is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        # totals first: who begins a backfill notes it before anything is counted
        if stream not in self.tables or not self._has_totals(stream, day):
            return False
        taken_on = self._notes.taken_on(stream, day)
        return taken_on is None or taken_on < live_from

    def _hold(self, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Hold (stream, send day)s from today on, unless they are held or there are totals of them;
        return those held with the day on which their backfill began.
        """
        now = self._clock()
        today, live_from = self.retention.believed(now) // DAY, self.live_from(now)
        held = {}
        for stream, day in sorted(places):
            taken_on = self._notes.taken_on(stream, day)
            if (taken_on is None or taken_on < live_from) and not self._has_totals(stream, day):
                self._notes.hold(stream, day, today, live_from)
            taken_on = self._notes.taken_on(stream, day)
            if taken_on is not None and taken_on >= live_from:
                held[stream, day] = taken_on
                self._usual_days.pop((stream, day), None)
        return held

    def _held_since(self, stream: str, day: int) -> int:
        """Return the day as of which records of a send day are kept: that on which its backfill began,
        else the day itself. That there is no backfill is believed for a minute.
        """
        now, place = self._clock(), (stream, day)
        if 0 <= now - self._usual_days.get(place, -READ_AGAIN) < READ_AGAIN:
            return day
        taken_on = self._notes.taken_on(stream, day)
        if taken_on is not None and taken_on >= self.live_from(now):
            return max(day, taken_on)
        if len(self._usual_days) >= AWAITED:
            self._usual_days.clear()
        self._usual_days[place] = now
        return day


def _add(rollups: Rollups, key: RollupKey, counts: Sequence[int]) -> None:
    held = rollups.get(key)
    rollups[key] = (
        list(counts) if held is None else [a + b for a, b in zip(held, counts, strict=True)]
    )


def open_aggregator(url: str, streams: Mapping[str, Stream], clock: Clock) -> Aggregator:
    """Return what applies the change feeds of the tables that a store's URL names; see `take` there.

    Raises SettingsError for a URL of another kind.
    """
    region, endpoint, prefix = parse_url(url)
    session, options = session_of(region, endpoint)
    calls = Calls(session.create_client("dynamodb", **options))
    return Aggregator(calls, tables_of(streams, prefix), clock)
