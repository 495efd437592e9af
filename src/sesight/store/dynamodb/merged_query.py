"""Lanes: index entries in order of the send, over the keys that one list is spread over, merged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sesight.store.dynamodb.client import Calls, between
from sesight.store.dynamodb.item_codec import Item
from sesight.store.dynamodb.keys import EventKey, read_event_key
from sesight.store.dynamodb.tables import Index


class Position(NamedTuple):
    """The place of a record in the order of all."""

    sent: str
    stream: str


class Entry(NamedTuple):
    """A record as an index has it: its place, and its table and key there."""

    at: Position
    table: str
    key: Item
    event: EventKey | None


class Span(NamedTuple):
    """Which part of an index: places from `low` to `high`, both included."""

    low: str
    high: str
    newer: bool
    """Whether from low to high."""


class Lane:
    """The entries of several partitions of one index, one partition after the other."""

    def __init__(
        self, calls: Calls, of: tuple[str, str, Index], partitions: Iterable[str], span: Span
    ) -> None:
        """Take (stream, table, index), the partitions in the order of reading, and the span."""
        self._calls = calls
        self._stream, self._table, self._index = of
        self._partitions = deque(partitions)
        self._span = span
        self._start: Any = None
        self.entries: deque[Entry] = deque()

    @property
    def ended(self) -> bool:
        """Return whether there is nothing more to fetch."""
        return not self._partitions

    def fill(self, limit: int) -> None:
        """Fetch up to `limit` entries, none only at the end."""
        while self._partitions and not self.entries:
            index, span = self._index, self._span
            arguments = between(
                (index.hash, self._partitions[0]), (index.range, span.low, span.high)
            )
            if self._start is not None:
                arguments["ExclusiveStartKey"] = self._start
            answer = self._calls(
                "query",
                TableName=self._table,
                IndexName=index.name,
                ScanIndexForward=span.newer,
                Limit=limit,
                **arguments,
            )
            self.entries.extend(map(self._entry, answer["Items"]))
            self._start = answer.get("LastEvaluatedKey")
            if self._start is None:
                self._partitions.popleft()

    def _entry(self, item: Item) -> Entry:
        text = item[self._index.range]["S"]
        event = read_event_key(text) if self._index.range == "eventKey" else None
        return Entry(
            Position(event.sent if event is not None else text, self._stream),
            self._table,
            {"messageId": item["messageId"], "recipient": item["recipient"]},
            event,
        )


def merged(
    calls: Calls, lanes: Sequence[Lane], limit: int, *, newer: bool = False
) -> Iterator[Entry]:
    """Yield the entries of all lanes in order; about `limit` are wanted."""
    share = -(-limit // max(len(lanes), 1)) + 4
    best: Callable[..., Lane] = min if newer else max
    while True:
        empty = [lane for lane in lanes if not lane.entries and not lane.ended]
        calls.each(lambda lane: lane.fill(share), empty)
        having = [lane for lane in lanes if lane.entries]
        if not having:
            return
        yield best(having, key=_place).entries.popleft()


def _place(lane: Lane) -> Position:
    return lane.entries[0].at
