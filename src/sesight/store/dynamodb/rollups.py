"""Rollup rows: each is the sum of its shards' parts, one part for each shard of the change feed.

A part has one writer, the reader of that shard, which keeps in `ckpt` the last sequence number it
applied: the part takes a batch only if the checkpoint is below the batch's FIRST contribution to it,
so that a batch that comes again, whole or cut otherwise, adds only what is new.

Old parts are put together in a part `~sum` that names the shards it covers. Readers leave out
covered parts, and they read `~sum` after all the others (it sorts last), so they see every part once
at whatever moment they look, without any transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sesight.domain.rollup import Family, RollupKey, RollupRow, Rollups
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb.client import Calls, between, equals
from sesight.store.dynamodb.item_codec import Item
from sesight.store.dynamodb.keys import (
    CUT,
    FEED,
    REPAIR,
    SUM,
    TOTAL,
    RowKey,
    bucket_key,
    key_after,
    read_row_key,
    row_key,
    scope_key,
    unescaped,
)
from sesight.store.dynamodb.tables import StreamTables

SEQUENCE_DIGITS = 40
"""Sequence numbers have up to 40 digits, more than a DynamoDB number: kept as text of that width."""

COMPACT_AFTER = 2 * DAY
"""Milliseconds after which nothing of a part can come again: the change feed holds 24 hours."""

COVERED = 100
"""Parts put together at once, so that the list of those covered stays short."""

_AT = {name: n for n, name in enumerate(COUNTERS)}

Counts = Mapping[str, int]
"""Counters by name, those that change."""


class Contribution(NamedTuple):
    """What one change of the feed adds to a row; `sequence` is of full width."""

    sequence: str
    counts: Counts


class Part(NamedTuple):
    """One shard's part of a row, as stored."""

    key: RollupKey
    shard: str
    item: Item

    @property
    def counts(self) -> list[int]:
        """Return its counters in the order of `COUNTERS`."""
        found = [0] * len(COUNTERS)
        for name, value in self.item.items():
            at = _AT.get(name)
            if at is not None:
                found[at] = int(value["N"])
        return found

    @property
    def covers(self) -> frozenset[str]:
        """Return the shards that a part `~sum` covers."""
        return frozenset(self.item.get("covers", {}).get("SS", ()))


def sparse(counts: Sequence[int]) -> dict[str, int]:
    """Return counters in the order of `COUNTERS` by name, without those that are 0."""
    return {name: n for name, n in zip(COUNTERS, counts, strict=True) if n}


