"""The rollup aggregator: from the change feeds of tracking and suppression tables to rollup rows.

Every change of a record adds the difference of its stored tallies to the rows they count in, and every
change of a suppression the difference of what it counts as: exactly once, whatever is redelivered and
however batches are cut (`rollups` explains why). One reader of a shard at a time applies its changes in
order. Several readers of one shard do no harm, as long as each starts at a point up to which all
changes have been applied.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import DecodeError

from sesight.domain.errors import SesightError, Unreadable
from sesight.domain.ports import Clock
from sesight.domain.rollup import Deltas, Family, RollupKey, Rollups, add_suppressed
from sesight.store.dynamodb.client import DynamoClient
from sesight.store.dynamodb.keys import FEED, TOTAL
from sesight.store.dynamodb.open_dimensions import RegisteredValues
from sesight.store.dynamodb.record_codec import tally_in
from sesight.store.dynamodb.rollups import SEQUENCE_DIGITS, Contribution, RollupRows, sparse
from sesight.store.dynamodb.suppressions import read_suppression
from sesight.store.dynamodb.tables import BOTH_IMAGES, StreamTables

_log = logging.getLogger(__name__)


class ShardUnknown(SesightError):
    """A batch of the change feed does not name its shard: enable the mapping's tumbling window."""


class WrongFeed(SesightError):
    """A batch comes from a feed that totals cannot be made of: of another table, or without both images."""


class FeedChange(NamedTuple):
    """One change in the feed: its sequence number, its kind (INSERT, MODIFY, REMOVE), its message (None
    for a suppression), and the bodies before and after (None: none).
    """

    sequence: str
    kind: str
    message_id: str | None
    before: bytes | None
    after: bytes | None


class FeedSource(NamedTuple):
    """The table that a batch comes from: a stream's tracking table, or its suppression table."""

    stream: str
    is_suppression: bool


class Applied(NamedTuple):
    """The result of a batch: changes, unreadable ones among them, and rows they went to."""

    changes: int
    bad: int
    rows: int


class Aggregator:
    """Applies batches of the change feeds of some streams' tables."""

    def __init__(
        self, client: DynamoClient, streams: Mapping[str, StreamTables], clock: Clock
    ) -> None:
        """Take the tables of the streams by stream id (`tables_of`)."""
        self.client = client
        self.rows = RollupRows(client, streams)
        self._clock = clock
        self.values = RegisteredValues(client, streams)
        self._sources = {
            table.name: FeedSource(stream, is_suppression=table is tables.suppression)
            for stream, tables in streams.items()
            for table in (tables.tracking, tables.suppression)
        }

    def take(self, event: Mapping[str, Any]) -> Applied:
        """Apply the batch of a Lambda event of one shard, with a tumbling window.

        Raises ShardUnknown if the event does not name its shard, and WrongFeed if it comes from another
        table or lacks an image: nothing was applied then. Raises StoreUnavailable if not everything
        could be applied: deliver the same batch again.
        """
        records = event["Records"]
        if not records:
            return Applied(0, 0, 0)
        shard = event.get("shardId")
        if not shard:
            raise ShardUnknown("The batch has no shardId: set tumbling_window_in_seconds above 0.")
        table = str(records[0]["eventSourceARN"]).split("/")[1]
        return self.apply(table, str(shard), [read_change(record) for record in records])

    def apply(self, table: str, shard: str, changes: Sequence[FeedChange]) -> Applied:
        """Apply changes of one shard of a table's feed, in their order. Raises like `take`."""
        source = self._sources.get(table)
        if source is None:
            raise WrongFeed(
                f"The table {table!r} is no stream's tracking or suppression table, so its change feed "
                "is in no total: remove this event source mapping, or set SESIGHT_STORE_URL to the "
                "store that the table belongs to."
            )
        contributions: dict[RollupKey, list[Contribution]] = {}
        bad = 0
        for change in changes:
            if change.kind == "REMOVE" and not source.is_suppression:
                continue  # expired or erased: totals outlive the records
            try:
                added = {key: sparse(counts) for key, counts in _difference(source, change).items()}
            except (DecodeError, SesightError, ValueError):
                # a tally that does not fit the counters is as unreadable as a damaged body
                _log.exception(
                    "change %s of %s (message %s) is unreadable",
                    change.sequence,
                    table,
                    change.message_id,
                )
                bad += 1
                added = {RollupKey(FEED, source.stream, "", 0, "", ""): {"badRecords": 1}}
            for key, increments in added.items():
                contributions.setdefault(key, []).append(Contribution(change.sequence, increments))
        rows = self._by_row(contributions)
        now = self._clock()
        part = f"{shard}-s" if source.is_suppression else shard  # two tables may name shards alike
        self.client.map(lambda key: self.rows.apply(key, part, rows[key], now), rows)
        return Applied(len(changes), bad, len(rows))

    def _by_row(
        self, contributions: Mapping[RollupKey, list[Contribution]]
    ) -> dict[RollupKey, list[Contribution]]:
        """Return contributions by the rows that hold them, in order of their sequence."""
        row_of = self.values.rows(contributions, register=True)
        rows: dict[RollupKey, list[Contribution]] = {}
        for key, of_key in contributions.items():
            row = row_of[key]
            rows.setdefault(row, []).extend(of_key)
            if row.family == Family.DAY and row.campaign:
                total = row._replace(family=TOTAL, bucket=0)
                rows.setdefault(total, []).extend(of_key)
        for of_row in rows.values():
            of_row.sort(key=lambda contribution: contribution.sequence)
        return rows


def _difference(source: FeedSource, change: FeedChange) -> Rollups:
    """Return what one change adds to which rows. Raises Unreadable."""
    lacks_before = change.before is None and change.kind != "INSERT"
    lacks_after = change.after is None and change.kind != "REMOVE"
    if lacks_before or lacks_after:
        raise Unreadable("damaged", "The change lacks an image that its kind must have.")
    if source.is_suppression:
        rollups: Rollups = {}
        before, after = (
            read_suppression({"body": {"B": body}}) if body is not None else None
            for body in (change.before, change.after)
        )
        add_suppressed(rollups, before, after)
        return {key: counts for key, counts in rollups.items() if any(counts)}
    deltas = Deltas()
    now = tally_in(change.after) if change.after is not None else None
    if now is None:
        return {}
    deltas.add(tally_in(change.before) if change.before is not None else None, now)
    rows = deltas.rows()
    if any(key.stream != source.stream for key in rows):
        raise Unreadable("foreign", "A tally counts for another stream than its table's.")
    return rows


def read_change(record: Mapping[str, Any]) -> FeedChange:
    """Read a change in the form that Lambda and GetRecords of DynamoDB Streams share. Raises WrongFeed."""
    change = record["dynamodb"]
    view_type = change.get("StreamViewType")
    if view_type != BOTH_IMAGES:
        raise WrongFeed(
            f"The change feed shows {view_type or 'no view type'}, from which nothing can be counted: set "
            f'the table\'s stream_view_type to "{BOTH_IMAGES}", then recount.'
        )
    return FeedChange(
        change["SequenceNumber"].zfill(SEQUENCE_DIGITS),
        record["eventName"],
        change["Keys"].get("messageId", {}).get("S"),
        _body(change.get("OldImage")),
        _body(change.get("NewImage")),
    )


def _body(image: Mapping[str, Any] | None) -> bytes | None:
    """Return the body in an image; Lambda writes binary values as base64."""
    if image is None:
        return None
    body = image.get("body", {}).get("B", b"")
    return b64decode(body) if isinstance(body, str) else bytes(body)
