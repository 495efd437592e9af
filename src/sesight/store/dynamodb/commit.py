"""Committing a batch: suppressions first, then records, each on condition that it still is as the batch
read it. After a conflict the batch is decided again.

Records are written by BatchExecuteStatement, 25 in a call: an INSERT refuses an item that exists, an
UPDATE has the version in its condition. That costs as much as 25 PutItem, and a third of their time.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from sesight.domain.backoff import backoff
from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.ports import Changes, RecordKey, View
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb import quarantine
from sesight.store.dynamodb.client import (
    BATCH_WRITE,
    TRANSIENT,
    TRIED_BEFORE,
    ConditionFailed,
    Item,
    if_version,
    version_of,
)
from sesight.store.dynamodb.components import Components
from sesight.store.dynamodb.keys import index_keys, month_of
from sesight.store.dynamodb.record_codec import OPTIONAL, record_item
from sesight.store.dynamodb.suppressions import SuppressionKey, suppression_item
from sesight.store.dynamodb.tables import EXPIRES, StreamTables
from sesight.store.dynamodb.view import DynamoView, StoredSuppression
from sesight.store.retention import AHEAD

_log = logging.getLogger(__name__)

ROUNDS = 8
"""How often a batch is decided before records that are still in conflict are given back."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.8
"""Seconds at most before a batch is decided again: doubled each time, a random share of that, so that
processes that change the same records move out of each other's way.
"""

_CONFLICT = frozenset({"ConditionalCheckFailed", "DuplicateItem"})
_BUSY = "Other writers keep changing the same items."


class WriteResult(NamedTuple):
    """The result of a batch: the keys of records that could not be stored, and the records written, by
    key and stream, with the version each has now.
    """

    unwritten: set[RecordKey]
    versions: dict[tuple[RecordKey, str], int]


def new_view(store: Components) -> DynamoView:
    """Return a view that has read nothing."""
    return DynamoView(
        store.client,
        store.streams,
        store.suppressions,
        store.quarantine,
        store.backfills.is_frozen,
    )


def transact(store: Components, fold: Callable[[View], Changes]) -> WriteResult:
    """Run `fold` over a view and commit what it returns; see the port. Raises StoreUnavailable if
    nothing of the batch may count as stored.
    """
    view = new_view(store)
    commit = Commit(store, view)
    changes = fold(view)
    try:
        for pause in rounds():
            if commit.run_round(changes):
                break
            store.client.conflicts += len(commit.conflicts)
            store.client.sleep(pause)
            changes = fold(view)
        else:
            if not commit.is_complete_but_for_records(changes):
                raise StoreUnavailable(_BUSY)
    except StoreUnavailable:
        if not (commit.versions and commit.is_complete_but_for_records(changes)):
            raise
    unwritten = commit.unwritten(changes)
    if changes.afterwards is not None:
        try:
            _change_afterwards(store, changes.afterwards)
        except StoreUnavailable:
            unwritten |= changes.awaiting()
    commit.finish(changes, is_whole=not unwritten)
    return WriteResult(unwritten, commit.versions)


def rounds() -> Iterator[float]:
    """Yield the pause after each round that ended in a conflict."""
    return islice(backoff(FIRST_PAUSE, LONGEST_PAUSE, random.random), ROUNDS)


def _change_afterwards(store: Components, decide: Callable[[View], Changes]) -> None:
    """Change suppressions according to the records now stored, until a look shows nothing to change.

    Every writer looks after it has written, at the item first and then at the records: the last one to
    write either of them sees both.
    """
    for pause in rounds():
        view = new_view(store)
        changes = decide(view)
        if not changes.suppressions:
            return
        if not Commit(store, view).run_round(changes):
            store.client.sleep(pause)
    raise StoreUnavailable(_BUSY)


class _RecordWrite(NamedTuple):
    """A record to write: its key, its item, and the item it replaces."""

    key: RecordKey
    record: Record
    item: Item
    replaces: Item | None


class _SuppressionWrite(NamedTuple):
    """A suppression to write: its item, and the version it replaces."""

    suppression: Suppression
    item: Item
    replaces: int


