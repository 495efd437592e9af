"""Writing what a batch decided: suppressions first, then records, each on condition that it still is
what the batch had read.

Records go by BatchExecuteStatement, 25 a call: an INSERT refuses what is there, an UPDATE has the
version in its condition. It costs what 25 PutItem cost, and a third of their time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sesight.domain.card import Card
from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.ports import Changes, Clock, RecordKey
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb import quarantine as quarantined
from sesight.store.dynamodb.client import BATCH_WRITE, TRANSIENT, TRIED_BEFORE, Calls
from sesight.store.dynamodb.item_codec import (
    OPTIONAL,
    Item,
    card_item,
    read_card,
    record_body,
    record_item,
    suppression_item,
    version_of,
)
from sesight.store.dynamodb.keys import month_of, places
from sesight.store.dynamodb.metadata import Notes
from sesight.store.dynamodb.quarantine import Quarantine
from sesight.store.dynamodb.tables import EXPIRES, StreamTables
from sesight.store.dynamodb.view import DynamoView, Place
from sesight.store.retention import AHEAD
from sesight.store.sqlite.suppressions import described

_log = logging.getLogger(__name__)

FAILED_CONDITION = "ConditionalCheckFailedException"
_CONFLICT = frozenset({"ConditionalCheckFailed", "DuplicateItem"})

KNOWN_CARDS = 10_000
"""Cards that a process remembers."""

CARD = "CARD"
"""The partition of a stream's cards in its rollup table."""


class Parts(NamedTuple):
    """What commits of one store share."""

    calls: Calls
    streams: Mapping[str, StreamTables]
    notes: Notes
    quarantine: Quarantine
    clock: Clock
    policy: SuppressionPolicy
    expires_at: Callable[[int], int | None]
    hold: Callable[[Collection[tuple[str, int]]], Mapping[tuple[str, int], int]]
    """Holds send days for a backfill; returns those held, with the day on which it began."""
    held_since: Callable[[str, int], int]
    """The day as of which records of a stream's send day are kept: a day expires as a whole, with what
    a backfill brought, whoever wrote its records."""
    cards: dict[tuple[str, str], Card]
    """Cards as they were last read or written, by stream and campaign: stored ones only grow."""


class _Writing(NamedTuple):
    """A record on its way: its key, its item, and the item it replaces."""

    key: RecordKey
    record: Record
    item: Item
    replaces: Item | None


