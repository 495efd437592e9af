"""Message ids as an integer key for the index, and the bytes to keep beside it."""

from __future__ import annotations

from hashlib import blake2b

PackedId = tuple[int, bytes | str]
"""The 63 bits by which a message is indexed, and the part of the id that they do not hold."""

_LENGTH = len("0102019f2c4b7a01-3d5e8f21-6a7b-4c8d-9e0f-1a2b3c4d0001-000000")
_DIGITS = 54


def pack(message_id: str) -> PackedId:
    """Pack a message id.

    An id of SES begins with 4 hex digits of the region and 12 of the time (ms). Its key is the time and
    the 21 bits after it: keys grow with time, so inserts stay at the right edge of the index. The bytes
    leave out the time, and the usual `-000000` at the end. Other ids are kept as they are, with a hash as
    the key.
    """
    if (
        len(message_id) == _LENGTH
        and message_id[16] == message_id[25] == message_id[30] == message_id[35] == "-"
        and message_id[40] == message_id[53] == "-"
        and message_id == message_id.lower()
    ):
        try:
            whole = bytes.fromhex(message_id.replace("-", ""))
        except ValueError:
            whole = b""
        key = int.from_bytes(whole[2:11]) >> 3
        if len(whole) == _DIGITS // 2 and key < 1 << 63:
            return key, whole[:2] + (whole[8:24] if whole[24:] == b"\0\0\0" else whole[8:])
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
