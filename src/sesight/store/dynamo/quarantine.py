"""The quarantine in the control table: bodies by reason and time, counted as they come and go.

Four items a body, written and removed in one transaction: the body itself, where it is (by its id,
so that it is kept once), the count of its reason, and that its message is waited for. A body that is
too large for an item has its bytes in further ones, written before and removed after.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Collection, Iterable
from heapq import merge
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from sesight.domain.ports import Quarantined
from sesight.store.dynamo.calls import Calls, between, equals
from sesight.store.dynamo.items import Item
from sesight.store.dynamo.tables import EXPIRES
from sesight.store.lists import QUARANTINE_MS
from sesight.store.view import ROOM_BYTES, ROOM_ROWS

COUNT = "QUARANTINE-COUNT"
UNROUTED = "unrouted"

LARGEST = 390_000
"""Packed bytes that one item takes (DynamoDB: 400 KB)."""

PARTS_KEPT_MS = 2 * QUARANTINE_MS
"""How long parts are kept where a process ended before it removed them."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Quarantined).decode


class _Held(NamedTuple):
    """A body as its own item has it: without its bytes if those are in parts."""

    held: Quarantined
    size: int
    parts: int


class Quarantine:
    """The quarantine of one store."""

    def __init__(self, calls: Calls, table: str) -> None:
        """Look at the control table."""
        self._calls = calls
        self._table = table

    def put(self, bodies: Iterable[Quarantined]) -> None:
        """Store bodies; one that is there already keeps only its time."""
        self._calls.each(self._put, bodies)

    def _put(self, held: Quarantined) -> None:
        before = self._find(held.id)
        if before is None:
            self._put_parts(held)
            self._commit([self._pointer(held, _NEW), *self._entering(held)])
            return
        kept = replace(held, at=before.held.at)
        if replace(kept, body=before.held.body) == before.held:
            return
        if kept.reason == before.held.reason:
            self._calls("put_item", **self._body(kept))
            return
        still_there = {
            "ConditionExpression": "reason = :reason",
            "ExpressionAttributeValues": {":reason": {"S": before.held.reason}},
        }
        self._commit(
            [self._pointer(kept, still_there), *self._leaving(before), *self._entering(kept)]
        )

    def _put_parts(self, held: Quarantined) -> None:
        expires = {EXPIRES: {"N": str((held.at + PARTS_KEPT_MS) // 1_000)}}
        for n, part in enumerate(packed(held)[1:], 1):
            item = {**_part_key(held.id, n), "body": {"B": part}, **expires}
            self._calls("put_item", TableName=self._table, Item=item)

    def release(self, ids: Iterable[str]) -> None:
        """Remove bodies; those that are gone already are none of our business."""
        self._calls.each(self._release, ids)

    def _release(self, id_: str) -> None:
        held = self._find(id_)
        if held is not None:
            pointer = {"TableName": self._table, "Key": _key(f"BODY#{id_}", "-"), **_THERE}
            self._commit([{"Delete": pointer}, *self._leaving(held)])
            keys = [_part_key(id_, n) for n in range(1, held.parts + 1)]
            self._calls.delete_many(self._table, keys)

    def _find(self, id_: str) -> _Held | None:
        pointer = self._calls.get(self._table, _key(f"BODY#{id_}", "-"))
        if pointer is None:
            return None
        body = self._calls.get(
            self._table, _key(f"QUARANTINE#{pointer['reason']['S']}", pointer["place"]["S"])
        )
        return _unpack(body) if body is not None else None

    def _pointer(self, held: Quarantined, condition: dict[str, Any]) -> dict[str, Any]:
        """Return the write of where a body is."""
        item = {
            **_key(f"BODY#{held.id}", "-"),
            "reason": {"S": held.reason},
            "place": {"S": _place(held)},
        }
        return {"Put": {"TableName": self._table, "Item": item, **condition}}

    def _body(self, held: Quarantined) -> dict[str, Any]:
        body, *parts = packed(held)
        item = {**_key(f"QUARANTINE#{held.reason}", _place(held)), "body": {"B": body}}
        if parts:
            item |= {"parts": {"N": str(len(parts))}, "size": {"N": str(len(held.body))}}
        return {"TableName": self._table, "Item": item}

    def _entering(self, held: Quarantined) -> list[dict[str, Any]]:
        """Return the writes of a body that comes, beside its pointer."""
        return [{"Put": self._body(held)}, *self._counted(held, 1, len(held.body), "ADD")]

    def _leaving(self, body: _Held) -> list[dict[str, Any]]:
        """Return the writes of a body that goes, beside its pointer."""
        held = body.held
        key = _key(f"QUARANTINE#{held.reason}", _place(held))
        return [
            {"Delete": {"TableName": self._table, "Key": key}},
            *self._counted(held, -1, -body.size, "DELETE"),
        ]

    def _counted(
        self, held: Quarantined, bodies: int, size: int, verb: str
    ) -> list[dict[str, Any]]:
        """Return the updates of its reason's count, and of what waits for its message."""
        updates = [
            {
                "TableName": self._table,
                "Key": _key(COUNT, held.reason),
                "UpdateExpression": "ADD bodies :bodies, #size :size",
                "ExpressionAttributeNames": {"#size": "size"},
                "ExpressionAttributeValues": {
                    ":bodies": {"N": str(bodies)},
                    ":size": {"N": str(size)},
                },
            }
        ]
        if held.reason == UNROUTED and held.message_id is not None:
            updates.append(
                {
                    "TableName": self._table,
                    "Key": _key(f"AWAITED#{held.message_id}", "-"),
                    "UpdateExpression": f"{verb} ids :id",
                    "ExpressionAttributeValues": {":id": {"SS": [held.id]}},
                }
            )
        return [{"Update": update} for update in updates]

    def _commit(self, parts: list[dict[str, Any]]) -> None:
        """Write all, unless somebody else did: the first part's condition says so."""
        try:
            self._calls.transact(parts)
        except self._calls.failure as error:
            reasons = error.response.get("CancellationReasons") or [{}]
            if reasons[0].get("Code") != "ConditionalCheckFailed":
                raise

    # Reading

    def counts(self) -> dict[str, int]:
        """Return how many bodies there are, by reason."""
        items = self._calls.query(TableName=self._table, ConsistentRead=True, **equals(pk=COUNT))
        counted = {item["sk"]["S"]: int(item["bodies"]["N"]) for item in items}
        return {reason: bodies for reason, bodies in counted.items() if bodies > 0}

    def room(self, reason: str) -> int:
        """Return how many more bodies of this reason there is room for."""
        item = self._calls.get(self._table, _key(COUNT, reason))
        if item is None:
            return ROOM_ROWS
        full = int(item["size"]["N"]) >= ROOM_BYTES
        return 0 if full else max(ROOM_ROWS - int(item["bodies"]["N"]), 0)

    def newest(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return bodies, newest first."""
        reasons = [reason] if reason is not None else sorted(self.counts())
        lists = self._calls.each(lambda one: self._newest(one, limit), reasons)
        return list(itertools.islice(merge(*lists, key=lambda held: (-held.at, held.id)), limit))

    def _newest(self, reason: str, limit: int) -> list[Quarantined]:
        found = self._calls.query(
            limit,
            TableName=self._table,
            ScanIndexForward=False,
            ConsistentRead=True,
            **equals(pk=f"QUARANTINE#{reason}"),
        )
        return sorted(self._whole(found), key=lambda held: (-held.at, held.id))

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return unrouted bodies of any of the messages."""
        if self.room(UNROUTED) == ROOM_ROWS:
            return []
        keys = [(self._table, _key(f"AWAITED#{name}", "-")) for name in sorted(set(message_ids))]
        waited = self._calls.get_many(keys, consistent=True)
        ids = sorted({id_ for _, item in waited for id_ in item.get("ids", {}).get("SS", ())})
        pointers = self._calls.get_many(
            [(self._table, _key(f"BODY#{id_}", "-")) for id_ in ids], consistent=True
        )
        bodies = [
            (self._table, _key(f"QUARANTINE#{item['reason']['S']}", item["place"]["S"]))
            for _, item in pointers
        ]
        found = self._whole(item for _, item in self._calls.get_many(bodies, consistent=True))
        return sorted(found, key=lambda held: (held.at, held.id))

    def _whole(self, items: Iterable[Item]) -> list[Quarantined]:
        """Return the bodies of items with all their bytes, but those that are gone meanwhile."""
        found = []
        for held, _, parts in map(_unpack, items):
            if not parts:
                found.append(held)
                continue
            keys = [(self._table, _part_key(held.id, n)) for n in range(1, parts + 1)]
            read = [item for _, item in self._calls.get_many(keys, consistent=True)]
            if len(read) == parts:
                read.sort(key=lambda item: str(item["sk"]["S"]))
                body = zlib.decompress(b"".join(item["body"]["B"] for item in read))
                found.append(replace(held, body=body))
        return found

    def expired(self, before: int) -> list[str]:
        """Return the ids of bodies taken in before a time (ms)."""
        return [
            item["sk"]["S"].split("#", 1)[1]
            for reason in sorted(self.counts())
            for item in self._calls.query(
                TableName=self._table,
                ProjectionExpression="sk",
                **between(
                    ("pk", f"QUARANTINE#{reason}"), ("sk", f"{0:015d}", f"{max(before, 0):015d}")
                ),
            )
        ]


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


_NEW = {"ConditionExpression": "attribute_not_exists(pk)"}
_THERE = {"ConditionExpression": "attribute_exists(pk)"}


def _place(held: Quarantined) -> str:
    return f"{held.at:015d}#{held.id}"


def _part_key(id_: str, n: int) -> Item:
    return _key(f"BODY#{id_}", f"part-{n:04d}")


def packed(held: Quarantined) -> list[bytes]:
    """Return a body as it is stored: what its item holds, then the parts of its bytes, if any."""
    whole = zlib.compress(_encode(held))
    if len(whole) <= LARGEST:
        return [whole]
    body = zlib.compress(held.body)
    parts = [body[at : at + LARGEST] for at in range(0, len(body), LARGEST)]
    return [zlib.compress(_encode(replace(held, body=b""))), *parts]


def _unpack(item: Item) -> _Held:
    held = _decode(zlib.decompress(item["body"]["B"]))
    if "parts" not in item:
        return _Held(held, len(held.body), 0)
    return _Held(held, int(item["size"]["N"]), int(item["parts"]["N"]))