class Commit:
    """One batch's commit, of as many rounds as conflicts make necessary."""

    def __init__(self, parts: Parts, view: DynamoView) -> None:
        """Start with nothing written."""
        self._parts = parts
        self._view = view
        self._records: dict[RecordKey, tuple[Record, Item]] = {}
        self._suppressions: dict[Place, tuple[Suppression, int]] = {}
        self._bodies: set[str] = set()
        self._unread: set[RecordKey] = set()
        self._taken_on: dict[tuple[str, int], int] = {}
        self.conflicts: set[RecordKey] = set()
        """Keys of records that somebody else changed first, this round."""
        self.unsuppressed = False
        """Whether somebody else changed a suppression first, this round."""

    @property
    def written(self) -> dict[tuple[RecordKey, str], int]:
        """Return the records written, by key and stream, with the version each has now."""
        return {
            (key, record.stream): version_of(item) for key, (record, item) in self._records.items()
        }

    def round(self, changes: Changes) -> bool:
        """Write what is not written yet; return whether all of it is now as the batch decided.

        If not, the view knows better, and the batch is to be decided again.
        """
        self.conflicts = set()
        if changes.backfilled:
            self._taken_on |= self._parts.hold(changes.backfilled)
        days = {(one.stream, one.identity.sent_at // DAY) for one in changes.records.values()}
        for place in days - self._taken_on.keys():
            self._taken_on[place] = self._parts.held_since(*place)
        writings, suppressions, bodies = self._prepared(changes)
        self._view.written |= self._parts.quarantine.put(bodies)
        self._bodies |= {held.id for held in bodies}
        self.unsuppressed = not self._suppress(suppressions)
        self._put_cards(changes.cards)
        self._note(changes)
        self._write(writings)
        return not self.unsuppressed and not self.conflicts and not self._was_overtaken(changes)

    def _prepared(
        self, changes: Changes
    ) -> tuple[list[_Writing], list[tuple[Suppression, int, Item]], list[Quarantined]]:
        """Return everything as it is to be written: what cannot be fails here, before any write."""
        bodies = [held for held in changes.quarantined if held.id not in self._bodies]
        for held in bodies:
            quarantined.packed(held)
        self._view.suppressions(changes.suppressions.keys())
        now, policy = self._parts.clock(), self._parts.policy
        suppressions = []
        for place, item in changes.suppressions.items():
            self._tables(item.stream)
            done = self._suppressions.get(place)
            if done is not None and done[0] == item:
                continue
            version = done[1] if done is not None else self._view.items[place][1]
            said = described(item, now, policy)
            suppressions.append((item, version, suppression_item(item, said, version + 1)))
        unseen: dict[str, set[str]] = {}
        for key in changes.records:
            unseen.setdefault(key[0], set()).add(key[1])
        self._view.records(unseen, lambda: unseen)
        writings = [
            self._writing(key, record)
            for key, record in changes.records.items()
            if key not in self._records or self._records[key][0] != record
        ]
        return writings, suppressions, bodies

    def _tables(self, stream: str) -> StreamTables:
        tables = self._parts.streams.get(stream)
        if tables is None:
            raise SettingsError(f"There are no tables for the stream {stream!r}: add it to them.")
        return tables

    def _writing(self, key: RecordKey, record: Record) -> _Writing:
        done = self._records.get(key)
        held = self._view.held.get(key[0], {}).get(key)
        replaces = None if held is None else held.item
        if done is not None:
            replaces = done[1]
        day = record.identity.sent_at // DAY
        expires_at = self._parts.expires_at(self._taken_on[record.stream, day])
        if expires_at is not None and replaces is not None and EXPIRES in replaces:
            # what a backfill holds longer, a late event of the usual way must not end early
            expires_at = max(expires_at, int(replaces[EXPIRES]["N"]) * 1_000)
        item = record_item(
            record,
            places(record, months=self._tables(record.stream).months),
            expires_at,
            version_of(replaces) + 1,
            record_body(record),
        )
        return _Writing(key, record, item, replaces)

    # Suppressions

    def _suppress(self, suppressions: Sequence[tuple[Suppression, int, Item]]) -> bool:
        """Write suppressions; return whether none had been changed by somebody else."""
        return all(self._parts.calls.each(self._put_suppression, suppressions))

    def _put_suppression(self, writing: tuple[Suppression, int, Item]) -> bool:
        item, version, words = writing
        calls = self._parts.calls
        try:
            calls(
                "put_item",
                TableName=self._tables(item.stream).suppression.name,
                Item=words,
                **_still(version, "email"),
            )
        except calls.failure as error:
            if error.response["Error"]["Code"] != FAILED_CONDITION:
                raise
            found = error.response["Item"]
            if not (TRIED_BEFORE in error.response and found == words):
                self._view.remember_suppression(item.stream, found)
                self._suppressions.pop((item.stream, item.address), None)
                return False
        self._suppressions[item.stream, item.address] = (item, version + 1)
        return True

    # Cards and notes: before the records, since a batch that comes again does not speak of them

    def _put_cards(self, cards: Mapping[tuple[str, str], Card]) -> None:
        self._parts.calls.each(self._put_card, cards.values())

    def _put_card(self, card: Card) -> None:
        """Join a card into the stored one, unless that is known to have it."""
        calls, table = self._parts.calls, self._tables(card.stream).rollups.name
        place, known = (card.stream, card.campaign), self._parts.cards
        if place in known and known[place].joined(card) == known[place]:
            return
        key = {"pk": {"S": CARD}, "sk": {"S": card.campaign}}
        pauses = calls.pauses()
        while True:
            item = calls.get(table, key)
            held = read_card(item) if item is not None else None
            joined = held.joined(card) if held is not None else card
            if joined == held or self._replace_card(table, key, joined, version_of(item)):
                break
            calls.wait(pauses, f"Others change the card of {card.campaign!r} all the time")
        if len(known) >= KNOWN_CARDS:
            known.clear()
        known[place] = joined

    def _replace_card(self, table: str, key: Item, card: Card, version: int) -> bool:
        """Write a card; return whether it still was what had been read."""
        calls = self._parts.calls
        item = {**key, **card_item(card, version + 1)}
        try:
            calls("put_item", TableName=table, Item=item, **_still(version, "pk"))
        except calls.failure as error:
            if error.response["Error"]["Code"] != FAILED_CONDITION:
                raise
            return False
        return True

    def _note(self, changes: Changes) -> None:
        """Note where the records will be, for readers to look there."""
        if not changes.records:
            return
        days: set[tuple[str, int]] = set()
        months: dict[tuple[str, int], int] = {}
        for record in changes.records.values():
            day = record.identity.sent_at // DAY
            days.add((record.stream, day))
            if self._tables(record.stream).months:
                month = (record.stream, month_of(record))
                months[month] = max(day, months.get(month, day))
        self._parts.notes.note_days(days)
        self._parts.notes.note_months(months)
        self._parts.notes.note_first_day(min(day for _, day in days))

    # Records

    def _write(self, writings: Sequence[_Writing]) -> None:
        chunks = [writings[at : at + BATCH_WRITE] for at in range(0, len(writings), BATCH_WRITE)]
        self._parts.calls.each(self._write_chunk, chunks)
        self._view.refresh(self._unread)
        self._unread = set()

    def _write_chunk(self, writings: Sequence[_Writing]) -> None:
        """Write some records until each is written, in conflict, or time is up; what is refused for
        one of them is refused for that alone.
        """
        calls = self._parts.calls
        left = list(writings)
        pauses = calls.pauses()
        while left:
            try:
                response = calls(
                    "batch_execute_statement", Statements=[self._statement(one) for one in left]
                )
            except StoreUnavailable:
                return  # they stay unwritten
            except calls.failure:
                if len(left) == 1:
                    _log.exception("a record was refused by DynamoDB")
                    return
                middle = len(left) // 2
                self._write_chunk(left[:middle])
                self._write_chunk(left[middle:])
                return
            again = [
                one
                for one, answer in zip(left, response["Responses"], strict=True)
                if not self._settled(one, answer.get("Error"), tried=TRIED_BEFORE in response)
            ]
            if again:
                pause = next(pauses, None)
                if pause is None:
                    return
                calls.sleep(pause)
            left = again

    def _settled(self, one: _Writing, error: Any, *, tried: bool) -> bool:
        """Note what became of one record, perhaps `tried` before; return whether it needs no other
        try.
        """
        if error is None or (tried and error["Code"] in _CONFLICT and self._is_written(one)):
            self._records[one.key] = (one.record, one.item)
            self._view.written.add(one.key)
            return True
        code = error["Code"]
        if code in TRANSIENT:
            self._parts.calls.throttled[self._tables(one.record.stream).tracking.name] += 1
            return False
        if code in _CONFLICT:
            self.conflicts.add(one.key)
            self._records.pop(one.key, None)
            if "Item" in error:
                self._view.remember(error["Item"], one.record.stream)
            else:
                self._unread.add(one.key)
        else:
            _log.error("a record was refused by DynamoDB: %s %s", code, error.get("Message"))
        return True

    def _is_written(self, one: _Writing) -> bool:
        """Return whether a record is what was to be written: a try without an answer wrote it."""
        key = {name: one.item[name] for name in ("messageId", "recipient")}
        found = self._parts.calls.get(self._tables(one.record.stream).tracking.name, key)
        return found is not None and one.item.items() <= found.items()

    def _statement(self, one: _Writing) -> dict[str, Any]:
        table = self._tables(one.record.stream).tracking.name
        item, before = one.item, one.replaces
        if before is None:
            text = _insert(table, tuple(item))
            parameters = list(item.values())
        else:
            changed = tuple(name for name in item if item[name] != before.get(name))
            gone = tuple(name for name in OPTIONAL if name in before and name not in item)
            text = _update(table, changed, gone)
            parameters = [item[name] for name in changed]
            parameters += [item["messageId"], item["recipient"], before["version"]]
        return {
            "Statement": text,
            "Parameters": parameters,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    # Others at the same time

    def _was_overtaken(self, changes: Changes) -> bool:
        """Return whether a message and bodies that wait for it came at the same time.

        Whoever writes looks again afterwards for what the other writes, so that one of them sees it.
        """
        waiting = {
            held.message_id
            for held in changes.quarantined
            if held.reason == quarantined.UNROUTED and held.message_id is not None
        }
        if waiting and self._view.look_again(waiting):
            return True
        return self._view.is_awaited()

    def stands(self, changes: Changes) -> bool:
        """Return whether all is written but records perhaps, of which each stands alone."""
        return all(held.id in self._bodies for held in changes.quarantined) and all(
            place in self._suppressions and self._suppressions[place][0] == item
            for place, item in changes.suppressions.items()
        )

    def unwritten(self, changes: Changes) -> set[RecordKey]:
        """Return the keys of the records that are not stored as the batch decided."""
        return {
            key
            for key, record in changes.records.items()
            if key not in self._records or self._records[key][0] != record
        }

    def finish(self, changes: Changes, *, whole: bool) -> None:
        """Do what comes after all records: release bodies folded in, if the `whole` batch is stored,
        and note the newest intake. What cannot be done now, others do: it is not worth the batch.
        """
        folded = self._bodies - {held.id for held in changes.quarantined}
        try:
            if whole:
                self._parts.quarantine.release(sorted({*changes.released, *folded}))
            if changes.newest_at is not None:
                self._parts.notes.note_newest(changes.newest_at)
            if changes.event_at is not None and changes.event_at <= self._parts.clock() + AHEAD:
                self._parts.notes.note_event(changes.event_at)
        except StoreUnavailable as error:
            _log.warning("a batch is stored, but not all was noted beside it: %s", error)


@cache
def _insert(table: str, names: tuple[str, ...]) -> str:
    """Write an INSERT, which is refused if the item is there."""
    return f'INSERT INTO "{table}" VALUE {{{", ".join(f"{name!r}: ?" for name in names)}}}'


@cache
def _update(table: str, names: tuple[str, ...], gone: tuple[str, ...]) -> str:
    """Write an UPDATE on condition of the version; attributes it does not know stay."""
    said = " ".join(
        [*[f'SET "{name}"=?' for name in names], *[f'REMOVE "{name}"' for name in gone]]
    )
    return f'UPDATE "{table}" {said} WHERE "messageId"=? AND "recipient"=? AND "version"=?'


def _still(version: int, key: str) -> dict[str, Any]:
    """Return the condition that an item is what was read."""
    found: dict[str, Any] = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if not version:
        found["ConditionExpression"] = f"attribute_not_exists({key})"
    else:
        found["ConditionExpression"] = "version = :version"
        found["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
    return found
