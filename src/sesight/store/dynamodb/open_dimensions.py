"""Which values of open dimensions have rows of their own, see `sesight.store.open_dimensions`.

A value is registered before its first row is written, by a transaction that also counts it: so all
readers of the change feed agree, and a batch that is redelivered goes to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sesight.domain.rollup import RollupKey, Rollups
from sesight.store.dynamodb.client import DynamoClient, item_key
from sesight.store.dynamodb.keys import escaped, fitting
from sesight.store.dynamodb.tables import StreamTables
from sesight.store.open_dimensions import CLOSED_DIMENSIONS, OTHER, VALUES_PER_SCOPE, regrouped

COUNT = "#count"
"""The sort key of a scope's count; no value has this key."""

REGISTERED_AT_ONCE = 50
"""Values registered in one transaction."""


class ScopeDimension(NamedTuple):
    """One dimension of one scope."""

    family: str
    stream: str
    campaign: str
    dimension: str


class RegisteredValues:
    """The values of all scopes. It remembers which values have a row, and which never will."""

    def __init__(self, client: DynamoClient, streams: Mapping[str, StreamTables]) -> None:
        self._client = client
        self._streams = streams
        self._registered: dict[ScopeDimension, set[str]] = {}
        self._refused: dict[ScopeDimension, set[str]] = {}

    def bounded(self, rollups: Rollups, *, register: bool) -> Rollups:
        """Return increments under the rows that hold them; `register` as in `rows`."""
        return regrouped(rollups, self.rows(rollups, register=register).__getitem__)

    def rows(self, keys: Iterable[RollupKey], *, register: bool) -> dict[RollupKey, RollupKey]:
        """Return under which row each key is kept: its own or that of `~other`.

        `register`: new values for which there is room get their row now. Otherwise the result only
        says which row they would get.
        """
        rows: dict[RollupKey, RollupKey] = {}
        by_dimension: dict[ScopeDimension, list[RollupKey]] = {}
        for key in keys:
            if key.dimension in CLOSED_DIMENSIONS:
                rows[key] = key
            else:
                dimension = ScopeDimension(key.family, key.stream, key.campaign, key.dimension)
                by_dimension.setdefault(dimension, []).append(key)
        for dimension, of_dimension in by_dimension.items():
            values = sorted({key.value for key in of_dimension})
            with_row = self._with_row(dimension, values, register=register)
            for key in of_dimension:
                rows[key] = key if key.value in with_row else key._replace(value=OTHER)
        return rows

    def _with_row(
        self, dimension: ScopeDimension, values: list[str], *, register: bool
    ) -> set[str]:
        """Return those of the values that have a row, or would get one."""
        registered = self._registered.setdefault(dimension, set())
        refused = self._refused.setdefault(dimension, set())
        pauses = self._client.pauses()
        while True:
            unknown = [
                value for value in values if value not in registered and value not in refused
            ]
            if not unknown:
                return registered
            count, stored = self._look_up(dimension, unknown)
            registered |= stored
            new = [value for value in unknown if value not in stored]
            room = max(VALUES_PER_SCOPE - count, 0)
            if not room:
                refused.update(new)  # a scope that is full stays full
                return registered
            if not register:
                return registered | set(new[:room])
            if not self._register(dimension, new[: min(room, REGISTERED_AT_ONCE)], count):
                self._client.wait(pauses, "Other writers keep registering values of this scope")

    def _look_up(self, dimension: ScopeDimension, values: list[str]) -> tuple[int, set[str]]:
        """Return how many values are registered, and which of some."""
        table, pk = self._partition(dimension)
        by_key = {_sort_key(value): value for value in values}
        keys = [(table, item_key(pk, sk)) for sk in (COUNT, *by_key)]
        items = [item for _, item in self._client.get_many(keys, consistent=True)]
        count = next((int(item["n"]["N"]) for item in items if item["sk"]["S"] == COUNT), 0)
        return count, {by_key[item["sk"]["S"]] for item in items if item["sk"]["S"] != COUNT}

    def _register(self, dimension: ScopeDimension, values: list[str], count: int) -> bool:
        """Register values, unless another writer has changed the count; return whether they are."""
        if not values:
            return True
        table, pk = self._partition(dimension)
        bound: dict[str, Any] = {":more": {"N": str(len(values))}}
        if count:
            bound[":n"] = {"N": str(count)}
        writes: list[dict[str, Any]] = [
            {
                "Update": {
                    "TableName": table,
                    "Key": item_key(pk, COUNT),
                    "UpdateExpression": "ADD n :more",
                    "ConditionExpression": "n = :n" if count else "attribute_not_exists(n)",
                    "ExpressionAttributeValues": bound,
                }
            }
        ]
        writes += [
            {"Put": {"TableName": table, "Item": item_key(pk, _sort_key(value))}}
            for value in values
        ]
        if not self._client.transact(writes):
            return False
        self._registered[dimension].update(values)
        return True

    def _partition(self, dimension: ScopeDimension) -> tuple[str, str]:
        family, stream, campaign, name = dimension
        pk = f"VALUES#{family}#{escaped(campaign)}#{escaped(name)}"
        return self._streams[stream].rollups.name, pk


def _sort_key(value: str) -> str:
    return fitting(value)[0] or "#empty"
