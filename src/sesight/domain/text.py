"""Text from outside, made safe and short: cleaned text, networks, spreadsheet cells."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, ip_address, ip_network

LONG = 512
"""Characters kept of a long text (a diagnostic, a user agent, a link)."""

SHORT = 256
"""Characters kept of a name (a tag, a subject, a status); SES allows 256 in a tag."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_CACHED = 8_192


def clean(value: object, limit: int = SHORT) -> str | None:
    """Return a text without control characters and lone surrogates, cut to `limit` characters.

    A cut text ends with a hash of the whole, so two long texts stay different. Numbers and booleans become
    text; anything else is None.
    """
    if type(value) is str:
        if len(value) <= limit and value.isprintable():
            return value
    else:
        if value is None or isinstance(value, (dict, list, bytes)):
            return None
        value = str(value)
    if _CONTROL.search(value):
        value = _CONTROL.sub(" ", value).strip()
    if len(value) > limit:
        mark = blake2b(value.encode(), digest_size=8).hexdigest()
        value = f"{value[: limit - 17]}~{mark}"
    return value


def printable(text: str) -> str:
    """Return a text for display: every character that does more than print (control characters, line ends,
    direction marks) is replaced.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def without_controls(text: str) -> str:
    """Return a text with a space for character run of control characters and lone surrogates."""
    return text if text.isprintable() else _CONTROL.sub(" ", text)


@lru_cache(_CACHED)
def network(value: str) -> str | None:
    """Return the network of an IP address, /24 (IPv4) or /48 (IPv6); None if it is not an IP address."""
    try:
        ip = ip_address(value.split(",", 1)[0].strip().split("%", 1)[0])
    except ValueError:
        return None
    bits = 24 if isinstance(ip, IPv4Address) else 48
    return str(ip_network((ip, bits), strict=False).network_address)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_text(text: str) -> str:
    """Return a text as a spreadsheet cell: one that would run as a formula gets a leading apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text
