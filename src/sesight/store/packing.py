"""Records as bytes and back, without loss: msgpack lists in which shared values are numbers.

A body is `[message, address, head, timeline, tally, send id, rest]`, what is default left out at
the end. The head (sender, subject, template, ISP, provider, tags) and a tally's place are one
shared value each, since whole campaigns have them in common; so are user agents, links and mail
servers. Times are differences from the send time, which is in the row's id.

An entry of the timeline is the type's tag alone when it has nothing but the send time, else
`[tag, difference, fields…]`; tag + 16 says that a clock follows the difference. Unchanged parts of
a record that was read are written back as they were read, which is most of the work saved.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import starmap
from typing import Any

import msgspec
from msgspec.structs import astuple

from sesight.domain.event import (
    EVERYBODY,
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
from sesight.domain.tally import LinkTally, Place, Tally
from sesight.domain.text import DAY
from sesight.store.messageid import unpack

Raw = list[Any]
"""A decoded body."""

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Raw] = msgspec.msgpack.Decoder(list).decode

# How a field is kept: S shared, R as it is, T a time as a difference, N a number, C a tuple.
_FIELDS: dict[type, str] = {
    Accepted: "",
    Send: "",
    DeliveryDelay: "SRSST",
    Delivery: "RSN",
    Bounce: "SSRSSSR",
    Complaint: "SSSC",
    Open: "SRR",
    Click: "SRRS",
    Subscription: "SCS",
    Reject: "S",
    RenderingFailure: "RS",
}
_CLASSES = tuple(_FIELDS)
_TAG = {kind: tag for tag, kind in enumerate(_CLASSES)}
_CLOCKED = 16
_OPEN, _CLICK, _DELIVERY = _TAG[Open], _TAG[Click], _TAG[Delivery]
_RARE = frozenset(
    tag for tag, kind in enumerate(_CLASSES) if kind not in (Accepted, Send, Delivery, Open, Click)
)
_BOTS: dict[str | None, int] = {None: 0, "Likely": 1, "Unlikely": 2}
_BOT_WORDS = (None, "Likely", "Unlikely")

_OWN = re.compile(r"\d{4}|@|[A-Za-z0-9_=+-]{24}")
_TOKEN = re.compile(r"\d\S{9}|\S{9}\d")


class Shared(dict[Any, int]):
    """Numbers of shared values, for records of some send days; a miss is looked up or added."""

    def __init__(self, number: Callable[[Any, int], int], last_day: int) -> None:
        """Take how a value is numbered, and the last send day these are good for."""
        super().__init__({None: 0})
        self._number = number
        self._last_day = last_day

    def __missing__(self, value: Any) -> int:
        number = self[value] = self._number(value, self._last_day)
        return number


class Networks(dict[Any, Any]):
    """IPv4 networks (/24, as `a.b.c.0`) as 24-bit numbers; None as -1; other texts as they are."""

    def __missing__(self, ip: str | None) -> int | str:
        if ip is None:
            return -1
        code: int | str = ip
        parts = ip.split(".")
        if len(parts) == 4 and parts[3] == "0" and ip.isascii():
            numbers = [int(part) if part.isdecimal() else 256 for part in parts]
            if max(numbers) < 256 and ".".join(map(str, numbers)) == ip:
                code = numbers[0] << 16 | numbers[1] << 8 | numbers[2]
        if len(self) >= _CACHED:
            self.clear()
        self[ip] = code
        return code


class NetworkNames(dict[Any, Any]):
    """The networks back from their numbers."""

    def __missing__(self, code: int | str) -> str | None:
        if type(code) is str:
            return code
        number = int(code)
        if number < 0:
            return None
        if len(self) >= _CACHED:
            self.clear()
        name = self[code] = f"{number >> 16}.{number >> 8 & 255}.{number & 255}.0"
        return name


_CACHED = 65_536
_NETWORKS = Networks({None: -1})
_NETWORK_NAMES = NetworkNames({-1: None})


def pack_value(value: Any) -> bytes:
    """Return the bytes of a shared value: a text, a head (a tuple) or a tally's place."""
    if type(value) is tuple:
        return _encode((0, *value))
    if type(value) is Place:
        return _encode((1, value))
    return _encode(value)


def unpack_value(data: bytes) -> Any:
    """Return the shared value of some bytes."""
    value = msgspec.msgpack.decode(data)
    if type(value) is not list:
        return value
    if value[0] == 0:
        *texts, tags = value[1:]
        return (*texts, tuple([(name, text) for name, text in tags]))
    return msgspec.convert(value[1], Place)


