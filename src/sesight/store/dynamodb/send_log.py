"""The send log in the control table: batches, intents, what was withheld, paused streams.

Transactions write intents together with the counts they change. A claim is recorded first, then the
suppressions are read, and only then does the caller get it: so a suppression that was committed before
the claim was recorded is never missed. Suppressions are not conditions of the transaction, because all
claims for one large domain would then contend for the item of that domain.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import json
from msgspec.structs import replace

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.sending import WITHHELD, Intent, Pause, Resumption, SendBatch, SendState
from sesight.store.dynamodb.client import (
    ConditionFailed,
    DynamoClient,
    Item,
    between,
    equals,
    if_version,
    item_key,
    version_of,
)
from sesight.store.dynamodb.keys import LAST_KEY, escaped
from sesight.store.dynamodb.merged_query import merged
from sesight.store.dynamodb.send_log_codec import (
    SHARDS,
    batch_id_of,
    batch_item,
    batch_key,
    expiry,
    intent_item,
    intent_key,
    key_in,
    list_entry_key,
    list_key,
    read_batch,
    read_intent,
    read_pause,
    shard_key,
    time_key,
    withheld_key,
)
from sesight.store.dynamodb.tables import EXPIRES
from sesight.store.send_log import (
    INTENTS_KEPT_MS,
    IntentKey,
    blocking_keys,
    claimed,
    key_of,
    leased,
    read_counts,
    settled,
    unless_blocked,
    withheld_changes,
)

if TYPE_CHECKING:
    from sesight.domain.ports import SuppressionCheck
    from sesight.store.dynamodb.suppressions import SuppressionTables
    from sesight.store.dynamodb.tables import StreamTables

INTENTS_AT_ONCE = 33
"""Intents in one transaction, which takes 100 items: the batch's count is one, and each intent may change
the counts of two campaigns.
"""

PAUSES = "PAUSES"
"""The partition of streams that are or were paused."""

STORE_UNAVAILABLE = "store-away"
"""The code of an intent whose suppressions could not be read."""

_Decide = Callable[[Intent | None, Intent], Intent]
"""Returns what is recorded, given the recorded intent and the new one."""


class DynamoSendLog:
    """`sesight.domain.ports.SendLog` in the control table. Any thread may use it."""

    def __init__(
        self,
        client: DynamoClient,
        table: str,
        streams: Mapping[str, StreamTables],
        suppressions: SuppressionTables,
    ) -> None:
        """Use the control table."""
        self._client = client
        self._table = table
        self._streams = streams
        self._suppressions = suppressions

    # Batches

    def begin(self, batch: SendBatch) -> SendBatch:
        """Record a batch, or lease the one that has its id; see the port."""
        return self._lease(batch, reopen=False)

    def reopen(self, batch: SendBatch) -> SendBatch:
        """As `begin`, but also for one that is finished, which no longer is."""
        return self._lease(batch, reopen=True)

    def _lease(self, request: SendBatch, *, reopen: bool) -> SendBatch:
        pauses = self._client.pauses()
        while True:
            item = self._client.get(self._table, batch_key(request.id))
            recorded = None if item is None else read_batch(item)
            batch = leased(recorded, request, reopen=reopen)
            if batch == recorded or self._put_batch(batch, item):
                return batch
            self._client.wait(pauses, "Other writers keep changing this batch")

    def _put_batch(self, batch: SendBatch, before: Item | None) -> bool:
        """Write a batch and, the first time, its entry in its stream's list; return False if another
        writer has changed it since it was read.
        """
        item = batch_item(batch, version_of(before) + 1)
        writes = [self._put(item, before)]
        if before is None:
            entry = {**item_key(list_key(batch.stream), list_entry_key(batch)), **expiry(batch.at)}
            writes.append({"Put": {"TableName": self._table, "Item": entry}})
        return self._client.transact(writes)

    def hold(self, batch: str, holder: str, until: int) -> bool:
        """Let the holder's lease last until a time; return whether it is still the holder's."""
        before = self._update(
            batch_key(batch),
            UpdateExpression=f"SET leasedUntil = :until, {EXPIRES} = :expires ADD version :one",
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues={
                ":expires": expiry(until)[EXPIRES],
                ":until": {"N": str(until)},
                ":holder": {"S": holder},
                ":one": {"N": "1"},
            },
        )
        return before is not None and before["holder"]["S"] == holder

    def finish(self, batch: str, at: int) -> None:
        """Note that everything of a batch was tried."""
        self._update(
            batch_key(batch),
            UpdateExpression="SET finishedAt = :at ADD version :one",
            ConditionExpression="attribute_exists(pk) AND attribute_not_exists(finishedAt)",
            ExpressionAttributeValues={":at": {"N": str(at)}, ":one": {"N": "1"}},
        )

    def batch(self, id_: str) -> SendBatch | None:
        """Return one batch."""
        item = self._client.get(self._table, batch_key(id_))
        return None if item is None else read_batch(item)

    # Intents

    def claim(self, intents: Sequence[Intent], blocks: SuppressionCheck) -> list[Intent]:
        """Record intents before their send requests; return what is then recorded of each, in order."""
        for stream in {intent.stream for intent in intents}:
            if stream not in self._streams:
                raise SettingsError(
                    f"There are no tables for the stream {stream!r}: add it to them."
                )
        recorded = self._record(intents, claimed)
        ours = [intent for intent in intents if recorded[key_of(intent)] is intent]
        try:
            keys = {key for intent in ours for key in blocking_keys(intent)}
            items = self._suppressions.get_many(keys)
            decided = [unless_blocked(intent, items, blocks) for intent in ours]
        except Exception:
            self._give_back(ours)
            raise
        suppressed = [intent for intent in decided if intent.state is SendState.SUPPRESSED]
        recorded.update(self._record(suppressed, settled))
        return [recorded[key_of(intent)] for intent in intents]

    def _give_back(self, intents: Sequence[Intent]) -> None:
        """Let intents that no caller received be claimed again; if that fails, they stay claimed."""
        throttled = [
            replace(intent, state=SendState.THROTTLED, code=STORE_UNAVAILABLE) for intent in intents
        ]
        with suppress(StoreUnavailable):
            self._record(throttled, settled)

    def settle(self, intents: Sequence[Intent]) -> None:
        """Record the results of intents; see the port."""
        self._record(intents, settled)

    def _record(self, intents: Sequence[Intent], decide: _Decide) -> dict[IntentKey, Intent]:
        """Record what `decide` returns for intents; return what is recorded then, by key."""
        by_batch: dict[str, dict[IntentKey, list[Intent]]] = {}
        for intent in intents:
            of_batch = by_batch.setdefault(intent.batch, {})
            of_batch.setdefault(key_of(intent), []).append(intent)
        chunks = []
        for of_batch in by_batch.values():
            left = iter(of_batch.values())
            while keys := list(islice(left, INTENTS_AT_ONCE)):
                chunks.append([intent for of_key in keys for intent in of_key])
        # the chunks of one call use different shards of the counts, from a random one on
        first = random.randrange(SHARDS)  # noqa: S311
        recorded: dict[IntentKey, Intent] = {}
        for of_chunk in self._client.map(
            lambda numbered: self._record_chunk(numbered[1], decide, numbered[0] % SHARDS),
            enumerate(chunks, first),
        ):
            recorded.update(of_chunk)
        return recorded

    def _record_chunk(
        self, intents: Sequence[Intent], decide: _Decide, shard: int
    ) -> dict[IntentKey, Intent]:
        """Record intents of one batch in one transaction, again when other writers were faster."""
        pauses = self._client.pauses()
        keys = [(self._table, intent_key(*key)) for key in dict.fromkeys(map(key_of, intents))]
        while True:
            before = {
                key_of(intent): (intent, item)
                for _, item in self._client.get_many(keys, consistent=True)
                for intent in [read_intent(item)]
            }
            after = {key: intent for key, (intent, _) in before.items()}
            for intent in intents:
                after[key_of(intent)] = decide(after.get(key_of(intent)), intent)
            writes = []
            changes: list[tuple[Intent | None, Intent]] = []
            for key, intent in after.items():
                intent_before, item = before.get(key, (None, None))
                if intent != intent_before:
                    changes.append((intent_before, intent))
                    writes.append(self._put(intent_item(intent, version_of(item) + 1), item))
            if not writes or self._client.transact([*writes, *self._counts(changes, shard)]):
                return after
            self._client.wait(pauses, "Other writers keep recording the same recipients")

    def _counts(
        self, changes: Sequence[tuple[Intent | None, Intent]], shard: int
    ) -> list[dict[str, Any]]:
        """Return the writes of the counts that change with intents of one batch (before, after)."""
        states: Counter[SendState] = Counter()
        for before, after in changes:
            states[after.state] += 1
            if before is not None:
                states[before.state] -= 1
        expires = expiry(max(after.at for _, after in changes))
        count_key = item_key(f"BATCH#{escaped(changes[0][1].batch)}", f"COUNT#{shard}")
        counts: list[tuple[Item, Mapping[SendState, int], Item]] = [(count_key, states, expires)]
        counts += [
            (item_key(withheld_key(*campaign), str(shard)), withheld, {})
            for campaign, withheld in withheld_changes(changes).items()
        ]
        return [
            {"Update": _increment(self._table, key, increments, assigned)}
            for key, increments, assigned in counts
            if any(increments.values())
        ]

    def intents(
        self, batch: str, limit: int, after: str | None = None, states: Collection[SendState] = ()
    ) -> list[Intent]:
        """Return intents of a batch in the order of their keys, those after a key."""
        queries = [
            _IntentQuery(self._client, self._table, shard_key(batch, shard), after, states)
            for shard in range(SHARDS)
        ]
        items = merged(self._client, queries, limit, lambda item: item["sk"]["S"], ascending=True)
        return [read_intent(item) for item in islice(items, limit)]

    def progress(self, batch: str) -> dict[SendState, int]:
        """Return how many intents of a batch are in each state."""
        counts = between(("pk", f"BATCH#{escaped(batch)}"), ("sk", "COUNT#", f"COUNT#{LAST_KEY}"))
        return self._sum(counts, SendState)

    def withheld(self, stream: str, campaign: str) -> dict[SendState, int]:
        """Return how many of a campaign's intents are in each state of `WITHHELD`."""
        return self._sum(equals(pk=withheld_key(stream, campaign)), WITHHELD)

    def _sum(self, query: dict[str, Any], states: Iterable[SendState]) -> dict[SendState, int]:
        items = list(self._client.query(TableName=self._table, ConsistentRead=True, **query))
        counts = {
            state: sum(int(item[state]["N"]) for item in items if state in item) for state in states
        }
        return {state: count for state, count in counts.items() if count}

    # Pauses

    def pauses(self) -> dict[str, Pause]:
        """Return why streams do not send, by stream."""
        items = self._client.query(TableName=self._table, ConsistentRead=True, **equals(pk=PAUSES))
        return {item["sk"]["S"]: read_pause(item) for item in items if "at" in item}

    def pause(self, pause: Pause) -> None:
        """Pause a stream. One that is paused already keeps its first reason."""
        self._update(
            item_key(PAUSES, pause.stream),
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
        """Let a stream send again; return the pause that this ended."""
        pause = self.pauses().get(resumption.stream)
        at = {"N": str(resumption.at)}
        before = self._update(
            item_key(PAUSES, resumption.stream),
            UpdateExpression="SET resumedAt = :at, counts = :counts REMOVE #at, #by, detail",
            ExpressionAttributeNames={"#at": "at", "#by": "by"},
            ExpressionAttributeValues={
                ":at": at,
                ":counts": {"S": json.encode(resumption.counts).decode()},
            },
        )
        if before is None:
            return None
        if "at" in before:
            return read_pause(before)
        resumed_by_a_try_without_answer = before.get("resumedAt") == at
        return pause if resumed_by_a_try_without_answer else None

    def resumption(self, stream: str) -> Resumption | None:
        """Return how the stream was last resumed."""
        item = self._client.get(self._table, item_key(PAUSES, stream))
        if item is None or "resumedAt" not in item:
            return None
        counts = read_counts(item["counts"]["S"]) if "counts" in item else {}
        return Resumption(stream=stream, at=int(item["resumedAt"]["N"]), counts=counts)

    # Writing

    def _put(self, item: Item, before: Item | None) -> dict[str, Any]:
        """Return the write of an item on condition that it is as it was read."""
        condition = if_version(version_of(before), "pk")
        return {"Put": {"TableName": self._table, "Item": item, **condition}}

    def _update(self, key: Item, **arguments: Any) -> Item | None:
        """Update an item if its condition holds; return the item before the update, or as it is if the
        condition fails.
        """
        try:
            response = self._client(
                "update_item",
                TableName=self._table,
                Key=key,
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except ConditionFailed as failure:
            return failure.item
        before: Item | None = response.get("Attributes")
        return before

    # Expiry on local engines

    def sweep(self, now: int, limit: int) -> int:
        """Delete up to `limit` intents that were kept long enough, and batches that have none left;
        return how many intents were deleted.
        """
        before = now - INTENTS_KEPT_MS
        deleted = 0
        for stream in self._streams:
            entries = list(
                self._client.query(
                    TableName=self._table,
                    **between(("pk", list_key(stream)), ("sk", "0", time_key(before))),
                )
            )
            for entry in entries:
                if deleted < limit:
                    deleted += self._sweep_batch(entry, before, limit - deleted)
        return deleted

    def _sweep_batch(self, entry: Item, before: int, limit: int) -> int:
        batch = batch_id_of(entry)
        expired: list[Item] = []
        has_others = False
        for shard in range(SHARDS):
            for item in self._client.query(
                TableName=self._table, **equals(pk=shard_key(batch, shard))
            ):
                if int(item["at"]["N"]) >= before or len(expired) >= limit:
                    has_others = True
                else:
                    expired.append(key_in(item))
        self._client.delete_many(self._table, expired)
        if not has_others:
            items = self._client.query(
                TableName=self._table, **equals(pk=f"BATCH#{escaped(batch)}")
            )
            self._client.delete_many(self._table, [key_in(item) for item in [*items, entry]])
        return len(expired)


class _IntentQuery:
    """The intents of one shard of a batch, in the order of their keys."""

    def __init__(
        self,
        client: DynamoClient,
        table: str,
        pk: str,
        after: str | None,
        states: Collection[SendState],
    ) -> None:
        self._client = client
        self._arguments: dict[str, Any] = {
            "TableName": table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
        }
        values = self._arguments["ExpressionAttributeValues"]
        if after is not None:
            self._arguments["KeyConditionExpression"] += " AND sk > :after"
            values[":after"] = {"S": after}
        if states:
            names = {f":state{n}": {"S": str(state)} for n, state in enumerate(states)}
            values.update(names)
            self._arguments["FilterExpression"] = f"#state IN ({', '.join(names)})"
            self._arguments["ExpressionAttributeNames"] = {"#state": "state"}
        self.entries: deque[Item] = deque()
        self.has_ended = False

    def fetch(self, limit: int) -> None:
        """Fetch some items, and at least one unless the end is reached."""
        # Limit counts items before the filter: a limited page of a rare state would be nearly empty
        page = {} if "FilterExpression" in self._arguments else {"Limit": limit}
        while not self.entries and not self.has_ended:
            response = self._client("query", **self._arguments, **page)
            self.entries.extend(response["Items"])
            self._arguments["ExclusiveStartKey"] = response.get("LastEvaluatedKey")
            self.has_ended = self._arguments["ExclusiveStartKey"] is None


def _increment(
    table: str, key: Item, increments: Mapping[SendState, int], assigned: Item
) -> dict[str, Any]:
    """Return the update that adds to an item's counts, and assigns some attributes."""
    changed = {state: change for state, change in increments.items() if change}
    expression = f"ADD {', '.join(f'#{state} :{state}' for state in changed)}"
    if assigned:
        expression = f"SET {', '.join(f'#{name} = :{name}' for name in assigned)} {expression}"
    return {
        "TableName": table,
        "Key": key,
        "UpdateExpression": expression,
        "ExpressionAttributeNames": {f"#{name}": str(name) for name in (*changed, *assigned)},
        "ExpressionAttributeValues": {
            **{f":{state}": {"N": str(change)} for state, change in changed.items()},
            **{f":{name}": value for name, value in assigned.items()},
        },
    }
