"""Rollup rows: each is the sum of its parts, one part for each shard of the change feed.

A part has one writer, the reader of that shard. Its checkpoint `ckpt` is the last sequence number
applied. A part takes a batch only if the checkpoint is below the batch's FIRST contribution to it, so a
batch that is redelivered, whole or cut differently, adds only what is new.

Old parts are compacted into a part `~sum` that lists the shards it covers. Readers leave out covered
parts, and read `~sum` after all other parts (it sorts last): so they see every part exactly once at
whatever moment they read, without a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sesight.domain.errors import StoreUnavailable
from sesight.domain.rollup import HOURS_KEPT, Family, RollupKey, RollupRow, Rollups
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR
from sesight.store.dynamodb.client import (
    ConditionFailed,
    DynamoClient,
    Item,
    between,
    equals,
    item_key,
)
from sesight.store.dynamodb.keys import (
    CUT,
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
from sesight.store.limits import LAST_TEXT

SEQUENCE_DIGITS = 40
"""Sequence numbers have up to 40 digits, more than a DynamoDB number: they are text of that width."""

COMPACT_AFTER = 2 * DAY
"""Milliseconds after which no change of a part can be redelivered: the change feed holds 24 hours."""

READS = 8
"""How often a campaign's totals are read to find them the same before and after its days."""

COVERED = 100
"""Parts compacted at once, so that the list of covered parts stays short."""

_COLUMN = {name: n for n, name in enumerate(COUNTERS)}

Increments = Mapping[str, int]
"""Increments by counter, without those of 0."""


class Contribution(NamedTuple):
    """What one change in the feed adds to a row; `sequence` has full width."""

    sequence: str
    increments: Increments


class RowPart(NamedTuple):
    """One shard's part of a row, as stored."""

    key: RollupKey
    shard: str
    item: Item

    @property
    def counts(self) -> list[int]:
        """Return its counters in the order of `COUNTERS`."""
        counts = [0] * len(COUNTERS)
        for name, value in self.item.items():
            column = _COLUMN.get(name)
            if column is not None:
                counts[column] = int(value["N"])
        return counts

    @property
    def covers(self) -> frozenset[str]:
        """Return the shards covered by a part `~sum`."""
        return frozenset(self.item.get("covers", {}).get("SS", ()))


def sparse(counts: Sequence[int]) -> dict[str, int]:
    """Return counters in the order of `COUNTERS` by name, without those that are 0."""
    return {name: n for name, n in zip(COUNTERS, counts, strict=True) if n}


