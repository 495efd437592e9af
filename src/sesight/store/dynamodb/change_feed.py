"""Following the change feed in this process, where no Lambda function does: local engines, `settle`.

The aggregator's checkpoints make this safe beside a Lambda function that reads the same shards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from sesight.domain.errors import StoreUnavailable
from sesight.store.dynamodb.client import Calls
from sesight.store.dynamodb.item_codec import Item
from sesight.store.dynamodb.rollup_aggregator import Aggregator, read_change

PATIENCE = 60.0
"""Seconds to wait for changes that were written to come by."""

PAUSE = 0.05

Written = tuple[str, str, str]
"""A table, and the values of a record's key there."""


class _Shard(NamedTuple):
    arn: str
    id: str


class Feed:
    """Reads every shard of some tables' change feeds, from the oldest change on, into rollups."""

    def __init__(
        self, client: Any, calls: Calls, aggregator: Aggregator, tables: Iterable[str]
    ) -> None:
        """Take a botocore client of DynamoDB Streams, and one of DynamoDB to ask where the feeds are."""
        self._streams = Calls(client, calls.remaining)
        self._calls = calls
        self._aggregator = aggregator
        self._tables = list(tables)
        self._iterators: dict[_Shard, str | None] = {}
        self._arns: dict[str, str] = {}

    def follow(self, awaited: dict[Written, int]) -> None:
        """Apply all changes until every awaited one (a record's key with its version) has come by.

        Raises StoreUnavailable when one does not come in time.
        """
        until = time.monotonic() + PATIENCE
        while True:
            read = sum(self._follow(table, awaited) for table in self._tables)
            if not awaited and not read:
                return
            if not read:
                if time.monotonic() > until:
                    raise StoreUnavailable(
                        f"{len(awaited)} changes have not come by the change feed yet."
                    )
                time.sleep(PAUSE)

    def _follow(self, table: str, awaited: dict[Written, int]) -> int:
        """Read what there is of a table's feed; return how many changes."""
        read = 0
        for shard in self._shards(table):
            iterator = self._iterators[shard]
            while iterator is not None:
                answer = self._streams("get_records", ShardIterator=iterator)
                records = answer["Records"]
                if records:
                    changes = [read_change(record) for record in records]
                    self._aggregator.apply(table, shard.id, changes)
                    read += len(records)
                    for record in records:
                        _came(table, record["dynamodb"], awaited)
                iterator = answer.get("NextShardIterator")
                self._iterators[shard] = iterator
                if not records:
                    break
        return read

    def _shards(self, table: str) -> list[_Shard]:
        """Return the shards of a table's feed, parents first."""
        arn = self._arns.get(table)
        if arn is None:
            described = self._calls("describe_table", TableName=table)["Table"]
            arn = self._arns[table] = described["LatestStreamArn"]
        found: list[_Shard] = []
        arguments: dict[str, Any] = {"StreamArn": arn}
        while True:
            answer = self._streams("describe_stream", **arguments)["StreamDescription"]
            found += [_Shard(arn, each["ShardId"]) for each in answer["Shards"]]
            if "LastEvaluatedShardId" not in answer:
                break
            arguments["ExclusiveStartShardId"] = answer["LastEvaluatedShardId"]
        for shard in found:
            if shard not in self._iterators:
                self._iterators[shard] = self._streams(
                    "get_shard_iterator",
                    StreamArn=arn,
                    ShardId=shard.id,
                    ShardIteratorType="TRIM_HORIZON",
                )["ShardIterator"]
        return found

    def close(self) -> None:
        """Let go of connections."""
        self._streams.close()


def _came(table: str, change: Any, awaited: dict[Written, int]) -> None:
    key: Item = change["Keys"]
    image = change.get("NewImage")
    if image is None or not awaited:
        return
    place = (table, *(key[name]["S"] for name in sorted(key)))
    wanted = awaited.get(place)
    if wanted is not None and int(image["version"]["N"]) >= wanted:
        del awaited[place]
