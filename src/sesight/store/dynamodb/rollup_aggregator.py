"""The rollup aggregator: from the change feeds of tracking and suppression tables to rollup rows.

Every change of a record adds the difference of its stored tallies to the rows they count in, every
change of a suppression that of what it counts as; exactly once, whatever is delivered again and
however batches are cut (`dynamo/rows.py` says why). One reader per shard at a time applies in order;
several readers of one shard do no harm as long as each reads it in order from some point on that all
before have been applied up to.
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
from sesight.store.dynamodb.client import Calls
from sesight.store.dynamodb.item_codec import read_suppression, tally_in
from sesight.store.dynamodb.keys import FEED, TOTAL
from sesight.store.dynamodb.open_dimensions import RegisteredValues
from sesight.store.dynamodb.rollups import SEQUENCE_DIGITS, Contribution, Rows, sparse
from sesight.store.dynamodb.tables import BOTH_IMAGES, StreamTables

_log = logging.getLogger(__name__)


class ShardUnknown(SesightError):
    """A batch of the change feed does not say its shard: turn the mapping's tumbling window on."""


class WrongFeed(SesightError):
    """A batch is of a feed that totals cannot be made of: another table's, or one without both images."""


class Change(NamedTuple):
    """One change of the feed: its sequence number, the message it is of (None: a suppression's), and
    the bodies before and after (None: none).
    """

    sequence: str
    kind: str
    message_id: str | None
    before: bytes | None
    after: bytes | None


class Source(NamedTuple):
    """Which table's feed a batch is of."""

    stream: str
    suppressions: bool


class Applied(NamedTuple):
    """What a batch came to: changes read, those that could not be, rows they went to."""

    changes: int
    bad: int
    rows: int


class Aggregator:
    """Applies batches of the change feeds of some streams' tables."""

    def __init__(self, calls: Calls, streams: Mapping[str, StreamTables], clock: Clock) -> None:
        """Take how DynamoDB is called, and the tables of the streams by their id (`tables_of`)."""
        self.calls = calls
        self.rows = Rows(calls, streams)
        self._clock = clock
        self.values = RegisteredValues(calls, streams)
        self._sources = {
            table.name: Source(stream, suppressions=table is of.suppression)
            for stream, of in streams.items()
            for table in (of.tracking, of.suppression)
        }

    def take(self, event: Mapping[str, Any]) -> Applied:
        """Apply the batch of a Lambda event of one shard, with a tumbling window.

        Raises ShardUnknown where it does not say its shard, WrongFeed where it is not of a table of
        ours or does not show both images: nothing was applied then. Raises StoreUnavailable when not
        everything could be applied: give the same batch again.
        """
        records = event["Records"]
        if not records:
            return Applied(0, 0, 0)
        shard = event.get("shardId")
        if not shard:
            raise ShardUnknown("The batch has no shardId: set tumbling_window_in_seconds above 0.")
        table = str(records[0]["eventSourceARN"]).split("/")[1]
        return self.apply(table, str(shard), [read_change(record) for record in records])

    def apply(self, table: str, shard: str, changes: Sequence[Change]) -> Applied:
        """Apply changes of one shard of a table's feed, in their order. Raises as `take`."""
        source = self._sources.get(table)
        if source is None:
            raise WrongFeed(
                f"The table {table!r} is no stream's tracking or suppression table, so its change feed "
                "is in no total: remove this event source mapping, or set SESIGHT_STORE_URL to the "
                "store that the table belongs to."
            )
        found: dict[RollupKey, list[Contribution]] = {}
        bad = 0
        for change in changes:
            if change.kind == "REMOVE" and not source.suppressions:
                continue  # expired or erased: totals outlive records
            try:
                added = {key: sparse(counts) for key, counts in _difference(source, change).items()}
            except (DecodeError, SesightError, ValueError):
                # a tally of another shape than counters have is as unreadable as a damaged body
                _log.exception(
                    "change %s of %s (message %s) could not be read",
                    change.sequence,
                    table,
                    change.message_id,
                )
                bad += 1
                added = {RollupKey(FEED, source.stream, "", 0, "", ""): {"badRecords": 1}}
            for key, counts in added.items():
                found.setdefault(key, []).append(Contribution(change.sequence, counts))
        rows = self._in_rows(found)
        now = self._clock()
        self.calls.each(
            lambda key: self.rows.apply(key, _part(shard, source), rows[key], now), rows
        )
        return Applied(len(changes), bad, len(rows))

    def _in_rows(
        self, found: Mapping[RollupKey, list[Contribution]]
    ) -> dict[RollupKey, list[Contribution]]:
        """Return contributions by the rows that keep them, in order of their sequence."""
        kept = self.values.rows(found, register=True)
        rows: dict[RollupKey, list[Contribution]] = {}
        for key, contributions in found.items():
            row = kept[key]
            rows.setdefault(row, []).extend(contributions)
            if row.family == Family.DAY and row.campaign:
                total = row._replace(family=TOTAL, bucket=0)
                rows.setdefault(total, []).extend(contributions)
        for contributions in rows.values():
            contributions.sort(key=lambda one: one.sequence)
        return rows


def _part(shard: str, source: Source) -> str:
    """Return under which name a shard's parts of rows are kept: tables' shards may be called alike."""
    return f"{shard}-s" if source.suppressions else shard


def _difference(source: Source, change: Change) -> Rollups:
    """Return what one change adds to which rows."""
    lacks_before = change.before is None and change.kind != "INSERT"
    lacks_after = change.after is None and change.kind != "REMOVE"
    if lacks_before or lacks_after:
        raise Unreadable("damaged", "The change lacks an image that its kind has.")
    if source.suppressions:
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


def read_change(record: Mapping[str, Any]) -> Change:
    """Read a change as Lambda or DynamoDB Streams' GetRecords hands it over. Raises WrongFeed."""
    said = record["dynamodb"]
    shows = said.get("StreamViewType")
    if shows != BOTH_IMAGES:
        raise WrongFeed(
            f"The change feed shows {shows or 'no view type'}, from which nothing can be counted: set "
            f'the table\'s stream_view_type to "{BOTH_IMAGES}", then recount.'
        )
    return Change(
        said["SequenceNumber"].zfill(SEQUENCE_DIGITS),
        record["eventName"],
        said["Keys"].get("messageId", {}).get("S"),
        _body(said.get("OldImage")),
        _body(said.get("NewImage")),
    )


def _body(image: Mapping[str, Any] | None) -> bytes | None:
    """Return the body in an image; Lambda writes binary values as base64."""
    if image is None:
        return None
    body = image.get("body", {}).get("B", b"")
    return b64decode(body) if isinstance(body, str) else bytes(body)
