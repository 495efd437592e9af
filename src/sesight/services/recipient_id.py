"""Recipient ids: an address encrypted under the server's key, the same each time, with no table."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from sesight.domain.errors import InvalidRequest

PREFIX = "r_"
_PURPOSE = [b"sesight recipient id 1"]


@lru_cache(8)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(key)


def encode(address: str, key: bytes) -> str:
    """Return the id of an address under a key of 32 or 64 bytes (AES-SIV, RFC 5297)."""
    sealed = _cipher(key).encrypt(address.encode(), _PURPOSE)
    return PREFIX + urlsafe_b64encode(sealed).decode().rstrip("=")


def decode(rid: str, key: bytes) -> str:
    """Return the address of an id. Raises InvalidRequest for one not made under this key."""
    try:
        if not rid.startswith(PREFIX):
            raise ValueError(rid)
        text = rid.removeprefix(PREFIX)
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        address = _cipher(key).decrypt(sealed, _PURPOSE).decode()
    except (ValueError, InvalidTag) as error:
        raise InvalidRequest("The recipient id was not made by this server.") from error
    if encode(address, key) != rid:  # base64 has spare bits: one address has one id
        raise InvalidRequest("The recipient id was not made by this server.")
    return address


CURSOR = "c_"
_CURSOR_PURPOSE = b"sesight cursor 1"


def seal(address: str, question: str, key: bytes) -> str:
    """Return a cursor after an address that tells nobody the address, for one question."""
    sealed = _cipher(key).encrypt(address.encode(), [_CURSOR_PURPOSE, question.encode()])
    return CURSOR + urlsafe_b64encode(sealed).decode().rstrip("=")


def unseal(cursor: str, question: str, key: bytes) -> str:
    """Return the address a cursor goes on after. Raises InvalidRequest for one of another question."""
    try:
        if not cursor.startswith(CURSOR):
            raise ValueError(cursor)
        text = cursor.removeprefix(CURSOR)
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return _cipher(key).decrypt(sealed, [_CURSOR_PURPOSE, question.encode()]).decode()
    except (ValueError, InvalidTag) as error:
        raise InvalidRequest("The cursor is not of an answer to this question.") from error
