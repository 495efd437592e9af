"""Message ids as a key to index and bytes to keep."""

from __future__ import annotations

import re
from hashlib import blake2b

Packed = tuple[int, bytes | str]
"""The 63 bits a message is indexed by, and what is kept of the id beside them."""

_SES = re.compile(
    r"[0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-[0-9]{6}"
)
_LATEST = 1 << 42


def pack(message_id: str) -> Packed:
    """Pack a message id.

    SES's begin with the time (ms, 12 hex digits after 4 of the region), so keys made of it and the
    21 bits that follow grow with time: inserts stay at the right edge of the index. The time is
    left out of the bytes, and so is the usual `-000000` at the end. Other ids are kept as they are
    and have a hash for a key.
    """
    if _SES.fullmatch(message_id):
        whole = bytes.fromhex(message_id.replace("-", ""))
        at = int.from_bytes(whole[2:8])
        if at < _LATEST:
            key = at << 21 | int.from_bytes(whole[8:11]) >> 3
            tail = whole[8:24] if whole[24:] == b"\0\0\0" else whole[8:]
            return key, whole[:2] + tail
    return int.from_bytes(blake2b(message_id.encode(), digest_size=8).digest()) >> 1, message_id


def unpack(key: int, kept: bytes | str) -> str:
    """Return the message id that was packed."""
    if isinstance(kept, str):
        return kept
    text = kept.hex()
    return (
        f"{text[:4]}{key >> 21:012x}-{text[4:12]}-{text[12:16]}-{text[16:20]}-{text[20:24]}"
        f"-{text[24:36]}-{text[36:] or '000000'}"
    )
