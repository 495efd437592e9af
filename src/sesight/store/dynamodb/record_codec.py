"""Records as items and back: what keys and indexes need as attributes, the rest as `body`."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from sesight.domain.event import AnyOccurrence, Identity
from sesight.domain.record import Record
from sesight.domain.tally import Tally
from sesight.store.dynamodb.body import pack, unpack
from sesight.store.dynamodb.client import Item
from sesight.store.dynamodb.keys import IndexKeys, key_text, text_key
from sesight.store.dynamodb.tables import EXPIRES


class RecordBody(Struct, frozen=True, gc=False, array_like=True):
    """A record without what its key and table say."""

    identity: Identity
    timeline: tuple[AnyOccurrence, ...]
    tally: Tally | None
    capped: int = 0
    spelling: str | None = None


_decode = msgspec.msgpack.Decoder(RecordBody).decode


def record_body(record: Record) -> bytes:
    """Return the body of a record."""
    return pack(
        RecordBody(record.identity, record.timeline, record.tally, record.capped, record.spelling)
    )


def tally_in(body: bytes) -> Tally | None:
    """Return the tally of the record in a body."""
    return _decode(unpack(body)).tally


def record_key(message_id: str, recipient: str) -> Item:
    """Return the key of a record's item."""
    return {"messageId": {"S": text_key(message_id)}, "recipient": {"S": text_key(recipient)}}


def record_item(record: Record, keys: IndexKeys, expires_at: int | None, version: int) -> Item:
    """Return the item of a record; `expires_at` in ms, written in seconds."""
    item: Item = {
        **record_key(record.message_id, record.recipient),
        "sentSk": {"S": keys.sent},
        "campaignShard": {"S": keys.campaign},
        "version": {"N": str(version)},
        "body": {"B": record_body(record)},
    }
    for name, value in (
        ("email", keys.email),
        ("dayShard", keys.day),
        ("monthShard", keys.month),
        ("attentionDay", keys.attention_day),
        ("eventKey", keys.event),
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
    body = _decode(unpack(item["body"]["B"]))
    return Record(
        key_text(item["messageId"]["S"]),
        key_text(item["recipient"]["S"]),
        stream,
        body.identity,
        body.timeline,
        body.capped,
        body.spelling,
        body.tally,
    )