class Values(dict[int, Any]):
    """Shared values by number, read when missing; what a number means never changes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Take how the bytes of a number are read."""
        super().__init__({0: None})
        self._read = read

    def __missing__(self, number: int) -> Any:
        if len(self) >= _CACHED:
            self.clear()
            self[0] = None
        value = self[number] = unpack_value(self._read(number))
        return value


def encode(
    record: Record,
    message: bytes | str,
    shared: Shared,
    before: Record | None = None,
    raw: Raw | None = None,
    *,
    displaced: bool = False,
) -> tuple[bytes, bool]:
    """Return the body of a record, and whether it has occurrences of a rare type.

    `message` is what `messageid.pack` keeps. `before` and `raw` are the record as it was read and
    its decoded body, of the same send time. `displaced`: the row's id cannot say the send time.
    """
    identity = record.identity
    sent_at, sender, subject, template, send_id, isp, tags, provider = astuple(identity)
    timeline: list[Any] = []
    rare = False
    number = 0
    held_timeline: tuple[AnyOccurrence, ...] = ()
    held_entries: list[Any] = []
    if before is not None and raw is not None:
        held_timeline = before.timeline
        held_entries = raw[3]
    many = len(held_timeline)
    for held in record.timeline:
        if number < many and held_timeline[number] is held:
            entry = held_entries[number]
            number += 1
            timeline.append(entry)
            if not rare and (entry if type(entry) is int else entry[0] & 15) in _RARE:
                rare = True
            continue
        kind = type(held)
        at = held.at - sent_at
        if held.clock is None:
            if kind is Open:
                bot = held.bot  # type: ignore[union-attr]
                timeline.append(
                    (
                        _OPEN,
                        at,
                        shared[held.agent],  # type: ignore[union-attr]
                        _NETWORKS[held.ip],  # type: ignore[union-attr]
                        _BOTS.get(bot, bot),
                    )
                )
                continue
            if kind is Click:
                bot = held.bot  # type: ignore[union-attr]
                timeline.append(
                    (
                        _CLICK,
                        at,
                        shared[held.agent],  # type: ignore[union-attr]
                        _NETWORKS[held.ip],  # type: ignore[union-attr]
                        _BOTS.get(bot, bot),
                        shared[held.link],  # type: ignore[union-attr]
                    )
                )
                continue
            if kind is Delivery:
                _, _, reply, mta, millis = astuple(held)
                if reply is not None and not _TOKEN.search(reply):
                    reply = shared[reply]
                if millis is not None:
                    millis -= at
                timeline.append((_DELIVERY, at, reply, shared[mta], millis))
                continue
            if at == 0 and (kind is Send or kind is Accepted):
                timeline.append(_TAG[kind])
                continue
        tag = _TAG[kind]
        if tag in _RARE:
            rare = True
        timeline.append(_entry(held, tag, at, sent_at, shared))

    own: list[Any] = []
    if before is not None and raw is not None and before.identity == identity:
        head = raw[2]
        if len(raw) > 6 and raw[6][0]:
            own = raw[6][0]
    else:
        common = tags
        found = [pair for pair in tags if _is_own(*pair)]
        if found and tuple(sorted(tags)) == tags:
            own = [()] if found == [("send_id", send_id)] else found
            common = tuple([pair for pair in tags if pair not in found])
        head = shared[(sender, subject, template, isp, provider, common)]

    tally = record.tally
    counted: list[Any] | int = 0
    if tally is not None:
        rules, place, hour, outcome, flags, events, ages, links = astuple(tally)
        if (
            before is not None
            and raw is not None
            and before.tally is not None
            and before.tally.place == place
        ):
            counted = [rules, raw[4][1], hour, outcome, flags]
        else:
            counted = [rules, shared[place], hour, outcome, flags]
        if links:
            counted += (
                events,
                ages,
                [
                    (shared[held.link], held.human, held.clicks, held.machine_clicks)
                    for held in links
                ],
            )
        elif ages:
            counted += (events, ages)
        elif events:
            counted.append(events)

    address = record.recipient
    body = [message, 0 if address == EVERYBODY else address, head, timeline, counted]
    if own or displaced or record.capped or record.spelling is not None:
        body.append(send_id)
        rest: list[Any] = [own]
        if displaced or record.capped or record.spelling is not None:
            rest += (record.capped, record.spelling)
            if displaced:
                rest.append(sent_at)
        body.append(rest)
    elif send_id is not None:
        body.append(send_id)
    return _encode(body), rare


def _is_own(name: str, text: str) -> bool:
    """Say whether a tag looks like one recipient's, so that it is not worth sharing."""
    return name == "send_id" or (not name.startswith("campaign") and bool(_OWN.search(text)))


