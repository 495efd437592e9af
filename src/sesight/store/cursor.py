"""Cursors of the message log: a position as text, bound to the filter it was made for."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from sesight.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from sesight.domain.ports import RecordFilter

_DIGEST = 8


def encode(position: bytes, filter_: RecordFilter) -> str:
    """Return a store's position as a cursor that is only valid for this filter."""
    return urlsafe_b64encode(_digest(position, filter_) + position).decode().rstrip("=")


def decode(cursor: str, filter_: RecordFilter) -> bytes:
    """Return the position in a cursor. Raises InvalidRequest if it was made for another filter."""
    try:
        data = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError as error:
        raise InvalidRequest("The cursor is damaged.") from error
    position = data[_DIGEST:]
    if data[:_DIGEST] != _digest(position, filter_):
        raise InvalidRequest("The cursor is not of this list: it was made for other filters.")
    return position


def _digest(position: bytes, filter_: RecordFilter) -> bytes:
    return blake2b(position + msgspec.msgpack.encode(filter_), digest_size=_DIGEST).digest()
