"""Bodies: values as one binary attribute. A byte that names the dictionary, then msgpack compressed by
deflate with that dictionary preset.

Ordinary mail stays under 1,024 bytes with it, which is what one write unit pays for.
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from sesight.domain.errors import StoreTooNew, Unreadable

FORM = 1
"""The dictionary that bodies are written with. A dictionary or layout that was ever used must not
change: a new one gets the next number, and `unpack` keeps reading the old ones.
"""

_LEVEL = 6

_encode = msgspec.msgpack.Encoder().encode


@cache
def dictionary(form: int) -> bytes:
    """Return a preset dictionary of deflate. Raises StoreTooNew if only a later version has it."""
    path = files("sesight.store.dynamodb") / f"dictionary-{form}.txt"
    if not path.is_file():
        raise StoreTooNew(
            f"A body has form {form}, which this Sesight does not know. Upgrade Sesight."
        )
    return path.read_bytes()


def pack(value: Any) -> bytes:
    """Return a value as a body."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 8, zdict=dictionary(FORM))
    return bytes((FORM,)) + deflate.compress(_encode(value)) + deflate.flush()


def unpack(body: bytes) -> bytes:
    """Return the msgpack in a body. Raises StoreTooNew for a later form, and Unreadable."""
    if not body:
        raise Unreadable("damaged", "An item has no body.")
    inflate = zlib.decompressobj(-15, zdict=dictionary(body[0]))
    try:
        return inflate.decompress(body[1:])
    except zlib.error as error:
        raise Unreadable("damaged", f"A body cannot be decompressed: {error}.") from None
