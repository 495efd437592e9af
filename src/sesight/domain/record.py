"""Records: everything that happened to one message for one recipient, and how an event is folded in.

`fold` is a join: the same events in any order, repeated or grouped in any way, give the same record byte for
byte. Everything else about a record is derived from it (`outcome`, `engagement`, `counting`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any
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

KEPT = 16
"""Occurrences of one type kept at each end of a timeline, which is complete up to twice this number."""

TYPES = tuple(EventType)
_BIT = {kind: 1 << n for n, kind in enumerate(TYPES)}


class Record(Struct, frozen=True, gc=False):
    """Everything known about one message to one recipient, or to `*` when no recipient can be named.

    `timeline` is ordered by type, time and key. `capped` has a bit for each type (in the order of `TYPES`) of
    which occurrences were left out. `tally` is what the record is counted as, None before it is counted.
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
        """Return the campaign that the record's tags name."""
        return campaign_of(self.identity.tags)

    @property
    def is_unattributed(self) -> bool:
        """Return whether this is the record of a message and of none of its recipients."""
        return self.recipient == UNATTRIBUTED

    def has_cut(self, kind: EventType) -> bool:
        """Return whether occurrences of the type were left out of the timeline."""
        return bool(self.capped & _BIT[kind])

    def tag(self, name: str) -> str | None:
        """Return the least value of one of the sender's tags, None if it has none."""
        return tag_value(self.identity.tags, name)


def fold(record: Record | None, event: Event, report: Report, stream: str) -> Record:
    """Return the record with one report of an event joined in; the same object if the report is not new."""
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


def _add(
    timeline: tuple[AnyOccurrence, ...], capped: int, new: AnyOccurrence
) -> tuple[tuple[AnyOccurrence, ...], int]:
    kind = type(new)
    at = new.at
    for n, known in enumerate(timeline):
        if known.at == at and type(known) is kind and (known == new or known.key == new.key):
            joined = new if known == new else _join(known, new)
            if joined == known:
                return timeline, capped
            return (*timeline[:n], joined, *timeline[n + 1 :]), capped
    last = timeline[-1]
    if new.RANK > last.RANK or (new.RANK == last.RANK and at > last.at):
        extended = (*timeline, new)
    else:
        index = bisect_left(timeline, _order(new), key=_order)
        extended = (*timeline[:index], new, *timeline[index:])
    if len(extended) > 2 * KEPT:
        extended, capped = _cap(extended, capped, new)
        if extended == timeline:  # the new one itself was left out
            return timeline, capped
    return extended, capped


def _order(occurrence: AnyOccurrence) -> tuple[int, int, tuple[tuple[bool, str], ...]]:
    return occurrence.RANK, occurrence.at, occurrence.key


def _cap(
    timeline: tuple[AnyOccurrence, ...], capped: int, new: AnyOccurrence
) -> tuple[tuple[AnyOccurrence, ...], int]:
    """Leave out the middle occurrences of a type that has too many. What is kept does not depend on the order
    of arrival: an occurrence among the first or last 16 of all is so in every subset that contains it.
    """
    first = bisect_left(timeline, new.RANK, key=_rank)
    last = bisect_left(timeline, new.RANK + 1, key=_rank)
    if last - first <= 2 * KEPT:
        return timeline, capped
    return timeline[: first + KEPT] + timeline[last - KEPT :], capped | _BIT[new.type]


def _rank(occurrence: AnyOccurrence) -> int:
    return occurrence.RANK


def _join(one: AnyOccurrence, other: AnyOccurrence) -> AnyOccurrence:
    """Join two reports of one occurrence field by field. Of two bounce statuses, the harder is kept."""
    fields = [least(a, b) for a, b in zip(astuple(one), astuple(other), strict=True)]
    joined = type(one)(*fields)
    if isinstance(one, Bounce) and isinstance(other, Bounce) and isinstance(joined, Bounce):
        return replace(joined, status=one.harder(other))
    return joined


def tie_breaker(message_id: str, recipient: str) -> int:
    """Return 15 bits that order the records of one millisecond, the same in every store."""
    return crc32(f"{message_id}\n{recipient}".encode()) & 0x7FFF


def least(one: Any, other: Any) -> Any:
    """Return the lesser of two values; a value before None."""
    if one is None:
        return other
    if other is None:
        return one
    return min(one, other)


def join_identity(one: Identity, other: Identity) -> Identity:
    """Join the identities of two events of a message: the lesser value of each field, and all tags."""
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
