"""A record: the set of things that happened to one message for one recipient, and how it grows.

`fold` is a join: any order, repetition or grouping of the same events gives the same record, byte
for byte. Everything else about a record is derived from it (`outcome`, `engagement`, `tally`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any
from zlib import crc32

from msgspec import Struct
from msgspec.structs import astuple, replace

from sesight.domain.event import (
    UNATTRIBUTED,
    AnyOccurrence,
    Bounce,
    Event,
    EventType,
    Identity,
    Report,
    campaign_of,
    kept_tags,
    tag_value,
)
from sesight.domain.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT = 16
"""Occurrences of one type kept from either end of a timeline; complete up to twice this."""

TYPES = tuple(EventType)
_BIT = {kind: 1 << n for n, kind in enumerate(TYPES)}


class Record(Struct, frozen=True, gc=False):
    """What is known of one message to one recipient (or to `*`, when no recipient can be named).

    `timeline` is ordered by type, time and key; `capped` has a bit for each type (in the order of
    `TYPES`) of which occurrences were left out. `tally` is what the record has been counted as,
    None before it is counted.
    """

    message_id: str
    recipient: str
    stream: str
    identity: Identity
    timeline: tuple[AnyOccurrence, ...] = ()
    capped: int = 0
    spelling: str | None = None
    tally: Tally | None = None

    @property
    def sent_at(self) -> int:
        """Return when the provider accepted the message (epoch ms)."""
        return self.identity.sent_at

    @property
    def campaign(self) -> str:
        """Return the campaign the record's tags name."""
        return campaign_of(self.identity.tags)

    @property
    def is_unattributed(self) -> bool:
        """Return whether this record is for no recipient in particular."""
        return self.recipient == UNATTRIBUTED

    def has_cut(self, kind: EventType) -> bool:
        """Return whether occurrences of the type were left out of the timeline."""
        return bool(self.capped & _BIT[kind])

    def tag(self, name: str) -> str | None:
        """Return the least value of one of the sender's tags."""
        return tag_value(self.identity.tags, name)


def fold(record: Record | None, event: Event, report: Report, stream: str) -> Record:
    """Return the record with one event's report to its recipient joined in.

    The same object comes back when the report says nothing new.
    """
    occurrence = report.occurrence
    if record is None:
        return Record(
            event.message_id,
            report.recipient,
            stream,
            event.identity,
            (occurrence,),
            0,
            report.spelling,
        )
    timeline, capped = _add(record.timeline, record.capped, occurrence)
    identity = record.identity
    if identity != event.identity:
        identity = join_identity(identity, event.identity)
    spelling = record.spelling
    if spelling != report.spelling:
        spelling = least(spelling, report.spelling)
    if (
        timeline is record.timeline
        and capped == record.capped
        and identity == record.identity
        and spelling == record.spelling
    ):
        return record
    return Record(
        record.message_id,
        record.recipient,
        record.stream,
        identity,
        timeline,
        capped,
        spelling,
        record.tally,
    )


def fold_all(
    record: Record | None, told: Iterable[tuple[Event, Report]], stream: str
) -> Record | None:
    """Fold several reports to one recipient."""
    for event, report in told:
        record = fold(record, event, report, stream)
    return record


def _add(
    timeline: tuple[AnyOccurrence, ...], capped: int, new: AnyOccurrence
) -> tuple[tuple[AnyOccurrence, ...], int]:
    kind = type(new)
    at = new.at
    for n, held in enumerate(timeline):
        if held.at == at and type(held) is kind and (held == new or held.key == new.key):
            joined = new if held == new else _join(held, new)
            if joined == held:
                return timeline, capped
            return (*timeline[:n], joined, *timeline[n + 1 :]), capped
    last = timeline[-1]
    if new.RANK > last.RANK or (new.RANK == last.RANK and at > last.at):
        grown = (*timeline, new)
    else:
        place = bisect_left(timeline, _order(new), key=_order)
        grown = (*timeline[:place], new, *timeline[place:])
    if len(grown) > 2 * KEPT:
        grown, capped = _cap(grown, capped, new)
        if grown == timeline:  # the new one itself is in the middle: nothing was learnt
            return timeline, capped
    return grown, capped


def _order(occurrence: AnyOccurrence) -> tuple[int, int, tuple[tuple[bool, str], ...]]:
    return occurrence.RANK, occurrence.at, occurrence.key


def _cap(
    timeline: tuple[AnyOccurrence, ...], capped: int, new: AnyOccurrence
) -> tuple[tuple[AnyOccurrence, ...], int]:
    """Leave out the middle of a type that has too many. What is kept never depends on the order
    of arrival: an occurrence among the first or last 16 of all was so of every part of them.
    """
    first = bisect_left(timeline, new.RANK, key=_rank)
    last = bisect_left(timeline, new.RANK + 1, key=_rank)
    if last - first <= 2 * KEPT:
        return timeline, capped
    return timeline[: first + KEPT] + timeline[last - KEPT :], capped | _BIT[new.type]


def _rank(occurrence: AnyOccurrence) -> int:
    return occurrence.RANK


def _join(one: AnyOccurrence, other: AnyOccurrence) -> AnyOccurrence:
    """Join two reports of one occurrence field by field; of a bounce the harder status holds."""
    fields = [least(a, b) for a, b in zip(astuple(one), astuple(other), strict=True)]
    joined = type(one)(*fields)
    if isinstance(one, Bounce) and isinstance(other, Bounce) and isinstance(joined, Bounce):
        return replace(joined, status=one.harder(other))
    return joined


def tie_breaker(message_id: str, recipient: str) -> int:
    """Return 15 bits that order the records of one millisecond, the same in every store."""
    return crc32(f"{message_id}\n{recipient}".encode()) & 0x7FFF


def least(one: Any, other: Any) -> Any:
    """Return the value of two that wins: any before none, then the lesser."""
    if one is None:
        return other
    if other is None:
        return one
    return min(one, other)


def join_identity(one: Identity, other: Identity) -> Identity:
    """Join what two events say of who the message is: the lesser value of each field, all tags."""
    tags = one.tags
    if tags != other.tags:
        tags = kept_tags((*tags, *other.tags))
    return Identity(
        min(one.sent_at, other.sent_at),
        least(one.sender, other.sender),
        least(one.subject, other.subject),
        least(one.template, other.template),
        least(one.send_id, other.send_id),
        least(one.isp, other.isp),
        tags,
        min(one.provider, other.provider),
    )