class RollupRows:
    """The rollup rows of all streams."""

    def __init__(self, client: DynamoClient, streams: Mapping[str, StreamTables]) -> None:
        self._client = client
        self._streams = streams

    def _table(self, stream: str) -> str:
        return self._streams[stream].rollups.name

    # Writing

    def apply(
        self, key: RollupKey, shard: str, contributions: Sequence[Contribution], now: int
    ) -> None:
        """Add the contributions of one shard's changes to a row, in order, each exactly once."""
        left = list(contributions)
        while left:
            part = self.add(key, shard, left, now)
            if part is None:
                return
            checkpoint = part["ckpt"]["S"]
            left = [addition for addition in left if addition.sequence > checkpoint]

    def add(
        self, key: RollupKey, shard: str, contributions: Sequence[Contribution], now: int
    ) -> Item | None:
        """Add all contributions to a part if its checkpoint is before the first; else return the part
        as it is stored.
        """
        names, values, clause = _add_clause(_sum(addition.increments for addition in contributions))
        stored_key = row_key(key, shard)
        values |= {
            ":first": {"S": contributions[0].sequence},
            ":last": {"S": contributions[-1].sequence},
            ":now": {"N": str(now)},
        }
        nothing_applied = "attribute_not_exists(ckpt)"
        everything_is_new = "ckpt < :first"
        cut = _assign_cut_texts(stored_key, values)
        item = item_key(stored_key.pk, stored_key.sk)
        try:
            self._client(
                "update_item",
                TableName=self._table(key.stream),
                Key=item,
                UpdateExpression=f"SET ckpt = :last, appliedAt = :now{cut}{clause}",
                ConditionExpression=f"{nothing_applied} OR {everything_is_new}",
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **({"ExpressionAttributeNames": names} if names else {}),
            )
        except ConditionFailed as failure:
            return failure.item or self._client.get(self._table(key.stream), item)
        return None

    def repair(self, rollups: Rollups) -> None:
        """Add increments that a recount found missing, and what then is missing in the totals of their
        campaigns; see the port.
        """
        self.add_beside_feed(rollups)
        for stream, campaign in sorted({(key.stream, key.campaign) for key in rollups}):
            if campaign:
                self.add_beside_feed(self._missing_in_totals(stream, campaign))

    def _missing_in_totals(self, stream: str, campaign: str) -> Rollups:
        """Return what a campaign's totals lack to be the sum of its days."""
        for _ in range(READS):
            totals = self.campaign_totals(stream, campaign)
            days = self.read(Family.DAY, stream, campaign)
            if totals == self.campaign_totals(stream, campaign):
                break
        else:
            raise StoreUnavailable(f"The totals of {campaign!r} keep changing: try again.")
        missing: Rollups = {}
        for sign, rows in ((1, days), (-1, totals)):
            for key, counts in rows:
                total = key._replace(family=TOTAL, bucket=0)
                before = missing.get(total, [0] * len(counts))
                missing[total] = [n + sign * count for n, count in zip(before, counts, strict=True)]
        return missing

    def add_beside_feed(self, rollups: Rollups) -> None:
        """Add increments in transactions of up to 100 rows, in a part that no shard writes."""
        rows = sorted(rollups.items())
        for start in range(0, len(rows), 100):
            updates = []
            for key, counts in rows[start : start + 100]:
                names, values, clause = _add_clause(sparse(counts))
                stored_key = row_key(key, REPAIR)
                cut = _assign_cut_texts(stored_key, values)
                if not clause and not cut:
                    continue
                expression = ("SET" + cut[1:] if cut else "") + clause
                update = {
                    "TableName": self._table(key.stream),
                    "Key": item_key(stored_key.pk, stored_key.sk),
                    "UpdateExpression": expression.strip(),
                    "ExpressionAttributeValues": values,
                }
                updates.append(
                    {"Update": update | ({"ExpressionAttributeNames": names} if names else {})}
                )
            if updates:
                self._client.transact(updates)

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
        table = self._table(stream)
        pk = scope_key(family, campaign)
        if dimension is None and since is None and until is None:
            parts = self._parts(table, stream, **equals(pk=pk))
            return sorted(summed(parts), key=_order)
        dimensions = self._dimensions(table, pk) if dimension is None else [dimension]
        if since is not None and until is not None and since >= until:
            return []
        rows: list[RollupRow] = []
        for name in dimensions:
            last = bucket_key(name, None if until is None else until - 1)
            sk = ("sk", bucket_key(name, since), key_after(last))
            rows += summed(self._parts(table, stream, **between(("pk", pk), sk)))
        return sorted(rows, key=_order)

    def _dimensions(self, table: str, pk: str) -> list[str]:
        """Return the dimensions of a scope's rows, by jumping from one to the next."""
        dimensions: list[str] = []
        low = "!"
        while True:
            arguments = between(("pk", pk), ("sk", low, LAST_TEXT))
            item = next(iter(self._client.query(1, TableName=table, **arguments)), None)
            if item is None:
                return dimensions
            name = item["sk"]["S"].split("#", 1)[0]
            dimensions.append(item.get("dimensionText", {}).get("S") or unescaped(name))
            low = key_after(f"{name}#")

    def totals(self, stream: str) -> dict[str, list[int]]:
        """Return the total of each campaign."""
        table = self._table(stream)
        rows = summed(self._parts(table, stream, **equals(pk=TOTAL)))
        return {row.key.campaign: list(row.counts) for row in rows}

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's totals, as rows of its days with bucket 0; see the port."""
        if stream not in self._streams:
            return []
        table = self._table(stream)
        first = row_key(RollupKey(TOTAL, stream, campaign, 0, "", ""), "").sk
        without_dimension = between(("pk", TOTAL), ("sk", first, key_after(first)))
        rows = [
            *summed(self._parts(table, stream, **without_dimension)),
            *summed(self._parts(table, stream, **equals(pk=scope_key(TOTAL, campaign)))),
        ]
        days = (row._replace(key=row.key._replace(family=Family.DAY)) for row in rows)
        return sorted(days, key=_order)

    def _parts(self, table: str, stream: str, **arguments: Any) -> Iterator[RowPart]:
        """Yield parts in order of their key."""
        for item in self._client.query(TableName=table, ConsistentRead=True, **arguments):
            cut = {name: item[name]["S"] for name in CUT if name in item}
            key, shard = read_row_key(stream, item["pk"]["S"], item["sk"]["S"], cut)
            yield RowPart(key, shard, item)

    # Compaction

    def compact(self, stream: str, now: int, campaigns: Iterable[str] = ()) -> int:
        """Compact the parts that cannot change any more, of a stream's rows and those of some campaigns;
        return how many parts were deleted.
        """
        table = self._table(stream)
        scopes = [scope_key(family, "") for family in Family]
        scopes += [scope_key(family, name) for name in campaigns for family in (*Family, TOTAL)]
        return sum(
            self._compact(table, key, list(parts), now - COMPACT_AFTER)
            for pk in (*scopes, TOTAL)
            for key, parts in groupby(
                self._parts(table, stream, **equals(pk=pk)), key=lambda part: part.key
            )
        )

    def _compact(self, table: str, key: RollupKey, parts: Sequence[RowPart], before: int) -> int:
        compacted = next((part for part in parts if part.shard == SUM), None)
        covered = compacted.covers if compacted is not None else frozenset()
        left_over = [part for part in parts if part.shard in covered]
        if left_over:  # a compaction broke off before it deleted them
            self._client.delete_many(table, [_key_of(part) for part in left_over])
            return len(left_over)
        old = [
            part
            for part in parts
            if "appliedAt" in part.item and int(part.item["appliedAt"]["N"]) < before
        ][:COVERED]
        if len(old) < 2 and (compacted is None or not old):
            return 0
        sums = _sum(sparse(part.counts) for part in (*old, *([compacted] if compacted else [])))
        stored_key = row_key(key, SUM)
        generation = int(compacted.item["generation"]["N"]) if compacted is not None else 0
        item = {
            **item_key(stored_key.pk, stored_key.sk),
            **{name: {"S": text} for name, text in stored_key.cut.items()},
            **{name: {"N": str(n)} for name, n in sums.items()},
            "covers": {"SS": [part.shard for part in old]},
            "generation": {"N": str(generation + 1)},
        }
        try:
            self._client(
                "put_item",
                TableName=table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk) OR generation = :before",
                ExpressionAttributeValues={":before": {"N": str(generation)}},
            )
        except ConditionFailed:
            return 0  # another process is compacting it
        self._client.delete_many(table, [_key_of(part) for part in old])
        return len(old)

    def sweep_hours(self, stream: str, now: int) -> int:
        """Delete hour rows that were kept long enough; return how many parts of rows."""
        before = now // HOUR - HOURS_KEPT
        table = self._table(stream)
        arguments = between(
            ("pk", scope_key(Family.HOUR, "")),
            ("sk", bucket_key("", 0), bucket_key("", max(before, 0))),
        )
        parts = list(self._parts(table, stream, **arguments))
        self._client.delete_many(table, [_key_of(part) for part in parts])
        return len(parts)


