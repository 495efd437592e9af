"""Unsubscribe links: tokens that nobody else can make, and the headers of RFC 8058 that hold them."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from sesight.domain.errors import NotFound, SettingsError, StoreUnavailable
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.send.message import Unsendable
from sesight.send.stream_secrets import SesSecrets

PATH = "/api/unsubscribe/"
"""What a link's path begins with; the token follows."""

TOKEN_LIMIT = 1_024
"""Characters of a token that is looked at."""

HEADER_LIMIT = 980
"""Characters of the header's value: with its name SES takes 996 (MessageHeader in its API reference)."""

_PURPOSE = b"sesight unsubscribe 1"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_UNREADABLE = (
    "This unsubscribe link cannot be read: it was cut, or it is not one of ours. "
    "Open it from the message again."
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(UnsubscribeTarget).decode


class Tokens:
    """Makes and reads tokens under the keys of one stream: `KEY.` and what the link stands for,
    encrypted and authenticated (AES-SIV, RFC 5297), in base64url. The same link has one token.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Take the keys by id, 64 hex digits each; the last one makes tokens, all of them read.

        Raises SettingsError for what is no key.
        """
        self._ciphers: dict[str, AESSIV] = {}
        for name, digits in keys.items():
            if not _KEY_ID.fullmatch(name):
                raise SettingsError(
                    f"The id of an unsubscribe key, {name!r}, is not 1 to 32 letters, digits, - or _."
                )
            try:
                self._ciphers[name] = AESSIV(bytes.fromhex(digits))
            except ValueError:
                raise SettingsError(
                    f"The unsubscribe key {name} does not hold 64 hex digits."
                ) from None

    def make(self, leave: UnsubscribeTarget) -> str:
        """Return the token of a link. Raises SettingsError where there is no key."""
        if not self._ciphers:
            raise SettingsError(
                f"The stream {leave.stream} has no unsubscribe key: see docs/how-to/manage-suppressions.md."
            )
        name, cipher = next(reversed(self._ciphers.items()))
        return _written(name, cipher.encrypt(_encode(leave), _about(name)))

    def read(self, token: str) -> UnsubscribeTarget:
        """Return what a token stands for. Raises NotFound for one that none of the keys has made."""
        name, dot, text = token.partition(".")
        cipher = self._ciphers.get(name)
        if cipher is None or not dot or len(token) > TOKEN_LIMIT or not text.isascii():
            raise NotFound(_UNREADABLE)
        try:
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            leave = _decode(cipher.decrypt(sealed, _about(name)))
        except (ValueError, InvalidTag, msgspec.DecodeError):
            raise NotFound(_UNREADABLE) from None
        if _written(name, sealed) != token:  # base64 has spare bits and characters it passes over
            raise NotFound(_UNREADABLE)
        return leave


def _about(name: str) -> list[bytes]:
    return [_PURPOSE, name.encode()]


def _written(name: str, sealed: bytes) -> str:
    return f"{name}.{urlsafe_b64encode(sealed).decode().rstrip('=')}"


def link(public_url: str, token: str) -> str:
    """Return the address of a token's page.

    Raises SettingsError for a public URL that is not https; loopback may be http, for a try.
    """
    parts = urlsplit(public_url)
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and (parts.hostname or "") in _LOOPBACK
    )
    if not secure or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(
            f"The public URL {public_url!r} is no https address without query: mailbox providers "
            "take no other for one-click unsubscribe."
        )
    return f"{public_url.rstrip('/')}{PATH}{token}"


def headers(url: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the two headers of one-click unsubscribe (RFC 8058) for a link.

    Raises Unsendable for a link that is too long for a header.
    """
    value = f"<{url}>"
    if len(value) > HEADER_LIMIT:
        raise Unsendable(
            "unsubscribe", f"The unsubscribe link is longer than {HEADER_LIMIT} characters."
        )
    return ("List-Unsubscribe", value), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")


class UnsubscribeLink(NamedTuple):
    """A link that was read: what it stands for, and the name of who sent the message."""

    leave: UnsubscribeTarget
    sender: str


class UnsubscribeLinks:
    """Reads the links of every stream that sends. Safe to use from any thread."""

    def __init__(self, streams: Sequence[str], secrets: Callable[[str], SesSecrets]) -> None:
        """Take the streams that have a sender, and what each sends with."""
        self._streams = tuple(streams)
        self._secrets = secrets

    def read(self, token: str) -> UnsubscribeLink:
        """Return what a token stands for, by the keys of the stream it names.

        Raises NotFound for one that no stream has made, StoreUnavailable while a stream's keys that
        might have made it cannot be read.
        """
        away: SettingsError | None = None
        for stream in self._streams:
            try:
                held = self._secrets(stream)
                leave = Tokens(held.unsubscribe_keys).read(token)
            except NotFound:
                continue
            except SettingsError as error:
                away = error
                continue
            if leave.stream == stream:
                return UnsubscribeLink(
                    leave, held.from_name or held.from_address.rpartition("@")[2]
                )
        if away is not None:
            raise StoreUnavailable(
                "The keys of unsubscribe links cannot be read now: try again."
            ) from away
        raise NotFound(_UNREADABLE)