def _entry(held: AnyOccurrence, tag: int, at: int, sent_at: int, shared: Shared) -> list[Any]:
    """Return the entry of an occurrence of any type."""
    _, clock, *fields = astuple(held)
    entry = [tag, at] if clock is None else [tag + _CLOCKED, at, shared[clock]]
    for how, value in zip(_FIELDS[type(held)], fields, strict=True):
        if how == "S":
            entry.append(shared[value])
        elif how == "T" and value is not None:
            entry.append(value - sent_at)
        else:
            entry.append(value)
    return entry


def _occurrence(entry: Any, sent_at: int, values: Values) -> AnyOccurrence:
    """Return the occurrence of an entry of any type."""
    if type(entry) is int:
        return _CLASSES[entry](sent_at)  # type: ignore[no-any-return]
    tag, at, *fields = entry
    clock = None
    if tag >= _CLOCKED:
        tag -= _CLOCKED
        clock = values[fields.pop(0)]
    kind = _CLASSES[tag]
    found: list[Any] = [at + sent_at, clock]
    for how, value in zip(_FIELDS[kind], fields, strict=True):
        if how == "S":
            found.append(values[value])
        elif how == "T" and value is not None:
            found.append(value + sent_at)
        elif how == "C" and value is not None:
            found.append(tuple(value))
        else:
            found.append(value)
    return kind(*found)  # type: ignore[no-any-return]


def decode(
    key: int,
    body: bytes,
    sent_at: int,
    stream: str,
    values: Values,
    known: tuple[str, bytes | str] | None = None,
) -> tuple[Record, Raw]:
    """Return the record of a row and its decoded body.

    `key` is the row's message key, `sent_at` and `stream` are from its id. `known` is a message
    id and what `messageid.pack` keeps of it, which saves making it again.
    """
    raw = _decode(body)
    message, address, head, entries, counted = raw[:5]
    send_id = None
    own: Any = None
    capped, spelling = 0, None
    if len(raw) > 5:
        send_id = raw[5]
        if len(raw) > 6:
            rest = raw[6]
            own = rest[0]
            if len(rest) > 1:
                capped, spelling = rest[1], rest[2]
                if len(rest) > 3:
                    sent_at = rest[3]
    sender, subject, template, isp, provider, tags = values[head]
    if own:
        pairs = [("send_id", send_id)] if own == [[]] else starmap(_pair, own)
        tags = tuple(sorted((*tags, *pairs)))

    timeline: list[AnyOccurrence] = []
    for entry in entries:
        if type(entry) is not int:
            tag = entry[0]
            if tag == _OPEN:
                _, at, agent, ip, bot = entry
                if type(bot) is int:
                    bot = _BOT_WORDS[bot]
                timeline.append(Open(at + sent_at, None, values[agent], _NETWORK_NAMES[ip], bot))
                continue
            if tag == _DELIVERY:
                _, at, reply, mta, millis = entry
                if type(reply) is int:
                    reply = values[reply]
                if millis is not None:
                    millis += at
                timeline.append(Delivery(at + sent_at, None, reply, values[mta], millis))
                continue
            if tag == _CLICK:
                _, at, agent, ip, bot, link = entry
                if type(bot) is int:
                    bot = _BOT_WORDS[bot]
                timeline.append(
                    Click(at + sent_at, None, values[agent], _NETWORK_NAMES[ip], bot, values[link])
                )
                continue
        timeline.append(_occurrence(entry, sent_at, values))

    tally = None
    if counted:
        rules, place, hour, outcome, flags, *more = counted
        events: Any = ()
        ages: Any = ()
        links: Any = ()
        if more:
            events = tuple(more[0])
            if len(more) > 1:
                ages = tuple(more[1])
                if len(more) > 2:
                    links = tuple([LinkTally(values[link], *counts) for link, *counts in more[2]])
        tally = Tally(rules, values[place], hour, outcome, flags, events, ages, links)
    return (
        Record(
            known[0] if known is not None and known[1] == message else unpack(key, message),
            address or EVERYBODY,
            stream,
            Identity(sent_at, sender, subject, template, send_id, isp, tags, provider),
            tuple(timeline),
            capped,
            spelling,
            tally,
        ),
        raw,
    )


def _pair(name: str, text: str) -> tuple[str, str]:
    return name, text


def days_of(sent_at: int) -> int:
    """Return the span of send days (16 of them) in which shared values are numbered together."""
    return sent_at // DAY >> 4


def last_day(span: int) -> int:
    """Return the last send day of a span."""
    return (span << 4) + 15
