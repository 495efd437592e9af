"""Suppression items: legible attributes for people and indexes, and the item itself as `body`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from sesight.domain.ports import SuppressionPage
from sesight.domain.suppression.item import Suppression, suppression_keys
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.store.dynamodb.body import pack, unpack
from sesight.store.dynamodb.client import BATCH_READ, DynamoClient, Item, between, equals
from sesight.store.dynamodb.keys import key_text, text_key
from sesight.store.dynamodb.tables import DUE_INDEX, PREFIX_INDEX, StreamTables
from sesight.store.limits import LAST_TEXT, SCANNED_PER_ROW
from sesight.store.suppressions import SuppressionSearch, summary_of

SuppressionKey = tuple[str, str]
"""A suppression's stream and address."""

EVERY_ITEM = "all"
"""The one partition of an index that holds all items of a suppression table."""

_decode = msgspec.msgpack.Decoder(Suppression).decode


def suppression_item(
    suppression: Suppression, version: int, now: int, policy: SuppressionPolicy
) -> Item:
    """Return the item of a suppression, with its readable form at `now` as attributes."""
    summary = summary_of(suppression, now, policy)
    item: Item = {
        "email": {"S": text_key(suppression.address)},
        "list": {"S": EVERY_ITEM},
        "active": {"BOOL": summary.active},
        "causes": {"N": str(len(suppression.causes))},
        "version": {"N": str(version)},
        "body": {"B": pack(suppression)},
    }
    for name, kind, value in (
        ("spelling", "S", suppression.spelling),
        ("scope", "S", summary.scope),
        ("reason", "S", summary.reason),
        ("firstAt", "N", summary.first_at),
        ("lastAt", "N", summary.last_at),
        ("until", "N", summary.until),
        ("note", "S", summary.note),
    ):
        if value is not None and value != "":
            item[name] = {kind: str(value)}
    if summary.until is not None:
        item["due"] = {"S": EVERY_ITEM}
    return item


def read_suppression(item: Mapping[str, Any]) -> Suppression:
    """Return the suppression of an item."""
    return _decode(unpack(item["body"]["B"]))


class SuppressionTables:
    """The suppression tables of all streams. Reads are consistent."""

    def __init__(self, client: DynamoClient, streams: Mapping[str, StreamTables]) -> None:
        self._client = client
        self._streams = streams

    def _table(self, stream: str) -> str:
        return self._streams[stream].suppression.name

    def items(self, keys: Iterable[SuppressionKey]) -> dict[SuppressionKey, Item]:
        """Return the stored items of (stream, address)es."""
        streams = {tables.suppression.name: stream for stream, tables in self._streams.items()}
        item_keys = [
            (self._table(stream), {"email": {"S": text_key(address)}})
            for stream, address in sorted(keys)
            if stream in self._streams
        ]
        items = self._client.get_many(item_keys, consistent=True)
        return {(streams[table], key_text(item["email"]["S"])): item for table, item in items}

    def get_many(self, keys: Iterable[SuppressionKey]) -> dict[SuppressionKey, Suppression]:
        """Return the suppressions of the (stream, address)es that have one."""
        return {key: read_suppression(item) for key, item in self.items(keys).items()}

    def get_blocking(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items of addresses and of their whole domains, by address or domain."""
        keys = {(stream, key) for address in addresses for key in suppression_keys(address)}
        return {address: item for (_, address), item in self.get_many(keys).items()}

    def page(
        self, stream: str, limit: int, after: str | None, search: SuppressionSearch
    ) -> SuppressionPage:
        """Return a page of items in order of the address; see the port."""
        if stream not in self._streams:
            return SuppressionPage([], None)
        prefix, reason, active = search
        first = text_key(prefix) if prefix else "!"
        low = first if after is None else max(first, text_key(after))
        scanned = 0
        last: str | None = None
        keys: list[SuppressionKey] = []
        for entry in self._client.query(
            limit * SCANNED_PER_ROW + 1,
            TableName=self._table(stream),
            IndexName=PREFIX_INDEX.name,
            **between(("list", EVERY_ITEM), ("email", low, (first if prefix else "") + LAST_TEXT)),
        ):
            address = key_text(entry["email"]["S"])
            if address == after:
                continue
            scanned += 1
            if active in (None, entry["active"]["BOOL"]) and (
                reason is None or entry.get("reason", {}).get("S") == reason
            ):
                keys.append((stream, address))
            if len(keys) == limit or scanned == limit * SCANNED_PER_ROW:
                last = address
                break
        items = [
            item
            for item in self.get_many(keys).values()
            # the index may lag behind the table
            if active in (None, item.counted is not None)
            and (reason is None or (item.counted is not None and item.counted[1] == reason))
        ]
        return SuppressionPage(sorted(items, key=lambda item: text_key(item.address)), last)

    def due(self, now: int, limit: int) -> list[Suppression]:
        """Return counted items whose time to block is over, the longest over first."""
        due: list[tuple[int, Suppression]] = []
        for stream in self._streams:
            entries = self._client.query(
                limit,
                TableName=self._table(stream),
                IndexName=DUE_INDEX.name,
                KeyConditionExpression="due = :due AND #until <= :now",
                ExpressionAttributeNames={"#until": DUE_INDEX.range},
                ExpressionAttributeValues={":due": {"S": EVERY_ITEM}, ":now": {"N": str(now)}},
            )
            keys = [(stream, key_text(entry["email"]["S"])) for entry in entries]
            due += [
                (int(item["until"]["N"]), read_suppression(item))
                for item in self.items(keys).values()
                if "until" in item and int(item["until"]["N"]) <= now
            ]
        return [suppression for _, suppression in sorted(due, key=lambda pair: pair[0])[:limit]]

    def counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every item of a stream that counts as active, in order of the address."""
        if stream not in self._streams:
            return
        entries = self._client.query(
            TableName=self._table(stream), IndexName=PREFIX_INDEX.name, **equals(list=EVERY_ITEM)
        )
        while chunk := list(islice(entries, BATCH_READ)):
            keys = [
                (stream, key_text(entry["email"]["S"]))
                for entry in chunk
                if entry["active"]["BOOL"]
            ]
            items = self.get_many(keys).values()
            for item in sorted(items, key=lambda item: text_key(item.address)):
                if item.counted is not None:
                    yield item