def summed(parts: Iterable[RowPart]) -> Iterator[RollupRow]:
    """Yield a row for the adjacent parts of each key, unless it is all zero. Parts that `~sum` covers
    are left out: it includes them.
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


def _sum(increments: Iterable[Increments]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for by_counter in increments:
        for name, n in by_counter.items():
            sums[name] = sums.get(name, 0) + n
    return sums


def _add_clause(increments: Increments) -> tuple[dict[str, str], dict[str, Any], str]:
    """Return names, values and the ADD clause of an update that adds to counters."""
    pairs = [(name, n) for name, n in increments.items() if n]
    names = {f"#c{at}": name for at, (name, _) in enumerate(pairs)}
    values = {f":c{at}": {"N": str(n)} for at, (_, n) in enumerate(pairs)}
    added = ", ".join(f"#c{at} :c{at}" for at in range(len(pairs)))
    return names, values, f" ADD {added}" if pairs else ""


def _assign_cut_texts(key: RowKey, values: dict[str, Any]) -> str:
    """Return assignments of the texts that the key holds cut, and add their values to `values`."""
    assignments = ""
    for name, text in key.cut.items():
        values[f":{name}"] = {"S": text}
        assignments += f", {name} = :{name}"
    return assignments


def _key_of(part: RowPart) -> Item:
    return {name: part.item[name] for name in ("pk", "sk")}
