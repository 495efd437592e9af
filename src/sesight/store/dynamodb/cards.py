"""Campaign cards in the rollup tables: a campaign's identity and times, kept for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from sesight.domain.card import Card
from sesight.domain.tally import COUNTERS
from sesight.store.dynamodb.body import pack, unpack
from sesight.store.dynamodb.client import (
    ConditionFailed,
    DynamoClient,
    Item,
    equals,
    if_version,
    item_key,
    version_of,
)
from sesight.store.dynamodb.rollups import RollupRows
from sesight.store.dynamodb.tables import StreamTables

CARD = "CARD"
"""The partition of a stream's cards in its rollup table."""

REMEMBERED = 10_000
"""Cards that a process remembers."""

_NO_COUNTS = (0,) * len(COUNTERS)
_decode = msgspec.msgpack.Decoder(Card).decode


class Cards:
    """The cards of all streams."""

    def __init__(self, client: DynamoClient, streams: Mapping[str, StreamTables]) -> None:
        self._client = client
        self._streams = streams
        self._known: dict[tuple[str, str], Card] = {}
        """Cards as they were last read or written: stored ones only grow."""

    def _table(self, stream: str) -> str:
        return self._streams[stream].rollups.name

    def join(self, card: Card) -> None:
        """Join a card into the stored one, unless that is known to include it."""
        key = (card.stream, card.campaign)
        known = self._known.get(key)
        if known is not None and known.joined(card) == known:
            return
        pauses = self._client.pauses()
        while True:
            item = self._item(card.stream, card.campaign)
            stored = _read(item) if item is not None else None
            joined = stored.joined(card) if stored is not None else card
            if joined == stored or self._replace(joined, version_of(item)):
                break
            self._client.wait(pauses, f"Other writers keep changing the card of {card.campaign!r}")
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = joined

    def _item(self, stream: str, campaign: str) -> Item | None:
        return self._client.get(self._table(stream), item_key(CARD, campaign))

    def _replace(self, card: Card, version: int) -> bool:
        """Write a card; return False if another writer has changed it since it was read."""
        item = {
            **item_key(CARD, card.campaign),
            "version": {"N": str(version + 1)},
            "body": {"B": pack(card)},
        }
        condition = if_version(version, "pk")
        try:
            self._client("put_item", TableName=self._table(card.stream), Item=item, **condition)
        except ConditionFailed:
            return False
        return True

    def get(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        item = self._item(stream, campaign) if stream in self._streams else None
        return _read(item) if item is not None else None

    def of_stream(self, stream: str) -> Iterator[Card]:
        """Yield the cards of a stream."""
        items = self._client.query(
            TableName=self._table(stream), ConsistentRead=True, **equals(pk=CARD)
        )
        return map(_read, items)

    def active(self, stream: str, since: int) -> list[str]:
        """Return the campaigns of a stream that had an event after a time (ms)."""
        return [
            card.campaign for card in self.of_stream(stream) if (card.last_event_at or 0) > since
        ]

    def get_all(
        self, streams: Collection[str], rollups: RollupRows
    ) -> list[tuple[Card, Sequence[int]]]:
        """Return every card of the streams with its campaign's total."""
        cards: list[tuple[Card, Sequence[int]]] = []
        for stream in self._streams:
            if stream in streams:
                totals = rollups.totals(stream)
                cards += [
                    (card, totals.get(card.campaign, _NO_COUNTS)) for card in self.of_stream(stream)
                ]
        return cards


def _read(item: Item) -> Card:
    return _decode(unpack(item["body"]["B"]))
