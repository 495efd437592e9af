"""Row ids of records: a stream's records in order of their send, as 63-bit integers.

`id = stream number << 57 | send time in ms << 15 | tie`. The bits below the stream are the *place* of a
record, by which the records of all streams merge into one order.
"""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32

STREAM_SHIFT = 57
SENT_SHIFT = 15
PLACE = (1 << STREAM_SHIFT) - 1
TIES = 1 << SENT_SHIFT
LATEST = (1 << (STREAM_SHIFT - SENT_SHIFT)) - 1
"""The latest send time that an id can hold (ms; the year 2109); a record keeps a later one in its body."""

STREAMS = 63
"""Streams a store can number, from 1."""


def first_id(stream: int, sent_at: int) -> int:
    """Return the least id of a stream's records sent at `sent_at` (ms) or later."""
    return stream << STREAM_SHIFT | min(max(sent_at, 0), LATEST) << SENT_SHIFT


def end_id(stream: int) -> int:
    """Return an id above all of a stream's; the last stream's is cut to SQLite's largest integer."""
    return min((stream + 1) << STREAM_SHIFT, (1 << 63) - 1)


def sent_of(rowid: int) -> int:
    """Return the send time (ms) in an id."""
    return (rowid >> SENT_SHIFT) & LATEST


def stream_of(rowid: int) -> int:
    """Return the stream number in an id."""
    return rowid >> STREAM_SHIFT


def address_key(address: str) -> int:
    """Return the 32 bits by which an address is indexed. Several may share them: readers compare addresses.

    A checksum is ten times as fast as a hash, and SQLite stores 32 signed bits in 4 bytes.
    """
    return crc32(address.encode()) - (1 << 31)


def value_key(value: bytes) -> int:
    """Return the 47 bits by which a shared value is indexed."""
    return int.from_bytes(blake2b(value, digest_size=6).digest()) >> 1
