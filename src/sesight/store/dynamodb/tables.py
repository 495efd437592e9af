"""The definitions of all tables: tests and local engines create them from here, and Terraform is checked
against them. `docs/explanation/store.md` describes what each part is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sesight.domain.stream import Stream

EXPIRES = "expirationTime"
"""The attribute by which records and intents expire: epoch seconds, which is what DynamoDB reads."""

BOTH_IMAGES = "NEW_AND_OLD_IMAGES"
"""The view type that change feeds must have: a change counts as the difference of its images."""


class Index(NamedTuple):
    """A global secondary index. `includes`: attributes projected beside the keys."""

    name: str
    hash: str
    range: str
    includes: tuple[str, ...] = ()
    numeric: bool = False
    """Whether the range key is a number."""


class Table(NamedTuple):
    """A table: its key, its indexes, whether it has a change feed (new and old images) and expiry."""

    name: str
    hash: str
    range: str | None
    indexes: tuple[Index, ...] = ()
    feed: bool = False
    expires: bool = False

    def definition(self) -> dict[str, Any]:
        """Return the arguments of CreateTable."""
        kinds = {self.hash: "S"}
        if self.range is not None:
            kinds[self.range] = "S"
        for index in self.indexes:
            kinds[index.hash] = "S"
            kinds[index.range] = "N" if index.numeric else "S"
        arguments: dict[str, Any] = {
            "TableName": self.name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": _key(self.hash, self.range),
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()
            ],
        }
        if self.indexes:
            arguments["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": index.name,
                    "KeySchema": _key(index.hash, index.range),
                    "Projection": {
                        "ProjectionType": "INCLUDE",
                        "NonKeyAttributes": list(index.includes),
                    }
                    if index.includes
                    else {"ProjectionType": "KEYS_ONLY"},
                }
                for index in self.indexes
            ]
        if self.feed:
            arguments["StreamSpecification"] = {
                "StreamEnabled": True,
                "StreamViewType": BOTH_IMAGES,
            }
        return arguments


def _key(hash_: str, range_: str | None) -> list[dict[str, str]]:
    schema = [{"AttributeName": hash_, "KeyType": "HASH"}]
    if range_ is not None:
        schema.append({"AttributeName": range_, "KeyType": "RANGE"})
    return schema


EMAIL_INDEX = Index("EmailIndex", "email", "sentSk")
CAMPAIGN_INDEX = Index("CampaignIndex", "campaignShard", "sentSk")
DAY_INDEX = Index("DayIndex", "dayShard", "sentSk")
MONTH_INDEX = Index("MonthYearIndex", "monthShard", "sentSk")
EMAIL_EVENT_INDEX = Index("email-event-index", "email", "eventKey")
ATTENTION_INDEX = Index("AttentionIndex", "attentionDay", "eventKey")
PREFIX_INDEX = Index("PrefixIndex", "list", "email", ("active", "reason", "lastAt"))
DUE_INDEX = Index("DueIndex", "due", "until", numeric=True)


class StreamTables(NamedTuple):
    """The three tables of a stream; `months`: its dense index is by statement month, not by day."""

    tracking: Table
    suppression: Table
    rollups: Table
    months: bool


CONTROL = "ses-control"
"""The table that all streams share."""


def control_table(prefix: str = "") -> Table:
    """Return the shared table."""
    return Table(prefix + CONTROL, "pk", "sk", expires=True)


def stream_tables(stream: Stream, prefix: str = "") -> StreamTables:
    """Return the tables of a stream, named after its `tables` setting, else its id."""
    name = prefix + (stream.tables or stream.id)
    return StreamTables(
        Table(
            f"{name}-campaign-tracking",
            "messageId",
            "recipient",
            (
                EMAIL_INDEX,
                CAMPAIGN_INDEX,
                MONTH_INDEX if stream.months else DAY_INDEX,
                EMAIL_EVENT_INDEX,
                ATTENTION_INDEX,
            ),
            feed=True,
            expires=True,
        ),
        Table(
            f"{name}-suppression-list",
            "email",
            None,
            (PREFIX_INDEX, DUE_INDEX),
            feed=True,
        ),
        Table(f"{name}-campaign-rollups", "pk", "sk"),
        stream.months,
    )


def tables_of(streams: Mapping[str, Stream], prefix: str = "") -> dict[str, StreamTables]:
    """Return the tables of streams, by their id."""
    return {name: stream_tables(stream, prefix) for name, stream in streams.items()}


def all_tables(streams: Iterable[Stream], prefix: str = "") -> Iterator[Table]:
    """Yield every table of a store."""
    yield control_table(prefix)
    for stream in streams:
        yield from stream_tables(stream, prefix)[:3]
