"""Which values of open dimensions have rows of their own: the first 1,000 of each scope, for ever.

A value is registered before its first row is written, by a transaction that counts it too, so that
all readers of the change feed agree, and a batch that comes again goes to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sesight.domain.rollup import RollupKey
from sesight.store.dynamodb.client import Calls
from sesight.store.dynamodb.item_codec import Item
from sesight.store.dynamodb.keys import escaped, fitting
from sesight.store.dynamodb.tables import StreamTables
from sesight.store.sqlite.rollups import CLOSED, OTHER, VALUES

COUNT = "#count"
"""The sort key of a scope's count; no value is written so."""

TOGETHER = 50
"""Values registered in one transaction."""


class Head(NamedTuple):
    """A scope's dimension."""

    family: str
    stream: str
    campaign: str
    dimension: str


class RegisteredValues:
    """The values of all scopes. What has a row, and what will never have one, is remembered."""

    def __init__(self, calls: Calls, streams: Mapping[str, StreamTables]) -> None:
        """Look at the rollup tables."""
        self._calls = calls
        self._streams = streams
        self._known: dict[Head, set[str]] = {}
        self._refused: dict[Head, set[str]] = {}

    def rows(self, keys: Iterable[RollupKey], *, register: bool) -> dict[RollupKey, RollupKey]:
        """Return under which row each key is kept: its own or that of `~other`. `register`: values
        that are new, and find room, get their row now; else it is only said whether they would.
        """
        found: dict[RollupKey, RollupKey] = {}
        open_: dict[Head, list[RollupKey]] = {}
        for key in keys:
            if key.dimension in CLOSED:
                found[key] = key
            else:
                head = Head(key.family, key.stream, key.campaign, key.dimension)
                open_.setdefault(head, []).append(key)
        for head, of_head in open_.items():
            own = self._with_rows(head, sorted({key.value for key in of_head}), register=register)
            for key in of_head:
                found[key] = key if key.value in own else key._replace(value=OTHER)
        return found

    def _with_rows(self, head: Head, values: list[str], *, register: bool) -> set[str]:
        """Return those of the values that have a row, or would."""
        known = self._known.setdefault(head, set())
        refused = self._refused.setdefault(head, set())
        tries = self._calls.pauses()
        while True:
            unsure = [value for value in values if value not in known and value not in refused]
            if not unsure:
                return known
            count, there = self._look_up(head, unsure)
            known |= there
            new = [value for value in unsure if value not in there]
            room = max(VALUES - count, 0)
            if not room:
                refused.update(new)  # it was full when they came: it will be for ever
                return known
            if not register:
                return known | set(new[:room])
            if not self._register(head, new[: min(room, TOGETHER)], count):
                self._calls.wait(tries, "Others register values of the same scope all the time")

    def _look_up(self, head: Head, values: list[str]) -> tuple[int, set[str]]:
        """Return how many values have rows, and which of some."""
        table, pk = self._place(head)
        by_key = {_sk(value): value for value in values}
        keys = [(table, _key(pk, sk)) for sk in (COUNT, *by_key)]
        found = [item for _, item in self._calls.get_many(keys, consistent=True)]
        count = next((int(item["n"]["N"]) for item in found if item["sk"]["S"] == COUNT), 0)
        return count, {by_key[item["sk"]["S"]] for item in found if item["sk"]["S"] != COUNT}

    def _register(self, head: Head, values: list[str], count: int) -> bool:
        """Give values their rows, unless somebody else has changed the count meanwhile; return whether
        they have them.
        """
        if not values:
            return True
        table, pk = self._place(head)
        nobody_came_between = "n = :n" if count else "attribute_not_exists(n)"
        bound: dict[str, Any] = {":more": {"N": str(len(values))}}
        if count:
            bound[":n"] = {"N": str(count)}
        parts: list[dict[str, Any]] = [
            {
                "Update": {
                    "TableName": table,
                    "Key": _key(pk, COUNT),
                    "UpdateExpression": "ADD n :more",
                    "ConditionExpression": nobody_came_between,
                    "ExpressionAttributeValues": bound,
                }
            }
        ]
        parts += [{"Put": {"TableName": table, "Item": _key(pk, _sk(value))}} for value in values]
        try:
            self._calls.transact(parts)
        except self._calls.failure as error:
            reasons = error.response.get("CancellationReasons") or [{}]
            if reasons[0].get("Code") != "ConditionalCheckFailed":
                raise
            return False
        self._known[head].update(values)
        return True

    def _place(self, head: Head) -> tuple[str, str]:
        table = self._streams[head.stream].rollups.name
        return table, f"VALUES#{head.family}#{escaped(head.campaign)}#{escaped(head.dimension)}"


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _sk(value: str) -> str:
    return fitting(value)[0] or "#empty"