class Commit:
    """One batch's commit, in as many rounds as conflicts make necessary."""

    def __init__(self, store: Components, view: DynamoView) -> None:
        self._store = store
        self._view = view
        self._records: dict[RecordKey, tuple[Record, Item]] = {}
        self._suppressions: dict[SuppressionKey, StoredSuppression] = {}
        self._bodies: set[str] = set()
        self._unread: set[RecordKey] = set()
        self._kept_since: dict[tuple[str, int], int] = {}
        """The day as of which records of a (stream, send day) are kept."""
        self.conflicts: set[RecordKey] = set()
        """Keys of the records that another writer changed first, in this round."""

    @property
    def versions(self) -> dict[tuple[RecordKey, str], int]:
        """Return the records written, by key and stream, with the version each has now."""
        return {
            (key, record.stream): version_of(item) for key, (record, item) in self._records.items()
        }

    def run_round(self, changes: Changes) -> bool:
        """Write what is not written yet; return whether everything is now stored as the batch decided.

        If not, the view has read the later state, and the batch is to be decided again.
        """
        self.conflicts = set()
        if changes.backfilled:
            self._kept_since |= self._store.backfills.hold(changes.backfilled)
        days = {
            (record.stream, record.identity.sent_at // DAY) for record in changes.records.values()
        }
        for day in days - self._kept_since.keys():
            self._kept_since[day] = self._store.backfills.kept_since(*day)
        # everything is prepared before the first write: what cannot be written fails here
        bodies = [body for body in changes.quarantined if body.id not in self._bodies]
        for body in bodies:
            quarantine.packed(body)
        suppression_writes = self._suppression_writes(changes)
        record_writes = self._record_writes(changes)
        self._view.written |= self._store.quarantine.put(bodies)
        self._bodies |= {body.id for body in bodies}
        are_suppressed = all(self._store.client.map(self._put_suppression, suppression_writes))
        # cards and metadata before the records: a batch that is redelivered does not repeat them
        self._store.client.map(self._store.cards.join, changes.cards.values())
        self._note_days(changes)
        self._write_records(record_writes)
        return are_suppressed and not self.conflicts and not self._was_overtaken(changes)

    def _tables(self, stream: str) -> StreamTables:
        tables = self._store.streams.get(stream)
        if tables is None:
            raise SettingsError(f"There are no tables for the stream {stream!r}: add it to them.")
        return tables

    # Suppressions

    def _suppression_writes(self, changes: Changes) -> list[_SuppressionWrite]:
        self._view.suppressions(changes.suppressions.keys())
        now, policy = self._store.clock(), self._store.policy
        writes = []
        for key, suppression in changes.suppressions.items():
            self._tables(suppression.stream)
            written = self._suppressions.get(key)
            if written is not None and written.suppression == suppression:
                continue
            version = (written or self._view.stored_suppressions[key]).version
            item = suppression_item(suppression, version + 1, now, policy)
            writes.append(_SuppressionWrite(suppression, item, version))
        return writes

    def _put_suppression(self, write: _SuppressionWrite) -> bool:
        """Write a suppression; return False if another writer has changed it first."""
        suppression, item, version = write
        key = (suppression.stream, suppression.address)
        try:
            self._store.client(
                "put_item",
                TableName=self._tables(suppression.stream).suppression.name,
                Item=item,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **if_version(version, "email"),
            )
        except ConditionFailed as failure:
            is_ours = failure.tried_before and failure.item == item
            if not is_ours:
                if failure.item is not None:
                    self._view.remember_suppression(suppression.stream, failure.item)
                self._suppressions.pop(key, None)
                return False
        self._suppressions[key] = StoredSuppression(suppression, version + 1)
        return True

    # Days and months

    def _note_days(self, changes: Changes) -> None:
        """Note in which days and months there will be records, so that readers look there."""
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
        metadata = self._store.metadata
        metadata.note_days(days)
        metadata.note_months(months)
        metadata.note_first_day(min(day for _, day in days))

    # Records

    def _record_writes(self, changes: Changes) -> list[_RecordWrite]:
        recipients: dict[str, set[str]] = {}
        for message_id, recipient in changes.records:
            recipients.setdefault(message_id, set()).add(recipient)
        self._view.records(recipients, lambda: recipients)
        return [
            self._record_write(key, changes.records[key])
            for key in changes.records
            if not self._is_written(key, changes.records[key])
        ]

    def _is_written(self, key: RecordKey, record: Record) -> bool:
        written = self._records.get(key)
        return written is not None and written[0] == record

    def _record_write(self, key: RecordKey, record: Record) -> _RecordWrite:
        written = self._records.get(key)
        stored = self._view.stored_records.get(key[0], {}).get(key)
        if written is not None:
            replaces: Item | None = written[1]
        else:
            replaces = stored.item if stored is not None else None
        kept_since = self._kept_since[record.stream, record.identity.sent_at // DAY]
        expires_at = self._store.retention.expires_at(kept_since)
        if expires_at is not None and replaces is not None and EXPIRES in replaces:
            # a later event must not end early what a backfill keeps longer
            expires_at = max(expires_at, int(replaces[EXPIRES]["N"]) * 1_000)
        keys = index_keys(record, months=self._tables(record.stream).months)
        item = record_item(record, keys, expires_at, version_of(replaces) + 1)
        return _RecordWrite(key, record, item, replaces)

    def _write_records(self, writes: Sequence[_RecordWrite]) -> None:
        chunks = [writes[at : at + BATCH_WRITE] for at in range(0, len(writes), BATCH_WRITE)]
        self._store.client.map(self._write_chunk, chunks)
        self._view.refresh_records(self._unread)
        self._unread = set()

    def _write_chunk(self, writes: Sequence[_RecordWrite]) -> None:
        """Write some records until each is written, in conflict, or time is up. If DynamoDB refuses the
        call because of one of them, only that one stays unwritten.
        """
        client = self._store.client
        left = list(writes)
        pauses = client.pauses()
        while left:
            try:
                response = client(
                    "batch_execute_statement", Statements=[self._statement(write) for write in left]
                )
            except StoreUnavailable:
                return  # they stay unwritten
            except client.failure:
                if len(left) == 1:
                    _log.exception("DynamoDB refused a record")
                    return
                middle = len(left) // 2
                self._write_chunk(left[:middle])
                self._write_chunk(left[middle:])
                return
            tried_before = TRIED_BEFORE in response
            left = [
                write
                for write, result in zip(left, response["Responses"], strict=True)
                if self._must_retry(write, result.get("Error"), tried_before=tried_before)
            ]
            if left:
                pause = next(pauses, None)
                if pause is None:
                    return
                client.sleep(pause)

    def _must_retry(self, write: _RecordWrite, error: Any, *, tried_before: bool) -> bool:
        """Note the result of writing one record; return whether to write it again."""
        if error is None or (
            tried_before and error["Code"] in _CONFLICT and self._is_stored(write)
        ):
            self._records[write.key] = (write.record, write.item)
            self._view.written.add(write.key)
            return False
        code = error["Code"]
        if code in TRANSIENT:
            table = self._tables(write.record.stream).tracking.name
            self._store.client.throttled[table] += 1
            return True
        if code in _CONFLICT:
            self.conflicts.add(write.key)
            self._records.pop(write.key, None)
            if "Item" in error:
                self._view.remember_record(error["Item"], write.record.stream)
            else:
                self._unread.add(write.key)
        else:
            _log.error("DynamoDB refused a record: %s %s", code, error.get("Message"))
        return False

    def _is_stored(self, write: _RecordWrite) -> bool:
        """Return whether a record is stored as it was to be written: by a try that got no answer."""
        key = {name: write.item[name] for name in ("messageId", "recipient")}
        table = self._tables(write.record.stream).tracking.name
        stored = self._store.client.get(table, key)
        return stored is not None and write.item.items() <= stored.items()

    def _statement(self, write: _RecordWrite) -> dict[str, Any]:
        table = self._tables(write.record.stream).tracking.name
        item, before = write.item, write.replaces
        if before is None:
            text = _insert(table, tuple(item))
            parameters = list(item.values())
        else:
            changed = tuple(name for name in item if item[name] != before.get(name))
            removed = tuple(name for name in OPTIONAL if name in before and name not in item)
            text = _update(table, changed, removed)
            parameters = [item[name] for name in changed]
            parameters += [item["messageId"], item["recipient"], before["version"]]
        return {
            "Statement": text,
            "Parameters": parameters,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    # Other writers

    def _was_overtaken(self, changes: Changes) -> bool:
        """Return whether a message and bodies that wait for it arrived at the same time.

        Every writer looks again, after it has written, for what the other writes: so one of them sees
        both.
        """
        waiting = {
            body.message_id
            for body in changes.quarantined
            if body.reason == quarantine.UNROUTED and body.message_id is not None
        }
        if waiting and self._view.reread_missing(waiting):
            return True
        return self._view.has_new_bodies()

    # The end of a batch

    def is_complete_but_for_records(self, changes: Changes) -> bool:
        """Return whether everything is written except perhaps records, each of which stands alone."""
        return all(body.id in self._bodies for body in changes.quarantined) and all(
            key in self._suppressions and self._suppressions[key].suppression == suppression
            for key, suppression in changes.suppressions.items()
        )

    def unwritten(self, changes: Changes) -> set[RecordKey]:
        """Return the keys of the records that are not stored as the batch decided."""
        return {key for key, record in changes.records.items() if not self._is_written(key, record)}

    def finish(self, changes: Changes, *, is_whole: bool) -> None:
        """Release the bodies that were folded in, if the whole batch is stored, and note the newest
        intake. A failure does not fail the batch: a later batch does the same.
        """
        no_longer_quarantined = self._bodies - {body.id for body in changes.quarantined}
        metadata = self._store.metadata
        try:
            if is_whole:
                released = {*changes.released, *no_longer_quarantined}
                self._store.quarantine.release(sorted(released))
            if changes.newest_at is not None:
                metadata.note_newest(changes.newest_at)
            if changes.event_at is not None and changes.event_at <= self._store.clock() + AHEAD:
                metadata.note_event(changes.event_at)
        except StoreUnavailable as error:
            _log.warning("a batch is stored, but not all metadata beside it: %s", error)


@cache
def _insert(table: str, names: tuple[str, ...]) -> str:
    """Write an INSERT, which is refused if the item exists."""
    return f'INSERT INTO "{table}" VALUE {{{", ".join(f"{name!r}: ?" for name in names)}}}'


@cache
def _update(table: str, names: tuple[str, ...], removed: tuple[str, ...]) -> str:
    """Write an UPDATE on condition of the version; attributes it does not name stay."""
    clauses = " ".join(
        [*[f'SET "{name}"=?' for name in names], *[f'REMOVE "{name}"' for name in removed]]
    )
    return f'UPDATE "{table}" {clauses} WHERE "messageId"=? AND "recipient"=? AND "version"=?'
