"""Merged queries: the entries of an index in order of the send, over the partitions that one list is
spread over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from sesight.store.dynamodb.client import DynamoClient, Item, between
from sesight.store.dynamodb.keys import EventKey, read_event_key
from sesight.store.dynamodb.tables import Index


class IndexPosition(NamedTuple):
    """A record's position in the order of all: its send key, then its stream."""

    sent: str
    stream: str


class IndexEntry(NamedTuple):
    """A record as an index has it: its position, and its table and key there."""

    position: IndexPosition
    table: str
    key: Item
    event: EventKey | None


class KeyRange(NamedTuple):
    """Part of an index: send keys from `low` to `high`, both included."""

    low: str
    high: str
    ascending: bool
    """Whether it is read from low to high."""


class IndexQuery:
    """The entries of several partitions of one index, one partition after the other."""

    def __init__(
        self,
        client: DynamoClient,
        stream: str,
        table: str,
        index: Index,
        partitions: Iterable[str],
        key_range: KeyRange,
    ) -> None:
        """Query the partitions of an index, given in the order of reading."""
        self._client = client
        self._stream, self._table, self._index = stream, table, index
        self._partitions = deque(partitions)
        self._range = key_range
        self._start: Any = None
        self.entries: deque[IndexEntry] = deque()

    @property
    def has_ended(self) -> bool:
        """Return whether there is nothing more to fetch."""
        return not self._partitions

    def fetch(self, limit: int) -> None:
        """Fetch up to `limit` entries, and at least one unless the end is reached."""
        while self._partitions and not self.entries:
            index, key_range = self._index, self._range
            arguments = between(
                (index.hash, self._partitions[0]), (index.range, key_range.low, key_range.high)
            )
            if self._start is not None:
                arguments["ExclusiveStartKey"] = self._start
            response = self._client(
                "query",
                TableName=self._table,
                IndexName=index.name,
                ScanIndexForward=key_range.ascending,
                Limit=limit,
                **arguments,
            )
            self.entries.extend(map(self._entry, response["Items"]))
            self._start = response.get("LastEvaluatedKey")
            if self._start is None:
                self._partitions.popleft()

    def _entry(self, item: Item) -> IndexEntry:
        text = item[self._index.range]["S"]
        event = read_event_key(text) if self._index.range == "eventKey" else None
        return IndexEntry(
            IndexPosition(event.sent if event is not None else text, self._stream),
            self._table,
            {"messageId": item["messageId"], "recipient": item["recipient"]},
            event,
        )


_E = TypeVar("_E")


class Query(Protocol[_E]):
    """A query whose entries are fetched as they are needed."""

    entries: deque[_E]

    @property
    def has_ended(self) -> bool:
        """Return whether there is nothing more to fetch."""
        ...

    def fetch(self, limit: int) -> None:
        """Fetch up to `limit` entries, and at least one unless the end is reached."""
        ...


def merged(
    client: DynamoClient,
    queries: Sequence[Query[_E]],
    limit: int,
    key: Callable[[_E], Any],
    *,
    ascending: bool = False,
) -> Iterator[_E]:
    """Yield the entries of all queries in order of a key. The caller wants about `limit` of them."""
    share = -(-limit // max(len(queries), 1)) + 4
    first: Callable[..., Query[_E]] = min if ascending else max
    while True:
        empty = [query for query in queries if not query.entries and not query.has_ended]
        client.map(lambda query: query.fetch(share), empty)
        filled = [query for query in queries if query.entries]
        if not filled:
            return
        yield first(filled, key=lambda query: key(query.entries[0])).entries.popleft()
