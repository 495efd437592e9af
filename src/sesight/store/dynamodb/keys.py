"""Keys: how records and rollup rows are named in the tables, and how names are read back.

Parts of a key are joined by `#`; within a part, `#` is written `%23` and `%` is written `%25`, so that
two things never share a key. Times are written so that their text sorts as they do.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from sesight.domain.event import UNATTRIBUTED
from sesight.domain.record import Record, tie_breaker
from sesight.domain.rollup import RollupKey
from sesight.domain.timestamps import DAY, day_name, iso, month_name
from sesight.store.attention import kinds_of

CAMPAIGN_SHARDS = 8
DAY_SHARDS = 4
MONTH_SHARDS = 4
"""Over how many keys a campaign, a day and a month are spread: a partition takes 1,000 writes a
second. Raising a number is safe (readers query all keys); lowering it hides what was written before.
"""

LAST_KEY = "~"
"""Text that sorts after every send time, send day, stream and shard of the change feed."""

REPAIR = "~repair"
"""In place of a shard: increments that a recount added."""

SUM = "~sum"
"""In place of a shard: compacted parts of old shards. Sorts after all of them; see `rollups`."""

_PART_BYTES = 400
"""Bytes of one part of a sort key (which holds 1,024)."""


def text_key(text: str) -> str:
    """Return a text as a key, which may not be empty."""
    return f"~{text}" if not text or text[0] == "~" else text


def key_text(key: str) -> str:
    """Return the text of a key."""
    return key[1:] if key[0] == "~" else key


def escaped(part: str) -> str:
    """Write one part of a key."""
    return part.replace("%", "%25").replace("#", "%23")


def unescaped(part: str) -> str:
    """Read one part of a key."""
    return part.replace("%23", "#").replace("%25", "%")


def fitting(part: str) -> tuple[str, bool]:
    """Write one part of a sort key, a long one as its beginning and a hash; return whether it was cut."""
    text = escaped(part)
    encoded = text.encode()
    if len(encoded) <= _PART_BYTES:
        return text, False
    mark = blake2b(encoded, digest_size=16).hexdigest()
    return f"{encoded[: _PART_BYTES - 33].decode(errors='ignore')}~{mark}", True


# Records


def sent_key(sent_at: int, message_id: str, recipient: str) -> str:
    """Return a record's position in the order of all: send time, then the tie that every store orders
    by, then more of a hash, so that no two records share it.
    """
    more = blake2b(f"{message_id}\n{recipient}".encode(), digest_size=4).hexdigest()
    return f"{iso(sent_at)}#{tie_breaker(message_id, recipient):04x}{more}"


def shard(message_id: str, recipient: str, of: int) -> int:
    """Return under which of a number of keys the index entry of a record is kept."""
    return crc32(f"{message_id}|{recipient}".encode()) % of


def sharded(name: str, number: int) -> str:
    """Return one of the keys over which a campaign, day or month is spread."""
    return f"{escaped(name)}#{number}"


class IndexKeys(NamedTuple):
    """The keys of a record in the indexes; None: it is not in that index."""

    email: str | None
    sent: str
    campaign: str
    day: str | None
    month: str | None
    attention_day: str | None
    event: str | None


def index_keys(record: Record, *, months: bool) -> IndexKeys:
    """Return the keys of a record in the indexes; `months`: its dense index is by statement month."""
    message_id, recipient = record.message_id, record.recipient
    sent_at = record.identity.sent_at
    sent = sent_key(sent_at, message_id, recipient)
    campaign = sharded(record.campaign, shard(message_id, recipient, CAMPAIGN_SHARDS))
    day = month = None
    if months:
        month = sharded(month_name(month_of(record)), shard(message_id, recipient, MONTH_SHARDS))
    else:
        day = sharded(day_name(sent_at // DAY), shard(message_id, recipient, DAY_SHARDS))
    kinds = kinds_of(record)
    rare = event_key(sent, kinds, record.campaign) if kinds else None
    return IndexKeys(
        None if recipient == UNATTRIBUTED else text_key(recipient),
        sent,
        campaign,
        day,
        month,
        day_name(sent_at // DAY) if rare else None,
        rare,
    )


def month_of(record: Record) -> int:
    """Return the month of a record in a stream with months: of its statement, else of its send."""
    place = record.tally.dimensions if record.tally is not None else None
    if place is not None and place.month is not None:
        return place.month
    year, month = day_name(record.identity.sent_at // DAY).split("-")[:2]
    return int(year) * 12 + int(month) - 1


def event_key(sent: str, kinds: set[int], campaign: str) -> str:
    """Return the key of a rare record in the sparse indexes: its position, its kinds as letters, and a
    hash of its campaign, by which readers skip records without fetching them.
    """
    letters = "".join(sorted(chr(96 + kind) for kind in kinds))
    return f"{sent}#{letters}#{campaign_mark(campaign)}"


def campaign_mark(campaign: str) -> str:
    """Return a short hash of a campaign. Several may share it: readers compare the campaign too."""
    return blake2b(campaign.encode(), digest_size=3).hexdigest()


class EventKey(NamedTuple):
    """A key of the sparse indexes."""

    sent: str
    kinds: frozenset[int]
    campaign: str


def read_event_key(key: str) -> EventKey:
    """Read a key of the sparse indexes."""
    at, mark, letters, campaign = key.split("#")
    return EventKey(f"{at}#{mark}", frozenset(ord(letter) - 96 for letter in letters), campaign)


# Rollup rows

FEED = "feed"
"""The family of the row that counts unreadable changes of a stream's change feeds."""

