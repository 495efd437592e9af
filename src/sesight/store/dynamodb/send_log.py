"""The log of sending in the control table: batches, intents, what was withheld, paused streams.

Intents are written in transactions with the counts they change. A claim is recorded first, then the
suppressions are read, and only then is it told: so one that was committed before the claim was recorded
is never missed. They are not made a condition of the transaction: all that name the item of one large
domain would be in each other's way.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any
from zlib import crc32

from msgspec import json
from msgspec.structs import asdict, replace

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.sending import WITHHELD, Intent, Pause, Resumption, SendBatch, SendState
from sesight.store.dynamodb.client import Calls, between, equals
from sesight.store.dynamodb.item_codec import Item, read_suppression, version_of
from sesight.store.dynamodb.keys import LAST, escaped, text_key, unescaped
from sesight.store.dynamodb.tables import EXPIRES
from sesight.store.send_log import (
    INTENTS_KEPT_MS,
    Place,
    allowed,
    asked_of,
    claimed,
    leased,
    moved,
    place,
    read_counts,
    settled,
)

if TYPE_CHECKING:
    from sesight.domain.ports import SuppressionCheck
    from sesight.store.dynamodb.tables import StreamTables

SHARDS = 8
"""Over how many keys the intents of a batch are spread, and the counts of a batch and of a campaign: a
partition takes 1,000 units a second, a send is 4. Raising it is safe for counts; intents are where they
were written.
"""

TOGETHER = 33
"""Intents in one transaction, which takes 100 items: the batch's count is one, and at worst each intent
moves those of two campaigns.
"""

PAUSES = "PAUSES"
"""The partition of streams that are paused, or were."""

AWAY = "store-away"
"""The code of an intent of which it could not be looked up whether it is suppressed."""

_NAMES = {
    "send_id": "sendId",
    "settled_at": "settledAt",
    "message_id": "messageId",
    "leased_until": "leasedUntil",
    "finished_at": "finishedAt",
}
"""How fields are spelt as attributes, where not alike."""

_NUMBERS = frozenset({"at", "settled_at", "leased_until", "total", "finished_at", "number"})

Rule = Callable[[Intent | None, Intent], Intent]
"""Says what is recorded, of what was recorded and what is told."""


class DynamoSendLog:
    """`sesight.domain.ports.SendLog` in the control table. Any thread may use it."""

    def __init__(self, calls: Calls, table: str, streams: Mapping[str, StreamTables]) -> None:
        """Look at the control table and at the suppression tables of streams."""
        self._calls = calls
        self._table = table
        self._streams = streams

    # Batches

    def begin(self, batch: SendBatch) -> SendBatch:
        """Record a batch, or lease the one that has its id; see the port."""
        return self._open(batch, again=False)

    def reopen(self, batch: SendBatch) -> SendBatch:
        """As `begin`, but also for one that is finished, which no longer is."""
        return self._open(batch, again=True)

    def _open(self, asked: SendBatch, *, again: bool) -> SendBatch:
        pauses = self._calls.pauses()
        while True:
            item = self._calls.get(self._table, _batch_key(asked.id))
            held = None if item is None else _read_batch(item)
            found = asked if held is None else leased(held, asked, again=again)
            if found == held or self._put_batch(found, item):
                return found
            self._calls.wait(pauses, "Others change this batch all the time")

    def _put_batch(self, batch: SendBatch, before: Item | None) -> bool:
        """Write a batch, and the first time its place among its stream's; return whether it still was
        as read.
        """
        item = {
            **_batch_key(batch.id),
            **_attributes(batch, without=("id",)),
            **_expiry(max(batch.at, batch.leased_until)),  # no sooner than the last of its intents
            "version": {"N": str(version_of(before) + 1)},
        }
        parts = [self._put(item, before)]
        if before is None:
            entry = {**_key(_list_key(batch.stream), _entry(batch)), **_expiry(batch.at)}
            parts.append({"Put": {"TableName": self._table, "Item": entry}})
        return self._transact(parts)

    def hold(self, batch: str, holder: str, until: int) -> bool:
        """Let the holder's lease last until a time; return whether it was still the holder's."""
        old = self._update(
            _batch_key(batch),
            UpdateExpression=f"SET leasedUntil = :until, {EXPIRES} = :expires ADD version :one",
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues={
                ":expires": _expiry(until)[EXPIRES],
                ":until": {"N": str(until)},
                ":holder": {"S": holder},
                ":one": {"N": "1"},
            },
        )
        return old is not None and old["holder"]["S"] == holder

    def finish(self, batch: str, at: int) -> None:
        """Note that everything of a batch was tried."""
        self._update(
            _batch_key(batch),
            UpdateExpression="SET finishedAt = :at ADD version :one",
            ConditionExpression="attribute_exists(pk) AND attribute_not_exists(finishedAt)",
            ExpressionAttributeValues={":at": {"N": str(at)}, ":one": {"N": "1"}},
        )

    def batch(self, id_: str) -> SendBatch | None:
        """Return one batch."""
        item = self._calls.get(self._table, _batch_key(id_))
        return None if item is None else _read_batch(item)

    def batches(self, stream: str, limit: int) -> list[SendBatch]:
        """Return the batches of a stream, newest first."""
        entries = self._calls.query(
            limit,
            TableName=self._table,
            ScanIndexForward=False,
            ConsistentRead=True,
            **equals(pk=_list_key(stream)),
        )
        keys = [(self._table, _batch_key(_id_of(entry))) for entry in entries]
        found = [_read_batch(item) for _, item in self._calls.get_many(keys, consistent=True)]
        return sorted(found, key=lambda batch: (batch.at, batch.id), reverse=True)

    # Intents

    def claim(self, wanted: Sequence[Intent], blocks: SuppressionCheck) -> list[Intent]:
        """Record intents before their calls; return what is then recorded of each, in order."""
        for stream in {intent.stream for intent in wanted}:
            if stream not in self._streams:
                raise SettingsError(
                    f"There are no tables for the stream {stream!r}: add it to them."
                )
        found = self._record(wanted, claimed)
        ours = [intent for intent in wanted if found[place(intent)] is intent]
        try:
            items = self._suppressions({key for intent in ours for key in asked_of(intent)})
            decided = [allowed(intent, items, blocks) for intent in ours]
        except Exception:
            self._give_back(ours)
            raise
        forbidden = [intent for intent in decided if intent.state is SendState.SUPPRESSED]
        found.update(self._record(forbidden, settled))
        return [found[place(intent)] for intent in wanted]

    def _suppressions(self, wanted: Collection[Place]) -> dict[Place, Any]:
        streams = {self._streams[stream].suppression.name: stream for stream, _ in wanted}
        keys = [
            (self._streams[stream].suppression.name, {"email": {"S": text_key(address)}})
            for stream, address in wanted
        ]
        items = [
            (streams[table], read_suppression(item))
            for table, item in self._calls.get_many(keys, consistent=True)
        ]
        return {(stream, item.address): item for stream, item in items}

    def _give_back(self, ours: Sequence[Intent]) -> None:
        """Let intents be claimed again of which nobody was told; if it cannot be, they stay open."""
        with suppress(StoreUnavailable):
            self._record(
                [replace(intent, state=SendState.THROTTLED, code=AWAY) for intent in ours], settled
            )

    def settle(self, intents: Sequence[Intent]) -> None:
        """Record what became of intents; see the port."""
        self._record(intents, settled)

    def _record(self, told: Sequence[Intent], rule: Rule) -> dict[Place, Intent]:
        """Record intents by a rule; return what then is recorded in their places."""
        by_batch: dict[str, dict[Place, list[Intent]]] = {}
        for intent in told:
            by_batch.setdefault(intent.batch, {}).setdefault(place(intent), []).append(intent)
        chunks = []
        for places in by_batch.values():
            left = iter(places.values())
            while some := list(islice(left, TOGETHER)):
                chunks.append([intent for same in some for intent in same])
        # neighbours of one call do not meet at one count
        first = random.randrange(SHARDS)  # noqa: S311
        found: dict[Place, Intent] = {}
        for part in self._calls.each(
            lambda numbered: self._record_chunk(numbered[1], rule, (first + numbered[0]) % SHARDS),
            enumerate(chunks),
        ):
            found.update(part)
        return found

    def _record_chunk(self, told: Sequence[Intent], rule: Rule, shard: int) -> dict[Place, Intent]:
        """Record some intents of one batch, by one transaction; again when others came between."""
        pauses = self._calls.pauses()
        keys = [
            (self._table, key)
            for key in (_intent_key(*at) for at in dict.fromkeys(map(place, told)))
        ]
        while True:
            items = [item for _, item in self._calls.get_many(keys, consistent=True)]
            held = {
                place(intent): (intent, item) for item in items for intent in [_read_intent(item)]
            }
            after = {at: intent for at, (intent, _) in held.items()}
            for intent in told:
                after[place(intent)] = rule(after.get(place(intent)), intent)
            parts = []
            changes: list[tuple[Intent | None, Intent]] = []
            for at, intent in after.items():
                before, item = held.get(at, (None, None))
                if intent != before:
                    changes.append((before, intent))
                    parts.append(self._put(_intent_item(intent, version_of(item) + 1), item))
            if not parts or self._transact([*parts, *self._counts(changes, shard)]):
                return after
            self._calls.wait(pauses, "Others record the same recipients all the time")

    def _counts(
        self, changes: Sequence[tuple[Intent | None, Intent]], shard: int
    ) -> list[dict[str, Any]]:
        """Return the writes of the counts that changes of one batch's intents move."""
        states: Counter[SendState] = Counter()
        for before, after in changes:
            states[after.state] += 1
            if before is not None:
                states[before.state] -= 1
        latest = max(after.at for _, after in changes)
        counts = [(_key(f"BATCH#{escaped(changes[0][1].batch)}", f"COUNT#{shard}"), states)]
        counts += [
            (_key(_withheld_key(*campaign), str(shard)), moves)
            for campaign, moves in moved(changes).items()
        ]
        return [
            {"Update": _added(self._table, key, moves, _expiry(latest) if n == 0 else {})}
            for n, (key, moves) in enumerate(counts)
            if any(moves.values())
        ]

    def intents(
        self, batch: str, limit: int, after: str | None = None, states: Collection[SendState] = ()
    ) -> list[Intent]:
        """Return intents of a batch in the order of their keys, those after a key."""
        lanes = [
            _Lane(self._calls, self._table, _shard_key(batch, shard), after, states)
            for shard in range(SHARDS)
        ]
        share = limit // SHARDS + limit // (4 * SHARDS) + 4
        found: list[Intent] = []
        while len(found) < limit:
            empty = [lane for lane in lanes if not lane.items and not lane.ended]
            self._calls.each(lambda lane: lane.fill(min(share, limit)), empty)
            having = [lane for lane in lanes if lane.items]
            if not having:
                break
            first = min(having, key=lambda lane: str(lane.items[0]["sk"]["S"]))
            found.append(_read_intent(first.items.popleft()))
        return found

    def progress(self, batch: str) -> dict[SendState, int]:
        """Return how many intents of a batch are in each state."""
        return self._sum(
            between(("pk", f"BATCH#{escaped(batch)}"), ("sk", "COUNT#", f"COUNT#{LAST}")), SendState
        )

    def withheld(self, stream: str, campaign: str) -> dict[SendState, int]:
        """Return how many of a campaign's intents are in each state of `WITHHELD`."""
        return self._sum(equals(pk=_withheld_key(stream, campaign)), WITHHELD)

    def _sum(self, asked: dict[str, Any], states: Iterable[SendState]) -> dict[SendState, int]:
        items = list(self._calls.query(TableName=self._table, ConsistentRead=True, **asked))
        counts = {
            state: sum(int(item[state]["N"]) for item in items if state in item) for state in states
        }
        return {state: count for state, count in counts.items() if count}

    # Pauses

    def pauses(self) -> dict[str, Pause]:
        """Return why streams do not send, by stream."""
        items = self._calls.query(TableName=self._table, ConsistentRead=True, **equals(pk=PAUSES))
        return {item["sk"]["S"]: _read_pause(item) for item in items if "at" in item}

    def pause(self, pause: Pause) -> None:
        """Stop a stream. One that is stopped already keeps its first reason."""
        self._update(
            _key(PAUSES, pause.stream),
            UpdateExpression="SET #at = :at, #by = :by, detail = :detail",
            ConditionExpression="attribute_not_exists(#at)",
            ExpressionAttributeNames={"#at": "at", "#by": "by"},
            ExpressionAttributeValues={
                ":at": {"N": str(pause.at)},
                ":by": {"S": pause.by},
                ":detail": {"S": pause.detail},
            },
        )

    def resume(self, resumption: Resumption) -> Pause | None:
        """Let a stream send again; return what it was paused for."""
        pause = self.pauses().get(resumption.stream)
        at = {"N": str(resumption.at)}
        old = self._update(
            _key(PAUSES, resumption.stream),
            UpdateExpression="SET resumedAt = :at, counts = :counts REMOVE #at, #by, detail",
            ExpressionAttributeNames={"#at": "at", "#by": "by"},
            ExpressionAttributeValues={
                ":at": at,
                ":counts": {"S": json.encode(resumption.counts).decode()},
            },
        )
        if old is None or "at" in old:
            return _read_pause(old) if old is not None else None
        a_try_without_an_answer_did_it = old.get("resumedAt") == at
        return pause if a_try_without_an_answer_did_it else None

    def resumption(self, stream: str) -> Resumption | None:
        """Return how somebody last let the stream send again."""
        item = self._calls.get(self._table, _key(PAUSES, stream))
        if item is None or "resumedAt" not in item:
            return None
        counts = read_counts(item["counts"]["S"]) if "counts" in item else {}
        return Resumption(stream=stream, at=int(item["resumedAt"]["N"]), counts=counts)

    # Writing

    def _put(self, item: Item, before: Item | None) -> dict[str, Any]:
        """Return the write of an item on condition that it is as it was read."""
        put: dict[str, Any] = {"TableName": self._table, "Item": item}
        if before is None:
            put["ConditionExpression"] = "attribute_not_exists(pk)"
        else:
            put["ConditionExpression"] = "version = :version"
            put["ExpressionAttributeValues"] = {":version": before["version"]}
        return {"Put": put}

    def _transact(self, parts: list[dict[str, Any]]) -> bool:
        """Write all, or nothing and return False if something was not as it was read."""
        try:
            self._calls.transact(parts)
        except self._calls.failure as error:
            reasons = error.response.get("CancellationReasons") or ()
            if not any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                raise
            return False
        return True

    def _update(self, key: Item, **arguments: Any) -> Item | None:
        """Update an item if its condition holds; return it as it was before, or is if that fails."""
        try:
            answer = self._calls(
                "update_item",
                TableName=self._table,
                Key=key,
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except self._calls.failure as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            held: Item | None = error.response.get("Item")
            return held
        old: Item | None = answer.get("Attributes")
        return old

    # Where DynamoDB's own expiry does not

    def sweep(self, now: int, limit: int) -> int:
        """Remove up to `limit` intents that were kept long enough, and batches that have none left;
        return how many intents went.
        """
        before = now - INTENTS_KEPT_MS
        removed = 0
        for stream in self._streams:
            entries = list(
                self._calls.query(
                    TableName=self._table,
                    **between(("pk", _list_key(stream)), ("sk", "0", _time(before))),
                )
            )
            for entry in entries:
                if removed < limit:
                    removed += self._sweep_batch(entry, before, limit - removed)
        return removed

    def _sweep_batch(self, entry: Item, before: int, limit: int) -> int:
        batch = _id_of(entry)
        gone: list[Item] = []
        stay = False
        for shard in range(SHARDS):
            for item in self._calls.query(
                TableName=self._table, **equals(pk=_shard_key(batch, shard))
            ):
                if int(item["at"]["N"]) >= before or len(gone) >= limit:
                    stay = True
                else:
                    gone.append(_key(item["pk"]["S"], item["sk"]["S"]))
        self._calls.delete_many(self._table, gone)
        if not stay:
            of_batch = self._calls.query(
                TableName=self._table, **equals(pk=f"BATCH#{escaped(batch)}")
            )
            rest = [_key(item["pk"]["S"], item["sk"]["S"]) for item in [*of_batch, entry]]
            self._calls.delete_many(self._table, rest)
        return len(gone)


class _Lane:
    """The intents of one shard of a batch, in the order of their keys."""

    def __init__(
        self,
        calls: Calls,
        table: str,
        pk: str,
        after: str | None,
        states: Collection[SendState],
    ) -> None:
        self._calls = calls
        self._asked: dict[str, Any] = {
            "TableName": table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
        }
        values = self._asked["ExpressionAttributeValues"]
        if after is not None:
            self._asked["KeyConditionExpression"] += " AND sk > :after"
            values[":after"] = {"S": after}
        if states:
            named = {f":state{n}": {"S": str(state)} for n, state in enumerate(states)}
            values.update(named)
            self._asked["FilterExpression"] = f"#state IN ({', '.join(named)})"
            self._asked["ExpressionAttributeNames"] = {"#state": "state"}
        self.items: deque[Item] = deque()
        self.ended = False

    def fill(self, share: int) -> None:
        """Fetch some more, none only at the end. A page that is filtered is read whole."""
        limit = {} if "FilterExpression" in self._asked else {"Limit": share}
        while not self.items and not self.ended:
            answer = self._calls("query", **self._asked, **limit)
            self.items.extend(answer["Items"])
            self._asked["ExclusiveStartKey"] = answer.get("LastEvaluatedKey")
            self.ended = self._asked["ExclusiveStartKey"] is None


# Keys and items


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _batch_key(id_: str) -> Item:
    return _key(f"BATCH#{escaped(id_)}", "-")


def _list_key(stream: str) -> str:
    return f"BATCHES#{escaped(stream)}"


def _entry(batch: SendBatch) -> str:
    """Return a batch's place among its stream's, by time."""
    return f"{_time(batch.at)}#{batch.id}"


def _time(at: int) -> str:
    return f"{at:015d}"


def _id_of(entry: Item) -> str:
    return str(entry["sk"]["S"]).split("#", 1)[1]


def _shard_key(batch: str, shard: int) -> str:
    return f"INTENTS#{escaped(batch)}#{shard}"


def _intent_key(batch: str, key: str) -> Item:
    return _key(_shard_key(batch, crc32(key.encode()) % SHARDS), key)


def _withheld_key(stream: str, campaign: str) -> str:
    return f"WITHHELD#{escaped(stream)}#{escaped(campaign)}"


def _expiry(at: int) -> Item:
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
    found: dict[str, Any] = {}
    for name in names:
        value = item.get(_NAMES.get(name, name))
        if value is not None:
            found[name] = int(value["N"]) if name in _NUMBERS else value["S"]
    return found


def _read_batch(item: Item) -> SendBatch:
    id_ = unescaped(item["pk"]["S"].split("#")[1])
    return SendBatch(**{**_fields(item, SendBatch.__struct_fields__), "id": id_})


def _intent_item(intent: Intent, version: int) -> Item:
    return {
        **_intent_key(intent.batch, intent.key),
        **_attributes(intent, without=("batch", "key")),
        **_expiry(intent.at),
        "version": {"N": str(version)},
    }


def _read_intent(item: Item) -> Intent:
    fields = _fields(item, Intent.__struct_fields__)
    fields["batch"] = unescaped(item["pk"]["S"].split("#")[1])
    fields["key"] = item["sk"]["S"]
    return Intent(**{**fields, "state": SendState(fields["state"])})


def _read_pause(item: Item) -> Pause:
    return Pause(
        stream=item["sk"]["S"],
        at=int(item["at"]["N"]),
        by=item["by"]["S"],
        detail=item["detail"]["S"],
    )


def _added(table: str, key: Item, moves: Mapping[SendState, int], more: Item) -> dict[str, Any]:
    """Return the update that adds to an item's counts, and sets what else is given."""
    added = {state: change for state, change in moves.items() if change}
    text = f"ADD {', '.join(f'#{state} :{state}' for state in added)}"
    if more:
        text = f"SET {', '.join(f'#{name} = :{name}' for name in more)} {text}"
    return {
        "TableName": table,
        "Key": key,
        "UpdateExpression": text,
        "ExpressionAttributeNames": {f"#{name}": str(name) for name in (*added, *more)},
        "ExpressionAttributeValues": {
            **{f":{state}": {"N": str(change)} for state, change in added.items()},
            **{f":{name}": value for name, value in more.items()},
        },
    }