class Rows:
    """The rollup rows of all streams."""

    def __init__(self, calls: Calls, streams: Mapping[str, StreamTables]) -> None:
        """Look at the rollup tables."""
        self._calls = calls
        self._streams = streams

    # Writing

    def apply(
        self, key: RollupKey, shard: str, contributions: Sequence[Contribution], now: int
    ) -> None:
        """Add what changes of one shard contribute to a row, in order, each exactly once."""
        left = list(contributions)
        while left:
            held = self.add(key, shard, left, now)
            if held is None:
                return
            checkpoint = held["ckpt"]["S"]
            left = [one for one in left if one.sequence > checkpoint]

    def add(
        self, key: RollupKey, shard: str, contributions: Sequence[Contribution], now: int
    ) -> Item | None:
        """Add all contributions to a part if its checkpoint is before the first; else return the part
        as it is.
        """
        names, values, clauses = _increments(_sum(one.counts for one in contributions))
        at = row_key(key, shard)
        values |= {
            ":first": {"S": contributions[0].sequence},
            ":last": {"S": contributions[-1].sequence},
            ":now": {"N": str(now)},
        }
        nothing_applied = "attribute_not_exists(ckpt)"
        all_of_it_is_new = "ckpt < :first"
        try:
            self._calls(
                "update_item",
                TableName=self._streams[key.stream].rollups.name,
                Key=_key(at.pk, at.sk),
                UpdateExpression="SET ckpt = :last, appliedAt = :now" + _cut(at, values) + clauses,
                ConditionExpression=f"{nothing_applied} OR {all_of_it_is_new}",
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **({"ExpressionAttributeNames": names} if names else {}),
            )
        except self._calls.failure as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            item: Item | None = error.response.get("Item")
            return item or self._calls.get(
                self._streams[key.stream].rollups.name, _key(at.pk, at.sk)
            )
        return None

    def repair(self, rollups: Rollups) -> None:
        """Add increments beside the change feed's, in transactions of up to 100 rows."""
        rows = sorted(rollups.items())
        for start in range(0, len(rows), 100):
            updates = []
            for key, counts in rows[start : start + 100]:
                names, values, clauses = _increments(sparse(counts))
                at = row_key(key, REPAIR)
                cut = _cut(at, values)
                if not clauses and not cut:
                    continue
                expression = ("SET" + cut[1:] if cut else "") + clauses
                update = {
                    "TableName": self._streams[key.stream].rollups.name,
                    "Key": _key(at.pk, at.sk),
                    "UpdateExpression": expression.strip(),
                    "ExpressionAttributeValues": values,
                }
                updates.append(
                    {"Update": update | ({"ExpressionAttributeNames": names} if names else {})}
                )
            if updates:
                self._calls.transact(updates)

    # Reading

    def read(
        self,
        family: str,
        stream: str,
        campaign: str = "",
        since: int | None = None,
        until: int | None = None,
        dimension: str | None = None,
    ) -> list[RollupRow]:
        """Return rows of one family and scope in order of their key; see the port."""
        if stream not in self._streams:
            return []
        table = self._streams[stream].rollups.name
        pk = scope_key(family, campaign)
        if dimension is None and since is None and until is None:
            parts = self._parts(table, stream, **equals(pk=pk))
            return sorted(summed(parts), key=_order)
        dimensions = self._dimensions(table, pk) if dimension is None else [dimension]
        if since is not None and until is not None and since >= until:
            return []
        found: list[RollupRow] = []
        for named in dimensions:
            high = bucket_key(named, None if until is None else until - 1)
            sk = ("sk", bucket_key(named, since), key_after(high))
            arguments = between(("pk", pk), sk)
            found += summed(self._parts(table, stream, **arguments))
        return sorted(found, key=_order)

    def _dimensions(self, table: str, pk: str) -> list[str]:
        """Return the dimensions a scope has rows for, by jumping from one to the next."""
        found: list[str] = []
        low = "!"
        while True:
            arguments = between(("pk", pk), ("sk", low, "\U0010ffff"))
            item = next(iter(self._calls.query(1, TableName=table, **arguments)), None)
            if item is None:
                return found
            named = item["sk"]["S"].split("#", 1)[0]
            found.append(item.get("dimensionText", {}).get("S") or unescaped(named))
            low = key_after(f"{named}#")

    def totals(self, stream: str) -> dict[str, list[int]]:
        """Return the total of each campaign."""
        table = self._streams[stream].rollups.name
        rows = summed(self._parts(table, stream, **equals(pk=TOTAL)))
        return {row.key.campaign: list(row.counts) for row in rows}

    def bad_records(self, stream: str) -> int:
        """Return how many changes of a stream's feeds could not be read, and are in no row."""
        table = self._streams[stream].rollups.name
        items = self._calls.query(TableName=table, **equals(pk=scope_key(FEED, "")))
        return sum(int(item["badRecords"]["N"]) for item in items)

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's totals, as rows of its days with bucket 0; see the port."""
        if stream not in self._streams:
            return []
        table = self._streams[stream].rollups.name
        begins = row_key(RollupKey(TOTAL, stream, campaign, 0, "", ""), "").sk
        whole = between(("pk", TOTAL), ("sk", begins, key_after(begins)))
        rows = [
            *summed(self._parts(table, stream, **whole)),
            *summed(self._parts(table, stream, **equals(pk=scope_key(TOTAL, campaign)))),
        ]
        days = (row._replace(key=row.key._replace(family=Family.DAY)) for row in rows)
        return sorted(days, key=_order)

    def _parts(self, table: str, stream: str, **arguments: Any) -> Iterator[Part]:
        """Yield parts in order of their key."""
        for item in self._calls.query(TableName=table, ConsistentRead=True, **arguments):
            cut = {name: item[name]["S"] for name in CUT if name in item}
            key, shard = read_row_key(stream, item["pk"]["S"], item["sk"]["S"], cut)
            yield Part(key, shard, item)

    # Old parts

    def compact(self, stream: str, now: int, campaigns: Iterable[str] = ()) -> int:
        """Put together the parts that cannot change any more, of a stream's rows and those of some
        campaigns; return how many parts went.
        """
        table = self._streams[stream].rollups.name
        scopes = [scope_key(family, "") for family in Family]
        scopes += [scope_key(family, name) for name in campaigns for family in (*Family, TOTAL)]
        return sum(
            self._compact(table, key, list(parts), now - COMPACT_AFTER)
            for pk in (*scopes, TOTAL)
            for key, parts in groupby(
                self._parts(table, stream, **equals(pk=pk)), key=lambda part: part.key
            )
        )

    def _compact(self, table: str, key: RollupKey, parts: Sequence[Part], before: int) -> int:
        held = next((part for part in parts if part.shard == SUM), None)
        covered = held.covers if held is not None else frozenset()
        gone = [part for part in parts if part.shard in covered]
        if gone:  # a compaction that broke off: what it covers is only to be deleted
            self._calls.delete_many(table, [_key_of(part) for part in gone])
            return len(gone)
        old = [
            part
            for part in parts
            if "appliedAt" in part.item and int(part.item["appliedAt"]["N"]) < before
        ][:COVERED]
        if len(old) < 2 and (held is None or not old):
            return 0
        together = _sum(sparse(part.counts) for part in (*old, *([held] if held else [])))
        at = row_key(key, SUM)
        generation = int(held.item["generation"]["N"]) if held is not None else 0
        item = {
            **_key(at.pk, at.sk),
            **{name: {"S": text} for name, text in at.cut.items()},
            **{name: {"N": str(n)} for name, n in together.items()},
            "covers": {"SS": [part.shard for part in old]},
            "generation": {"N": str(generation + 1)},
        }
        try:
            self._calls(
                "put_item",
                TableName=table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk) OR generation = :held",
                ExpressionAttributeValues={":held": {"N": str(generation)}},
            )
        except self._calls.failure as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return 0  # somebody else is at it
        self._calls.delete_many(table, [_key_of(part) for part in old])
        return len(old)

    def forget_hours(self, stream: str, before: int) -> int:
        """Delete the hour rows of buckets before one; return how many parts of rows went."""
        table = self._streams[stream].rollups.name
        arguments = between(
            ("pk", scope_key(Family.HOUR, "")),
            ("sk", bucket_key("", 0), bucket_key("", max(before, 0))),
        )
        parts = list(self._parts(table, stream, **arguments))
        self._calls.delete_many(table, [_key_of(part) for part in parts])
        return len(parts)


