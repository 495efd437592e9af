"""The quarantine in the control table: bodies by reason and time, counted as they come and go.

Three items a body: the body itself, where it is (by its id, so that it is kept once), and that its
message is waited for. They are written and removed by transactions of many bodies, each of which also
moves the counts of their reasons, that are spread over some items: a flood of bodies would meet at one.
A body that is too large for an item has its bytes in further ones, written before and removed after.
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
from sesight.store.dynamodb.client import Calls, between, equals
from sesight.store.dynamodb.item_codec import Item
from sesight.store.dynamodb.tables import EXPIRES
from sesight.store.sqlite.suppressions import QUARANTINE_MS

COUNT = "QUARANTINE-COUNT"
UNROUTED = "unrouted"

SHARDS = 8
"""Over how many items the count of a reason is spread."""

TOGETHER = 30
BYTES_TOGETHER = 3_000_000
"""Bodies of one transaction, and bytes: it takes 100 items, of which a body is at most three, and 4 MB."""

LARGEST = 390_000
"""Packed bytes that one item takes (DynamoDB: 400 KB)."""

AT_ONCE = 300
"""Bodies that are read at once to be removed, since the count has their size."""

PARTS_KEPT_MS = 2 * QUARANTINE_MS
"""How long parts are kept where a process ended before it removed them."""

_B = TypeVar("_B")

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

    def put(self, bodies: Iterable[Quarantined]) -> set[str]:
        """Store bodies; one that is there already keeps only its time. Return the ids of new ones."""
        missing = {held.id: held for held in bodies}
        stored: set[str] = set()
        tries = self._calls.pauses()
        while missing:
            there = self._find(missing)
            again = [(missing[id_], before) for id_, before in there.items()]
            self._calls.each(lambda both: self._put_again(*both), again)
            new = [held for id_, held in missing.items() if id_ not in there]
            self._calls.each(self._put_parts, new)
            refused = self._in_chunks(self._put_chunk, new, lambda held: len(packed(held)[0]))
            missing = {held.id: held for held in refused}
            stored |= {held.id for held in new} - missing.keys()
            if missing:
                self._calls.wait(tries, "Others quarantine the same bodies all the time")
        return stored

    def _put_chunk(self, bodies: Sequence[Quarantined], shard: int) -> bool:
        pointers = [self._pointer(held, _NEW) for held in bodies]
        return self._commit(pointers, shard, coming=bodies)

    def _put_again(self, held: Quarantined, before: _Held) -> None:
        """Store what is now said of a body that is there."""
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
        pointers = [self._pointer(kept, still_there)]
        self._commit(pointers, random.randrange(SHARDS), coming=[kept], going=[before])  # noqa: S311

    def _put_parts(self, held: Quarantined) -> None:
        expires = {EXPIRES: {"N": str((held.at + PARTS_KEPT_MS) // 1_000)}}
        for n, part in enumerate(packed(held)[1:], 1):
            item = {**_part_key(held.id, n), "body": {"B": part}, **expires}
            self._calls("put_item", TableName=self._table, Item=item)

    def release(self, ids: Iterable[str]) -> None:
        """Remove bodies; those that are gone already are none of our business."""
        every = iter(ids)
        while some := list(itertools.islice(every, AT_ONCE)):
            self._release(some)

    def _release(self, left: list[str]) -> None:
        tries = self._calls.pauses()
        while left:
            there = self._find(left)
            refused = self._in_chunks(
                self._release_chunk, list(there.values()), lambda before: min(before.size, LARGEST)
            )
            gone = there.keys() - {before.held.id for before in refused}
            parts = [
                _part_key(id_, n) for id_ in sorted(gone) for n in range(1, there[id_].parts + 1)
            ]
            self._calls.delete_many(self._table, parts)
            left = [before.held.id for before in refused]
            if left:
                self._calls.wait(tries, "Others release the same bodies all the time")

    def _release_chunk(self, bodies: Sequence[_Held], shard: int) -> bool:
        pointers = [
            {
                "Delete": {
                    "TableName": self._table,
                    "Key": _key(f"BODY#{before.held.id}", "-"),
                    **_THERE,
                }
            }
            for before in bodies
        ]
        return self._commit(pointers, shard, going=bodies)

    def _in_chunks(
        self,
        write: Callable[[Sequence[_B], int], bool],
        bodies: Sequence[_B],
        size: Callable[[_B], int],
    ) -> list[_B]:
        """Write bodies in as few transactions as they fit in; return those of refused ones."""
        # neighbours of one call do not meet at one count
        first = random.randrange(SHARDS)  # noqa: S311
        chunks = list(enumerate(_chunks(bodies, size), first))
        written = self._calls.each(lambda chunk: write(chunk[1], chunk[0] % SHARDS), chunks)
        return [
            body
            for (_, chunk), is_written in zip(chunks, written, strict=True)
            if not is_written
            for body in chunk
        ]

    def _find(self, ids: Collection[str]) -> dict[str, _Held]:
        """Return the bodies of the ids that are there, without the bytes that are in parts."""
        pointers = [(self._table, _key(f"BODY#{id_}", "-")) for id_ in sorted(set(ids))]
        bodies = [
            (self._table, _key(f"QUARANTINE#{item['reason']['S']}", item["place"]["S"]))
            for _, item in self._calls.get_many(pointers, consistent=True)
        ]
        found = [_unpack(item) for _, item in self._calls.get_many(bodies, consistent=True)]
        return {body.held.id: body for body in found}

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

    def _commit(
        self,
        pointers: list[dict[str, Any]],
        shard: int,
        *,
        coming: Sequence[Quarantined] = (),
        going: Sequence[_Held] = (),
    ) -> bool:
        """Write bodies that come and go with their pointers, or nothing if a pointer is not as it was;
        return whether it was written.
        """
        bodies: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for held in coming:
            bodies[held.reason] += 1
            sizes[held.reason] += len(held.body)
        for before in going:
            bodies[before.held.reason] -= 1
            sizes[before.held.reason] -= before.size
        parts = [
            *pointers,
            *({"Put": self._body(held)} for held in coming),
            *(self._delete(before.held) for before in going),
            *(self._count(reason, n, sizes[reason], shard) for reason, n in bodies.items()),
            *self._awaited(coming, "ADD"),
            *self._awaited([before.held for before in going], "DELETE"),
        ]
        try:
            self._calls.transact(parts)
        except self._calls.failure as error:
            reasons = error.response.get("CancellationReasons") or ()
            of_pointers = {reason.get("Code") for reason in reasons[: len(pointers)]}
            if "ConditionalCheckFailed" not in of_pointers:
                raise
            return False
        return True

    def _delete(self, held: Quarantined) -> dict[str, Any]:
        key = _key(f"QUARANTINE#{held.reason}", _place(held))
        return {"Delete": {"TableName": self._table, "Key": key}}

    def _count(self, reason: str, bodies: int, size: int, shard: int) -> dict[str, Any]:
        """Return the update of a reason's count."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(COUNT, f"{reason}#{shard}"),
                "UpdateExpression": "ADD bodies :bodies, #size :size",
                "ExpressionAttributeNames": {"#size": "size"},
                "ExpressionAttributeValues": {
                    ":bodies": {"N": str(bodies)},
                    ":size": {"N": str(size)},
                },
            }
        }

    def _awaited(self, bodies: Iterable[Quarantined], verb: str) -> Iterator[dict[str, Any]]:
        """Yield the updates of which bodies wait for a message."""
        waiting: dict[str, list[str]] = {}
        for held in bodies:
            if held.reason == UNROUTED and held.message_id is not None:
                waiting.setdefault(held.message_id, []).append(held.id)
        for message_id, ids in waiting.items():
            yield {
                "Update": {
                    "TableName": self._table,
                    "Key": _key(f"AWAITED#{message_id}", "-"),
                    "UpdateExpression": f"{verb} ids :ids",
                    "ExpressionAttributeValues": {":ids": {"SS": ids}},
                }
            }

    # Reading

    def counts(self) -> dict[str, int]:
        """Return how many bodies there are, by reason."""
        bodies, _ = self._counted(equals(pk=COUNT))
        return {reason: n for reason, n in bodies.items() if n > 0}

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason there is room for, and how many bytes."""
        bodies, sizes = self._counted(between(("pk", COUNT), ("sk", reason, f"{reason}#~")))
        return QUARANTINE_BODIES - bodies[reason], QUARANTINE_BYTES - sizes[reason]

    def _counted(self, counts: Mapping[str, Any]) -> tuple[Counter[str], Counter[str]]:
        """Return how many bodies there are and how many bytes, by reason, of some counts. One without
        a shard is of before they were spread.
        """
        bodies: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for item in self._calls.query(TableName=self._table, ConsistentRead=True, **counts):
            reason = item["sk"]["S"].partition("#")[0]
            bodies[reason] += int(item["bodies"]["N"])
            sizes[reason] += int(item["size"]["N"])
        return bodies, sizes

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
        if self.room(UNROUTED)[0] == QUARANTINE_BODIES:
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


def _chunks(bodies: Iterable[_B], size: Callable[[_B], int]) -> Iterator[list[_B]]:
    """Yield bodies as they fit into transactions."""
    chunk: list[_B] = []
    room = BYTES_TOGETHER
    for body in bodies:
        if chunk and (len(chunk) == TOGETHER or size(body) > room):
            yield chunk
            chunk, room = [], BYTES_TOGETHER
        chunk.append(body)
        room -= size(body)
    if chunk:
        yield chunk


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
