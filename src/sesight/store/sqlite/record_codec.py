"""Records as bytes and back, without loss: msgpack lists in which shared values are numbers.

A body is `[message, address, head, timeline, tally, send id, rest]`, without defaults at its end. The
head (sender, subject, template, ISP, provider, tags) and the dimensions of a tally are one shared value
each, because whole campaigns have them in common; user agents, links and mail servers are shared values
too. Times are differences from the send time, which is in the row's id.

An entry of the timeline is `[tag, difference, fields…]`; for a Send at the send time it is the tag alone.
A tag + 16 means that a clock follows the difference. Parts of a record that did not change since it was
read are written back as they were read, which saves most of the work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from sesight.domain.event import (
    UNATTRIBUTED,
    Accepted,
    AnyOccurrence,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Identity,
    Open,
    Reject,
    RenderingFailure,
    Send,
    Subscription,
)
from sesight.domain.record import Record
from sesight.domain.tally import LinkTally, Tally
from sesight.store.sqlite.message_id import unpack
from sesight.store.sqlite.shared_values import NETWORK_NAMES, NETWORKS, SharedValues, ValueIds

DecodedBody = list[Any]
"""A decoded body."""

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], DecodedBody] = msgspec.msgpack.Decoder(list).decode

# How each field is stored: S as a shared value, R as it is, T a time as a difference, N a number, C a tuple.
_FIELDS: dict[type, str] = {
    Accepted: "",
    Send: "",
    DeliveryDelay: "SRSST",
    Delivery: "RSN",
    Bounce: "SSRSSSR",
    Complaint: "SSSC",
    Open: "SRR",
    Click: "SRRS",
    Subscription: "SCSC",
    Reject: "S",
    RenderingFailure: "RS",
}
_CLASSES = tuple(_FIELDS)
_TAG = {kind: tag for tag, kind in enumerate(_CLASSES)}
_CLOCKED = 16
_SEND, _OPEN, _CLICK, _DELIVERY = _TAG[Send], _TAG[Open], _TAG[Click], _TAG[Delivery]
_RARE = frozenset(
    tag for tag, kind in enumerate(_CLASSES) if kind not in (Accepted, Send, Delivery, Open, Click)
)
_BOTS: dict[str | None, int] = {None: 0, "Likely": 1, "Unlikely": 2}
_BOT_WORDS: dict[int | str, str | None] = {number: word for word, number in _BOTS.items()}
_PLAIN = 5
"""Elements of a tally without events."""
_REST = 6
"""The index of the rest in a body."""

_OWN = re.compile(r"\d{4}|@|[A-Za-z0-9_=+-]{24}")
_TOKEN = re.compile(r"\d\S{9}|\S{9}\d")


class DecodedRecord(Struct, frozen=True, gc=False):
    """A record as it was read, with its decoded body and whether it has an event of a rare type."""

    record: Record
    raw: DecodedBody
    rare: bool


def encode(
    record: Record,
    message: bytes | str,
    value_ids: ValueIds,
    before: DecodedRecord | None = None,
    *,
    displaced: bool = False,
) -> tuple[bytes, int, bool]:
    """Return the body of a record, the number of its head, and whether it has an event of a rare type.

    `message` is the part of the message id that `message_id.pack` keeps. `before` is the stored record,
    with the same message, recipient, stream and send time. `displaced`: the row's id does not hold the
    send time.
    """
    identity = record.identity
    sent_at = identity.sent_at
    own: list[Any] = []
    if before is None:
        timeline, rare = _entries(record.timeline, sent_at, value_ids)
        head, own = _head(identity, value_ids)
    else:
        previous, raw, rare = before.record, before.raw, before.rare
        timeline = raw[3]
        if record.timeline != previous.timeline:
            timeline, added_rare = _merged(
                record.timeline, previous.timeline, timeline, sent_at, value_ids
            )
            rare = rare or added_rare
        if identity is previous.identity or identity == previous.identity:
            head = raw[2]
            if len(raw) > _REST:
                own = raw[_REST][0]
        else:
            head, own = _head(identity, value_ids)

    tally = record.tally
    counted: list[Any] | int = 0
    if tally is not None:
        dimensions = tally.dimensions
        if (
            before is not None
            and before.record.tally is not None
            and before.record.tally.dimensions == dimensions
        ):
            number = before.raw[4][1]
        else:
            number = value_ids[dimensions]
        counted = [tally.rules, number, tally.hour, tally.outcome, tally.facts]
        if tally.links:
            links = [
                (value_ids[link.link], link.human, link.clicks, link.machine_clicks)
                for link in tally.links
            ]
            counted += (tally.events, tally.ages, links)
        elif tally.ages:
            counted += (tally.events, tally.ages)
        elif tally.events:
            counted.append(tally.events)

    address = record.recipient
    body: list[Any] = [message, 0 if address == UNATTRIBUTED else address, head, timeline, counted]
    if own or displaced or record.capped or record.spelling is not None:
        rest: list[Any] = [own]
        if displaced or record.capped or record.spelling is not None:
            rest += (record.capped, record.spelling)
            if displaced:
                rest.append(sent_at)
        body += [identity.send_id, rest]
    elif identity.send_id is not None:
        body.append(identity.send_id)
    return _encode(body), head, rare


def _head(identity: Identity, value_ids: ValueIds) -> tuple[int, list[Any]]:
    """Return the number of the values that an identity shares with others, and the tags it does not."""
    _, sender, subject, template, _, isp, tags, provider = astuple(identity)
    head = value_ids.get((sender, subject, template, isp, provider, tags))
    if head is not None:
        return head, []
    own = [pair for pair in tags if _is_own(*pair)]
    if own and tuple(sorted(tags)) != tags:
        own = []  # `decode` sorts the tags, so only sorted ones come back in their order
    common = tuple([pair for pair in tags if pair not in own]) if own else tags
    return value_ids[(sender, subject, template, isp, provider, common)], own


def _merged(
    timeline: tuple[AnyOccurrence, ...],
    previous: tuple[AnyOccurrence, ...],
    entries: list[Any],
    sent_at: int,
    value_ids: ValueIds,
) -> tuple[list[Any], bool]:
    """Return the entries of a timeline, reusing those of occurrences that it had before."""
    merged: list[Any] = []
    rare = False
    index, length = 0, len(previous)
    new: list[AnyOccurrence] = []
    for occurrence in timeline:
        if index < length and previous[index] is occurrence:
            if new:
                added, added_rare = _entries(new, sent_at, value_ids)
                rare = rare or added_rare
                merged += added
                new = []
            merged.append(entries[index])
            index += 1
        else:
            new.append(occurrence)
    if new:
        added, added_rare = _entries(new, sent_at, value_ids)
        rare = rare or added_rare
        merged += added
    return merged, rare


def _entries(
    timeline: Iterable[AnyOccurrence], sent_at: int, value_ids: ValueIds
) -> tuple[list[Any], bool]:
    """Return the entries of occurrences, and whether one is of a rare type.

    The usual types are written out here, since calls and loops over fields would take most of the time.
    """
    entries: list[Any] = []
    rare = False
    for occurrence in timeline:
        kind = type(occurrence)
        at = occurrence.at - sent_at
        if occurrence.clock is None:
            if kind is Send and at == 0:
                entries.append(_SEND)
                continue
            if kind is Open:
                _, _, agent, ip, bot = astuple(occurrence)
                entries.append((_OPEN, at, value_ids[agent], NETWORKS[ip], _BOTS.get(bot, bot)))
                continue
            if kind is Delivery:
                _, _, reply, mta, millis = astuple(occurrence)
                if reply is not None and not _TOKEN.search(reply):
                    reply = value_ids[reply]
                if millis is not None:
                    millis -= at
                entries.append((_DELIVERY, at, reply, value_ids[mta], millis))
                continue
            if kind is Click:
                _, _, agent, ip, bot, link = astuple(occurrence)
                entries.append(
                    (
                        _CLICK,
                        at,
                        value_ids[agent],
                        NETWORKS[ip],
                        _BOTS.get(bot, bot),
                        value_ids[link],
                    )
                )
                continue
        tag = _TAG[kind]
        rare = rare or tag in _RARE
        entries.append(_entry(occurrence, tag, at, sent_at, value_ids))
    return entries, rare


def _is_own(name: str, text: str) -> bool:
    """Return whether a tag looks like one recipient's, so that it is not worth sharing."""
    return not name.startswith("campaign") and bool(_OWN.search(text))