TOTAL = "total"
"""The family of campaigns' totals: their day rows summed over the days. The totals without a
dimension share one partition, for the list of campaigns.
"""


CUT = ("campaignText", "dimensionText", "valueText")
"""Attributes with the whole text of a part that the key holds cut."""


class RowKey(NamedTuple):
    """The key of a rollup row, and the texts that it holds cut."""

    pk: str
    sk: str
    cut: dict[str, str]


def row_key(key: RollupKey, shard_id: str) -> RowKey:
    """Return the key of one shard's part of a rollup row."""
    if key.family == TOTAL and not key.dimension:
        campaign, was_cut = fitting(key.campaign)
        cut = {"campaignText": key.campaign} if was_cut else {}
        return RowKey(TOTAL, f"{campaign}#{shard_id}", cut)
    dimension, cut_dimension = fitting(key.dimension)
    value, cut_value = fitting(key.value)
    cut = {"dimensionText": key.dimension} if cut_dimension else {}
    if cut_value:
        cut["valueText"] = key.value
    return RowKey(
        scope_key(key.family, key.campaign),
        f"{dimension}#{key.bucket:09d}#{value}#{shard_id}",
        cut,
    )


def read_row_key(stream: str, pk: str, sk: str, cut: dict[str, str]) -> tuple[RollupKey, str]:
    """Read a row's key: return the rollup row and the shard."""
    if pk == TOTAL:
        campaign, shard_id = sk.rsplit("#", 1)
        name = cut.get("campaignText") or unescaped(campaign)
        return RollupKey(TOTAL, stream, name, 0, "", ""), shard_id
    family, campaign = pk.split("#", 1)
    dimension, bucket, value, shard_id = sk.split("#")
    return (
        RollupKey(
            family,
            stream,
            unescaped(campaign),
            int(bucket),
            cut.get("dimensionText") or unescaped(dimension),
            cut.get("valueText") or unescaped(value),
        ),
        shard_id,
    )


def scope_key(family: str, campaign: str) -> str:
    """Return the partition of a family's rows of one scope."""
    return f"{family}#{escaped(campaign)}"


def key_after(key: str) -> str:
    """Return a key that sorts after all that begin with this one, which ends with `#`."""
    return f"{key[:-1]}$"


def bucket_key(dimension: str, bucket: int | None = None) -> str:
    """Return the beginning of the sort keys of all rows of a dimension, or of one bucket of it."""
    text = f"{fitting(dimension)[0]}#"
    return text if bucket is None else f"{text}{bucket:09d}#"
