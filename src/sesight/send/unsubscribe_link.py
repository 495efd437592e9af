"""Unsubscribe links: authenticated tokens, and the headers of RFC 8058 that carry them."""

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
"""The path of a link, to which the token is appended."""

TOKEN_LIMIT = 1_024
"""The largest number of characters of a token. Longer ones are not decrypted."""

HEADER_LIMIT = 980
"""The largest number of characters of the header's value: with its name, SES takes 996 (API reference:
MessageHeader).
"""

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
    """Makes and reads tokens under the keys of one stream. A token is `KEY.` and the encrypted and
    authenticated target (AES-SIV, RFC 5297) in base64url; the same target always has the same token.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        """`keys` are 64 hex digits each, by id. The last one makes tokens; all of them read. Raises
        SettingsError for an invalid key.
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

    def make(self, target: UnsubscribeTarget) -> str:
        """Return the token of a target. Raises SettingsError if there is no key."""
        if not self._ciphers:
            raise SettingsError(
                f"The stream {target.stream} has no unsubscribe key: see docs/how-to/manage-suppressions.md."
            )
        name, cipher = next(reversed(self._ciphers.items()))
        return _token(name, cipher.encrypt(_encode(target), _associated_data(name)))

    def read(self, token: str) -> UnsubscribeTarget:
        """Return the target of a token. Raises NotFound for one that was made under none of the keys."""
        name, dot, text = token.partition(".")
        cipher = self._ciphers.get(name)
        if cipher is None or not dot or len(token) > TOKEN_LIMIT or not text.isascii():
            raise NotFound(_UNREADABLE)
        try:
            encrypted = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            target = _decode(cipher.decrypt(encrypted, _associated_data(name)))
        except (ValueError, InvalidTag, msgspec.DecodeError):
            raise NotFound(_UNREADABLE) from None
        if _token(name, encrypted) != token:  # base64 ignores spare bits and other characters
            raise NotFound(_UNREADABLE)
        return target


def _associated_data(name: str) -> list[bytes]:
    return [_PURPOSE, name.encode()]


def _token(name: str, encrypted: bytes) -> str:
    return f"{name}.{urlsafe_b64encode(encrypted).decode().rstrip('=')}"


def link(public_url: str, token: str) -> str:
    """Return the link of a token.

    Raises SettingsError for a public URL that is not https. On loopback, http is allowed for trials.
    """
    parts = urlsplit(public_url)
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and (parts.hostname or "") in _LOOPBACK
    )
    if not secure or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(
            f"The public URL {public_url!r} must be an https address without a query: mailbox "
            "providers accept no other for one-click unsubscribe."
        )
    return f"{public_url.rstrip('/')}{PATH}{token}"


def headers(url: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the two headers of one-click unsubscribe (RFC 8058). Raises Unsendable for a link that is too
    long for a header.
    """
    value = f"<{url}>"
    if len(value) > HEADER_LIMIT:
        raise Unsendable(
            "unsubscribe", f"The unsubscribe link is longer than {HEADER_LIMIT} characters."
        )
    return ("List-Unsubscribe", value), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")


class UnsubscribeLink(NamedTuple):
    """A link that was read: its target, and the display name of the message's sender."""

    target: UnsubscribeTarget
    sender: str


class UnsubscribeLinks:
    """Reads the links of all streams. Safe to use from any thread."""

    def __init__(self, streams: Sequence[str], secrets: Callable[[str], SesSecrets]) -> None:
        """`streams` are those with a sender; `secrets` returns a stream's sender (raises SettingsError)."""
        self._streams = tuple(streams)
        self._secrets = secrets

    def read(self, token: str) -> UnsubscribeLink:
        """Return the link of a token, by the keys of the stream that its target names.

        Raises NotFound for a token that no stream made, StoreUnavailable if the keys of a stream that
        may have made it cannot be read now.
        """
        unreadable: SettingsError | None = None
        for stream in self._streams:
            try:
                secrets = self._secrets(stream)
                target = Tokens(secrets.unsubscribe_keys).read(token)
            except NotFound:
                continue
            except SettingsError as error:
                unreadable = error
                continue
            if target.stream == stream:
                return UnsubscribeLink(
                    target, secrets.from_name or secrets.from_address.rpartition("@")[2]
                )
        if unreadable is not None:
            raise StoreUnavailable(
                "The keys of unsubscribe links cannot be read now: try again."
            ) from unreadable
        raise NotFound(_UNREADABLE)
