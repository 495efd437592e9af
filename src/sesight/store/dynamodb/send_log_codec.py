"""Keys and items of the send log: batches, intents and pauses as items and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from zlib import crc32

from msgspec.structs import asdict

from sesight.domain.sending import Intent, Pause, SendBatch, SendState
from sesight.store.dynamodb.client import Item, item_key
from sesight.store.dynamodb.keys import escaped, unescaped
from sesight.store.dynamodb.tables import EXPIRES
from sesight.store.send_log import INTENTS_KEPT_MS

SHARDS = 8
"""Over how many keys the intents of a batch, and the counts of a batch and of a campaign, are spread: a
partition takes 1,000 units a second, and a send costs 4. The number of counts may be raised; intents are
read from where they were written.
"""

_NAMES = {
    "send_id": "sendId",
    "settled_at": "settledAt",
    "message_id": "messageId",
    "leased_until": "leasedUntil",
    "finished_at": "finishedAt",
}
"""The attribute of each field whose name differs."""

_NUMBERS = frozenset({"at", "settled_at", "leased_until", "total", "finished_at", "number"})


def key_in(item: Item) -> Item:
    """Return the key of an item."""
    return {name: item[name] for name in ("pk", "sk")}


def batch_key(id_: str) -> Item:
    """Return the key of a batch."""
    return item_key(f"BATCH#{escaped(id_)}", "-")


def list_key(stream: str) -> str:
    """Return the partition of the list of a stream's batches."""
    return f"BATCHES#{escaped(stream)}"


def list_entry_key(batch: SendBatch) -> str:
    """Return a batch's sort key in its stream's list, by time."""
    return f"{time_key(batch.at)}#{batch.id}"


def time_key(at: int) -> str:
    """Return a time (ms) as text that sorts like it."""
    return f"{at:015d}"


def batch_id_of(entry: Item) -> str:
    """Return the batch of an entry in a stream's list."""
    return str(entry["sk"]["S"]).split("#", 1)[1]


def shard_key(batch: str, shard: int) -> str:
    """Return the partition of a shard of a batch's intents."""
    return f"INTENTS#{escaped(batch)}#{shard}"


def intent_key(batch: str, key: str) -> Item:
    """Return the key of an intent."""
    return item_key(shard_key(batch, crc32(key.encode()) % SHARDS), key)


def withheld_key(stream: str, campaign: str) -> str:
    """Return the partition of the counts of a campaign's withheld intents."""
    return f"WITHHELD#{escaped(stream)}#{escaped(campaign)}"


def expiry(at: int) -> Item:
    """Return the expiry of an item as of a time (ms)."""
    return {EXPIRES: {"N": str((at + INTENTS_KEPT_MS) // 1000)}}


def _attributes(struct: SendBatch | Intent, without: Collection[str]) -> Item:
    """Return the fields of a struct that have a value, as attributes."""
    return {
        _NAMES.get(name, name): {"N" if name in _NUMBERS else "S": str(value)}
        for name, value in asdict(struct).items()
        if value is not None and name not in without
    }


def _fields(item: Item, names: Iterable[str]) -> dict[str, Any]:
    """Return attributes as the fields of a struct."""
    fields: dict[str, Any] = {}
    for name in names:
        value = item.get(_NAMES.get(name, name))
        if value is not None:
            fields[name] = int(value["N"]) if name in _NUMBERS else value["S"]
    return fields


def batch_item(batch: SendBatch, version: int) -> Item:
    """Return the item of a batch."""
    return {
        **batch_key(batch.id),
        **_attributes(batch, without=("id",)),
        **expiry(max(batch.at, batch.leased_until)),  # not before the last of its intents
        "version": {"N": str(version)},
    }


def read_batch(item: Item) -> SendBatch:
    """Return the batch of an item."""
    id_ = unescaped(item["pk"]["S"].split("#")[1])
    return SendBatch(**{**_fields(item, SendBatch.__struct_fields__), "id": id_})


def intent_item(intent: Intent, version: int) -> Item:
    """Return the item of an intent."""
    return {
        **intent_key(intent.batch, intent.key),
        **_attributes(intent, without=("batch", "key")),
        **expiry(intent.at),
        "version": {"N": str(version)},
    }


def read_intent(item: Item) -> Intent:
    """Return the intent of an item."""
    fields = _fields(item, Intent.__struct_fields__)
    fields["batch"] = unescaped(item["pk"]["S"].split("#")[1])
    fields["key"] = item["sk"]["S"]
    return Intent(**{**fields, "state": SendState(fields["state"])})


def read_pause(item: Item) -> Pause:
    """Return the pause of an item."""
    return Pause(
        stream=item["sk"]["S"],
        at=int(item["at"]["N"]),
        by=item["by"]["S"],
        detail=item["detail"]["S"],
    )
