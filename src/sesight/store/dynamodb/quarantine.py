"""The quarantine in the control table: bodies by reason and time, counted as they come and go.

A body is three items: the body itself, a pointer from its id (so that a body is stored once), and an
entry under the message it waits for. Transactions of many bodies write and delete them, and also change
the counts of their reasons. Each count is spread over several items: a flood of bodies would contend for
a single one. The bytes of a body that is too large for an item are in further items ("parts"), written
before it and deleted after it.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from sesight.store.dynamodb.client import DynamoClient, Item, between, equals, item_key
from sesight.store.dynamodb.tables import EXPIRES
from sesight.store.limits import QUARANTINE_KEPT

COUNT = "QUARANTINE-COUNT"
UNROUTED = "unrouted"

SHARDS = 8
"""Over how many items the count of a reason is spread."""

BODIES_AT_ONCE = 30
BYTES_AT_ONCE = 3_000_000
"""Bodies in one transaction, and bytes: it takes 100 items, of which a body is at most three, and 4 MB."""

LARGEST = 390_000
"""Packed bytes that fit in one item (DynamoDB: 400 KB)."""

RELEASED_AT_ONCE = 300
"""Bodies that are read at once before they are deleted: the count includes their size."""

PARTS_KEPT = 2 * QUARANTINE_KEPT
"""Milliseconds for which parts stay if a process ended before it deleted them."""

_NEW = {"ConditionExpression": "attribute_not_exists(pk)"}
_EXISTING = {"ConditionExpression": "attribute_exists(pk)"}

_B = TypeVar("_B")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Quarantined).decode


class _StoredBody(NamedTuple):
    """A body as its item has it: without its bytes if those are in parts."""

    body: Quarantined
    size: int
    parts: int


class Quarantine:
    """The quarantine of one store."""

    def __init__(self, client: DynamoClient, table: str) -> None:
        """Use the control table."""
        self._client = client
        self._table = table

    # Writing

    def put(self, bodies: Iterable[Quarantined]) -> set[str]:
        """Store bodies; one that is stored already keeps the time of the first. Return the ids of the
        new ones.
        """
        missing = {body.id: body for body in bodies}
        new_ids: set[str] = set()
        pauses = self._client.pauses()
        while missing:
            stored = self._find(missing)
            again = [(missing[id_], before) for id_, before in stored.items()]
            self._client.map(lambda pair: self._put_again(*pair), again)
            new = [body for id_, body in missing.items() if id_ not in stored]
            self._client.map(self._put_parts, new)
            refused = self._in_chunks(self._put_chunk, new, lambda body: len(packed(body)[0]))
            missing = {body.id: body for body in refused}
            new_ids |= {body.id for body in new} - missing.keys()
            if missing:
                self._client.wait(pauses, "Other writers keep quarantining the same bodies")
        return new_ids

    def _put_chunk(self, bodies: Sequence[Quarantined], shard: int) -> bool:
        return self._commit([self._pointer(body, _NEW) for body in bodies], shard, added=bodies)

    def _put_again(self, body: Quarantined, before: _StoredBody) -> None:
        """Store the new reason of a body that is stored already."""
        kept = replace(body, at=before.body.at)
        if replace(kept, body=before.body.body) == before.body:
            return
        if kept.reason == before.body.reason:
            self._client("put_item", **self._body_item(kept))
            return
        same_reason = {
            "ConditionExpression": "reason = :reason",
            "ExpressionAttributeValues": {":reason": {"S": before.body.reason}},
        }
        pointers = [self._pointer(kept, same_reason)]
        self._commit(pointers, random.randrange(SHARDS), added=[kept], removed=[before])  # noqa: S311

    def _put_parts(self, body: Quarantined) -> None:
        expires = {EXPIRES: {"N": str((body.at + PARTS_KEPT) // 1_000)}}
        for n, part in enumerate(packed(body)[1:], 1):
            item = {**_part_key(body.id, n), "body": {"B": part}, **expires}
            self._client("put_item", TableName=self._table, Item=item)

    def release(self, ids: Iterable[str]) -> None:
        """Delete bodies; those that no longer exist are ignored."""
        left_ids = iter(ids)
        while chunk := list(itertools.islice(left_ids, RELEASED_AT_ONCE)):
            self._release(chunk)

    def _release(self, ids: list[str]) -> None:
        pauses = self._client.pauses()
        while ids:
            stored = self._find(ids)
            refused = self._in_chunks(
                self._release_chunk,
                list(stored.values()),
                lambda before: min(before.size, LARGEST),
            )
            ids = [before.body.id for before in refused]
            self._client.delete_many(
                self._table,
                [
                    _part_key(id_, n)
                    for id_ in sorted(stored.keys() - set(ids))
                    for n in range(1, stored[id_].parts + 1)
                ],
            )
            if ids:
                self._client.wait(pauses, "Other writers keep releasing the same bodies")

    def _release_chunk(self, bodies: Sequence[_StoredBody], shard: int) -> bool:
        pointers = [
            {"Delete": {"TableName": self._table, "Key": _pointer_key(before.body.id), **_EXISTING}}
            for before in bodies
        ]
        return self._commit(pointers, shard, removed=bodies)

    def _in_chunks(
        self,
        write: Callable[[Sequence[_B], int], bool],
        bodies: Sequence[_B],
        size: Callable[[_B], int],
    ) -> list[_B]:
        """Write bodies in as few transactions as they fit in; return those of refused transactions."""
        # the chunks of one call use different shards of the count, from a random one on
        first = random.randrange(SHARDS)  # noqa: S311
        chunks = list(enumerate(_chunks(bodies, size), first))
        written = self._client.map(lambda chunk: write(chunk[1], chunk[0] % SHARDS), chunks)
        return [
            body
            for (_, chunk), is_written in zip(chunks, written, strict=True)
            if not is_written
            for body in chunk
        ]

    def _pointer(self, body: Quarantined, condition: dict[str, Any]) -> dict[str, Any]:
        """Return the write of a body's pointer."""
        item = {
            **_pointer_key(body.id),
            "reason": {"S": body.reason},
            "place": {"S": _sort_key(body)},
        }
        return {"Put": {"TableName": self._table, "Item": item, **condition}}

    def _body_item(self, body: Quarantined) -> dict[str, Any]:
        """Return the arguments of the write of a body's item."""
        first, *parts = packed(body)
        item = {**_body_key(body), "body": {"B": first}}
        if parts:
            item |= {"parts": {"N": str(len(parts))}, "size": {"N": str(len(body.body))}}
        return {"TableName": self._table, "Item": item}

    def _commit(
        self,
        pointers: list[dict[str, Any]],
        shard: int,
        *,
        added: Sequence[Quarantined] = (),
        removed: Sequence[_StoredBody] = (),
    ) -> bool:
        """Add and remove bodies with their pointers, or write nothing and return False because another
        writer has changed a pointer.
        """
        bodies: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for body in added:
            bodies[body.reason] += 1
            sizes[body.reason] += len(body.body)
        for before in removed:
            bodies[before.body.reason] -= 1
            sizes[before.body.reason] -= before.size
        return self._client.transact(
            [
                *pointers,
                *({"Put": self._body_item(body)} for body in added),
                *(
                    {"Delete": {"TableName": self._table, "Key": _body_key(before.body)}}
                    for before in removed
                ),
                *(self._count(reason, n, sizes[reason], shard) for reason, n in bodies.items()),
                *self._awaited("ADD", added),
                *self._awaited("DELETE", [before.body for before in removed]),
            ]
        )

    def _count(self, reason: str, bodies: int, size: int, shard: int) -> dict[str, Any]:
        """Return the update of a reason's count."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": item_key(COUNT, f"{reason}#{shard}"),
                "UpdateExpression": "ADD bodies :bodies, #size :size",
                "ExpressionAttributeNames": {"#size": "size"},
                "ExpressionAttributeValues": {
                    ":bodies": {"N": str(bodies)},
                    ":size": {"N": str(size)},
                },
            }
        }

    def _awaited(self, action: str, bodies: Iterable[Quarantined]) -> Iterator[dict[str, Any]]:
        """Yield the updates of which bodies wait for a message: ADD or DELETE some."""
        waiting: dict[str, list[str]] = {}
        for body in bodies:
            if body.reason == UNROUTED and body.message_id is not None:
                waiting.setdefault(body.message_id, []).append(body.id)
        for message_id, ids in waiting.items():
            yield {
                "Update": {
                    "TableName": self._table,
                    "Key": _awaited_key(message_id),
                    "UpdateExpression": f"{action} ids :ids",
                    "ExpressionAttributeValues": {":ids": {"SS": ids}},
                }
            }

    # Reading

    def _get_many(self, keys: Iterable[Item]) -> list[Item]:
        items = self._client.get_many([(self._table, key) for key in keys], consistent=True)
        return [item for _, item in items]

    def _body_items(self, ids: Collection[str]) -> list[Item]:
        """Return the items of the bodies of some ids that exist."""
        pointers = self._get_many(map(_pointer_key, sorted(set(ids))))
        return self._get_many(
            item_key(f"QUARANTINE#{item['reason']['S']}", item["place"]["S"]) for item in pointers
        )

    def _find(self, ids: Collection[str]) -> dict[str, _StoredBody]:
        """Return the bodies of some ids that exist, without the bytes that are in parts."""
        return {stored.body.id: stored for stored in map(_unpack, self._body_items(ids))}

    def counts(self) -> dict[str, int]:
        """Return how many bodies there are, by reason."""
        bodies, _ = self._counted(equals(pk=COUNT))
        return {reason: n for reason, n in bodies.items() if n > 0}

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason there is room for, and how many bytes."""
        bodies, sizes = self._counted(between(("pk", COUNT), ("sk", reason, f"{reason}#~")))
        return QUARANTINE_BODIES - bodies[reason], QUARANTINE_BYTES - sizes[reason]

    def _counted(self, counts: Mapping[str, Any]) -> tuple[Counter[str], Counter[str]]:
        """Return how many bodies there are and how many bytes, by reason, from some counts. A count
        without a shard stems from before they were spread.
        """
        bodies: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for item in self._client.query(TableName=self._table, ConsistentRead=True, **counts):
            reason = item["sk"]["S"].partition("#")[0]
            bodies[reason] += int(item["bodies"]["N"])
            sizes[reason] += int(item["size"]["N"])
        return bodies, sizes

    def newest(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return bodies, newest first."""
        reasons = [reason] if reason is not None else sorted(self.counts())
        lists = self._client.map(lambda name: self._newest(name, limit), reasons)
        return list(itertools.islice(merge(*lists, key=lambda body: (-body.at, body.id)), limit))

    def _newest(self, reason: str, limit: int) -> list[Quarantined]:
        items = self._client.query(
            limit,
            TableName=self._table,
            ScanIndexForward=False,
            ConsistentRead=True,
            **equals(pk=f"QUARANTINE#{reason}"),
        )
        return sorted(self._whole(items), key=lambda body: (-body.at, body.id))

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return unrouted bodies of any of the messages."""
        if self.room(UNROUTED)[0] == QUARANTINE_BODIES:
            return []
        entries = self._get_many(map(_awaited_key, sorted(set(message_ids))))
        ids = [id_ for entry in entries for id_ in entry.get("ids", {}).get("SS", ())]
        return sorted(self._whole(self._body_items(ids)), key=lambda body: (body.at, body.id))

    def _whole(self, items: Iterable[Item]) -> list[Quarantined]:
        """Return the bodies of items with all their bytes, except those deleted meanwhile."""
        bodies = []
        for body, _, number in map(_unpack, items):
            if not number:
                bodies.append(body)
                continue
            parts = self._get_many(_part_key(body.id, n) for n in range(1, number + 1))
            if len(parts) == number:
                parts.sort(key=lambda item: str(item["sk"]["S"]))
                data = zlib.decompress(b"".join(item["body"]["B"] for item in parts))
                bodies.append(replace(body, body=data))
        return bodies

    def sweep(self, now: int) -> int:
        """Delete bodies that were kept long enough; return how many."""
        before = max(now - QUARANTINE_KEPT, 0)
        ids = [
            item["sk"]["S"].split("#", 1)[1]
            for reason in sorted(self.counts())
            for item in self._client.query(
                TableName=self._table,
                ProjectionExpression="sk",
                **between(("pk", f"QUARANTINE#{reason}"), ("sk", f"{0:015d}", f"{before:015d}")),
            )
        ]
        self.release(ids)
        return len(ids)


def _chunks(bodies: Iterable[_B], size: Callable[[_B], int]) -> Iterator[list[_B]]:
    """Yield bodies as they fit into transactions."""
    chunk: list[_B] = []
    room = BYTES_AT_ONCE
    for body in bodies:
        if chunk and (len(chunk) == BODIES_AT_ONCE or size(body) > room):
            yield chunk
            chunk, room = [], BYTES_AT_ONCE
        chunk.append(body)
        room -= size(body)
    if chunk:
        yield chunk


def _sort_key(body: Quarantined) -> str:
    return f"{body.at:015d}#{body.id}"


def _body_key(body: Quarantined) -> Item:
    return item_key(f"QUARANTINE#{body.reason}", _sort_key(body))


def _pointer_key(id_: str) -> Item:
    return item_key(f"BODY#{id_}", "-")


def _part_key(id_: str, n: int) -> Item:
    return item_key(f"BODY#{id_}", f"part-{n:04d}")


def _awaited_key(message_id: str) -> Item:
    return item_key(f"AWAITED#{message_id}", "-")


def packed(body: Quarantined) -> list[bytes]:
    """Return a body as it is stored: the content of its item, then the parts of its bytes, if any."""
    whole = zlib.compress(_encode(body))
    if len(whole) <= LARGEST:
        return [whole]
    data = zlib.compress(body.body)
    parts = [data[at : at + LARGEST] for at in range(0, len(data), LARGEST)]
    return [zlib.compress(_encode(replace(body, body=b""))), *parts]


def _unpack(item: Item) -> _StoredBody:
    body = _decode(zlib.decompress(item["body"]["B"]))
    if "parts" not in item:
        return _StoredBody(body, len(body.body), 0)
    return _StoredBody(body, int(item["size"]["N"]), int(item["parts"]["N"]))
