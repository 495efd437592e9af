"""Records, suppressions and cards as items and back.

An item has what keys and indexes need as attributes and all the rest as one binary `body`: a byte
that says which dictionary, then msgpack compressed by deflate with that dictionary preset. Ordinary
mail stays under 1,024 bytes with it, which is what one write unit pays for.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from sesight.domain.card import Card
from sesight.domain.errors import StoreTooNew, Unreadable
from sesight.domain.event import AnyOccurrence, Identity
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.domain.tally import Tally
from sesight.store.dynamodb.keys import Places, key_text, text_key
from sesight.store.dynamodb.tables import EXPIRES
from sesight.store.sqlite.suppressions import Described

Item = dict[str, Any]
"""An item as DynamoDB's API spells it: attribute name to {type: value}."""

FORM = 1
"""The form bodies are written in. A dictionary or a layout that was used is never changed: another
one gets the next number, and `_read` goes on knowing the old ones.
"""

EVERY_ITEM = "all"
"""What is under the one key of an index that has all items of a suppression table."""

_LEVEL = 6


class Body(Struct, frozen=True, gc=False, array_like=True):
    """A record without what its key and table say."""

    identity: Identity
    timeline: tuple[AnyOccurrence, ...]
    tally: Tally | None
    capped: int = 0
    spelling: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode
_decode_suppression = msgspec.msgpack.Decoder(Suppression).decode
_decode_card = msgspec.msgpack.Decoder(Card).decode


@cache
def dictionary(form: int) -> bytes:
    """Return the text that deflate knows beforehand. Raises StoreTooNew for a form of later times."""
    found = files("sesight.store.dynamodb") / f"dictionary-{form}.txt"
    if not found.is_file():
        raise StoreTooNew(
            f"A body has form {form}, which this Sesight does not know. Upgrade Sesight."
        )
    return found.read_bytes()


def pack(value: Any) -> bytes:
    """Return a value as a body."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 8, zdict=dictionary(FORM))
    return bytes((FORM,)) + deflate.compress(_encode(value)) + deflate.flush()


def unpack(body: bytes) -> bytes:
    """Return the msgpack in a body. Raises StoreTooNew for a form of later times, Unreadable."""
    if not body:
        raise Unreadable("damaged", "An item has no body.")
    inflate = zlib.decompressobj(-15, zdict=dictionary(body[0]))
    try:
        return inflate.decompress(body[1:])
    except zlib.error as error:
        raise Unreadable("damaged", f"A body cannot be decompressed: {error}.") from None


def record_body(record: Record) -> bytes:
    """Return the body of a record."""
    return pack(
        Body(record.identity, record.timeline, record.tally, record.capped, record.spelling)
    )


def tally_in(body: bytes) -> Tally | None:
    """Return what the record of a body has been counted as."""
    return _decode_body(unpack(body)).tally


def record_item(
    record: Record, at: Places, expires_at: int | None, version: int, body: bytes
) -> Item:
    """Return the item of a record; `expires_at` in ms, written in seconds."""
    item: Item = {
        "messageId": {"S": text_key(record.message_id)},
        "recipient": {"S": text_key(record.recipient)},
        "sentSk": {"S": at.sent},
        "campaignShard": {"S": at.campaign},
        "version": {"N": str(version)},
        "body": {"B": body},
    }
    for name, value in (
        ("email", at.email),
        ("dayShard", at.day),
        ("monthShard", at.month),
        ("attentionDay", at.attention_day),
        ("eventKey", at.event),
    ):
        if value is not None:
            item[name] = {"S": value}
    if expires_at is not None:
        item[EXPIRES] = {"N": str(expires_at // 1000)}
    return item


OPTIONAL = ("email", "dayShard", "monthShard", "attentionDay", "eventKey", EXPIRES)
"""Attributes that a record's item may lack."""


def read_record(item: Item, stream: str) -> Record:
    """Return the record of an item of a stream's tracking table."""
    held = _decode_body(unpack(item["body"]["B"]))
    return Record(
        key_text(item["messageId"]["S"]),
        key_text(item["recipient"]["S"]),
        stream,
        held.identity,
        held.timeline,
        held.capped,
        held.spelling,
        held.tally,
    )


def version_of(item: Item | None) -> int:
    """Return the version of an item, 0 for none."""
    return int(item["version"]["N"]) if item is not None else 0


def suppression_item(item: Suppression, said: Described, version: int) -> Item:
    """Return the item of a suppression, with attributes that say in words what its body holds."""
    words: Item = {
        "email": {"S": text_key(item.address)},
        "list": {"S": EVERY_ITEM},
        "active": {"BOOL": said.active},
        "causes": {"N": str(len(item.causes))},
        "version": {"N": str(version)},
        "body": {"B": pack(item)},
    }
    for name, kind, value in (
        ("spelling", "S", item.spelling),
        ("scope", "S", said.scope),
        ("reason", "S", said.reason),
        ("firstAt", "N", said.first_at),
        ("lastAt", "N", said.last_at),
        ("until", "N", said.until),
        ("note", "S", said.note),
    ):
        if value is not None and value != "":
            words[name] = {kind: str(value)}
    if said.until is not None:
        words["due"] = {"S": EVERY_ITEM}
    return words


def read_suppression(item: Mapping[str, Any]) -> Suppression:
    """Return the suppression of an item."""
    return _decode_suppression(unpack(item["body"]["B"]))


def card_item(card: Card, version: int) -> Item:
    """Return a card's attributes beside its key."""
    return {"version": {"N": str(version)}, "body": {"B": pack(card)}}


def read_card(item: Mapping[str, Any]) -> Card:
    """Return the card of an item."""
    return _decode_card(unpack(item["body"]["B"]))
