"""Following the change feed in this process, where no Lambda function does: local engines, `settle`.

The aggregator's checkpoints make this safe beside a Lambda function that reads the same shards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from sesight.domain.errors import StoreUnavailable
from sesight.domain.ports import RecordKey
from sesight.store.dynamodb.client import DynamoClient, Item
from sesight.store.dynamodb.keys import text_key
from sesight.store.dynamodb.rollup_aggregator import Aggregator, read_change
from sesight.store.dynamodb.tables import StreamTables

PATIENCE = 60.0
"""Seconds to wait for written changes to appear in the feed."""

PAUSE = 0.05

AWAITED = 10_000
"""Records of the latest commits that are waited for."""


class AwaitedChanges:
    """Written records, each with the version that has not come by the change feed yet."""

    def __init__(self, streams: Mapping[str, StreamTables]) -> None:
        self._streams = streams
        self._versions: dict[tuple[str, ...], int] = {}
        """The awaited version of each record, by table and key there."""

    def __len__(self) -> int:
        return len(self._versions)

    def add(self, versions: Mapping[tuple[RecordKey, str], int]) -> None:
        """Add the records of a commit, by key and stream; the oldest beyond `AWAITED` are dropped."""
        for ((message_id, recipient), stream), version in versions.items():
            table = self._streams[stream].tracking.name
            record: tuple[str, ...] = (table, text_key(message_id), text_key(recipient))
            self._versions.pop(record, None)
            self._versions[record] = version
        for record in list(islice(self._versions, max(len(self) - AWAITED, 0))):
            self._versions.pop(record, None)

    def clear(self) -> None:
        """Wait for nothing any more."""
        self._versions.clear()

    def remove(self, table: str, change: Any) -> None:
        """Remove the record of a change, if the change is its version or a later one."""
        image = change.get("NewImage")
        if image is None or not self._versions:
            return
        key: Item = change["Keys"]
        record = (table, *(key[name]["S"] for name in sorted(key)))
        version = self._versions.get(record)
        if version is not None and int(image["version"]["N"]) >= version:
            del self._versions[record]


class _Shard(NamedTuple):
    arn: str
    id: str


class ChangeFeedReader:
    """Reads every shard of some tables' change feeds, from the oldest change on, into rollups."""

    def __init__(
        self,
        streams_client: Any,
        client: DynamoClient,
        aggregator: Aggregator,
        tables: Iterable[str],
    ) -> None:
        """Take a botocore client of DynamoDB Streams, and a client of the tables' DynamoDB."""
        self._streams = DynamoClient(streams_client, client.remaining)
        self._client = client
        self._aggregator = aggregator
        self._tables = list(tables)
        self._iterators: dict[_Shard, str | None] = {}
        self._arns: dict[str, str] = {}

    def follow(self, awaited: AwaitedChanges) -> None:
        """Apply all changes until every awaited one has come by. Raises StoreUnavailable when one
        does not come in time.
        """
        until = time.monotonic() + PATIENCE
        while True:
            changes = sum(self._apply_new(table, awaited) for table in self._tables)
            if not awaited and not changes:
                return
            if not changes:
                if time.monotonic() > until:
                    raise StoreUnavailable(
                        f"{len(awaited)} changes have not come by the change feed yet."
                    )
                time.sleep(PAUSE)

    def _apply_new(self, table: str, awaited: AwaitedChanges) -> int:
        """Apply the new changes in a table's feed; return how many."""
        number = 0
        for shard in self._shards(table):
            iterator = self._iterators[shard]
            while iterator is not None:
                response = self._streams("get_records", ShardIterator=iterator)
                records = response["Records"]
                if records:
                    self._aggregator.apply(table, shard.id, list(map(read_change, records)))
                    number += len(records)
                    for record in records:
                        awaited.remove(table, record["dynamodb"])
                iterator = response.get("NextShardIterator")
                self._iterators[shard] = iterator
                if not records:
                    break
        return number

    def _shards(self, table: str) -> list[_Shard]:
        """Return the shards of a table's feed, parents first."""
        arn = self._arns.get(table)
        if arn is None:
            description = self._client("describe_table", TableName=table)["Table"]
            arn = self._arns[table] = description["LatestStreamArn"]
        shards: list[_Shard] = []
        arguments: dict[str, Any] = {"StreamArn": arn}
        while True:
            description = self._streams("describe_stream", **arguments)["StreamDescription"]
            shards += [_Shard(arn, shard["ShardId"]) for shard in description["Shards"]]
            if "LastEvaluatedShardId" not in description:
                break
            arguments["ExclusiveStartShardId"] = description["LastEvaluatedShardId"]
        for shard in shards:
            if shard not in self._iterators:
                self._iterators[shard] = self._streams(
                    "get_shard_iterator",
                    StreamArn=arn,
                    ShardId=shard.id,
                    ShardIteratorType="TRIM_HORIZON",
                )["ShardIterator"]
        return shards

    def close(self) -> None:
        """Release connections."""
        self._streams.close()