def summed(parts: Iterable[Part]) -> Iterator[RollupRow]:
    """Yield a row for the adjoining parts of each key, if it is not all zero; parts that `~sum` covers
    are in it already.
    """
    for key, group in groupby(parts, key=lambda part: part.key):
        of_key = list(group)
        covered = frozenset[str]().union(*(part.covers for part in of_key))
        counts = [part.counts for part in of_key if part.shard not in covered]
        sums = [sum(column) for column in zip(*counts, strict=True)]
        if any(sums):
            yield RollupRow(key, sums)


def _order(row: RollupRow) -> tuple[str, str, int]:
    return row.key.dimension, row.key.value, row.key.bucket


def _sum(several: Iterable[Counts]) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in several:
        for name, n in counts.items():
            found[name] = found.get(name, 0) + n
    return found


def _increments(counts: Counts) -> tuple[dict[str, str], dict[str, Any], str]:
    """Return names, values and the ADD clause of an update that adds to counters."""
    named = [(name, n) for name, n in counts.items() if n]
    names = {f"#c{at}": name for at, (name, _) in enumerate(named)}
    values = {f":c{at}": {"N": str(n)} for at, (_, n) in enumerate(named)}
    added = ", ".join(f"#c{at} :c{at}" for at in range(len(named)))
    return names, values, f" ADD {added}" if named else ""


def _cut(at: RowKey, values: dict[str, Any]) -> str:
    """Return assignments of the texts that the key had to cut, their values put among `values`."""
    said = ""
    for name, text in at.cut.items():
        values[f":{name}"] = {"S": text}
        said += f", {name} = :{name}"
    return said


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _key_of(part: Part) -> Item:
    return _key(part.item["pk"]["S"], part.item["sk"]["S"])