def _entry(
    occurrence: AnyOccurrence, tag: int, at: int, sent_at: int, value_ids: ValueIds
) -> list[Any]:
    """Return the entry of an occurrence of any type."""
    _, clock, *fields = astuple(occurrence)
    entry = [tag, at] if clock is None else [tag + _CLOCKED, at, value_ids[clock]]
    for how, value in zip(_FIELDS[type(occurrence)], fields, strict=True):
        if how == "S":
            entry.append(value_ids[value])
        elif how == "T" and value is not None:
            entry.append(value - sent_at)
        else:
            entry.append(value)
    return entry


def _occurrence(entry: Any, sent_at: int, values: SharedValues) -> AnyOccurrence:
    """Return the occurrence of an entry of any type."""
    tag, at, *fields = entry
    clock = None
    if tag >= _CLOCKED:
        tag -= _CLOCKED
        clock = values[fields.pop(0)]
    kind = _CLASSES[tag]
    decoded: list[Any] = [at + sent_at, clock]
    # an entry written by an earlier version may lack the last fields
    for how, value in zip(_FIELDS[kind], fields, strict=False):
        if how == "S":
            decoded.append(values[value])
        elif how == "T" and value is not None:
            decoded.append(value + sent_at)
        elif how == "C" and value is not None:
            decoded.append(tuple(value))
        else:
            decoded.append(value)
    return kind(*decoded)  # type: ignore[no-any-return]


def decode(
    key: int,
    body: bytes,
    sent_at: int,
    stream: str,
    values: SharedValues,
    known: tuple[str, bytes | str] | None = None,
) -> DecodedRecord:
    """Return the record of a row.

    `key` is the row's message key; `sent_at` and `stream` come from its id. `known` is a message id and
    the part of it that `message_id.pack` keeps, which saves unpacking the id.
    """
    raw = _decode(body)
    own: Any = None
    send_id = None
    capped, spelling = 0, None
    length = len(raw)
    if length == _REST:
        message, address, head, entries, counted, send_id = raw
    elif length < _REST:
        message, address, head, entries, counted = raw
    else:
        message, address, head, entries, counted, send_id, rest = raw
        own, *more = rest
        if more:
            capped, spelling, *more = more
            if more:
                (sent_at,) = more
    sender, subject, template, isp, provider, tags = values[head]
    if own:
        tags = tuple(sorted((*tags, *[(name, text) for name, text in own])))

    timeline: list[AnyOccurrence] = []
    rare = False
    for entry in entries:
        if entry == _SEND:
            timeline.append(Send(sent_at))
            continue
        tag = entry[0]
        if tag == _OPEN:
            _, at, agent, ip, bot = entry
            timeline.append(
                Open(at + sent_at, None, values[agent], NETWORK_NAMES[ip], _BOT_WORDS.get(bot, bot))
            )
        elif tag == _DELIVERY:
            _, at, reply, mta, millis = entry
            if type(reply) is int:
                reply = values[reply]
            if millis is not None:
                millis += at
            timeline.append(Delivery(at + sent_at, None, reply, values[mta], millis))
        elif tag == _CLICK:
            _, at, agent, ip, bot, link = entry
            timeline.append(
                Click(
                    at + sent_at,
                    None,
                    values[agent],
                    NETWORK_NAMES[ip],
                    _BOT_WORDS.get(bot, bot),
                    values[link],
                )
            )
        else:
            rare = rare or tag & 15 in _RARE
            timeline.append(_occurrence(entry, sent_at, values))

    tally = None
    if counted:
        if len(counted) == _PLAIN:
            rules, dimensions, hour, outcome, flags = counted
            tally = Tally(rules, values[dimensions], hour, outcome, flags)
        else:
            rules, dimensions, hour, outcome, flags, events, *more = counted
            ages = tuple(more[0]) if more else ()
            links: tuple[LinkTally, ...] = ()
            if len(more) > 1:
                links = tuple([LinkTally(values[link], *counts) for link, *counts in more[1]])
            tally = Tally(
                rules, values[dimensions], hour, outcome, flags, tuple(events), ages, links
            )
    return DecodedRecord(
        Record(
            known[0] if known is not None and known[1] == message else unpack(key, message),
            UNATTRIBUTED if address == 0 else address,
            stream,
            Identity(sent_at, sender, subject, template, send_id, isp, tags, provider),
            tuple(timeline),
            capped,
            spelling,
            tally,
        ),
        raw,
        rare,
    )
