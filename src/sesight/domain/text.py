"""Strings from outside, made safe and short: cleaned text, times, networks."""

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
    """Return the text without control characters and lone surrogates, cut to `limit` characters.

    A cut text keeps a hash of the whole, so that two long ones never meet. None for what is no
    text; numbers and booleans become text.
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
    """Return the text with a replacement character for each that is more than a letter to who reads it:
    controls, line ends, marks of direction.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def without_controls(text: str) -> str:
    """Return the text with a space for each run of control characters and lone surrogates."""
    return text if text.isprintable() else _CONTROL.sub(" ", text)


@lru_cache(_CACHED)
def network(value: str) -> str | None:
    """Return the network an address is in, cut to /24 (IPv4) or /48 (IPv6); None if it is no address."""
    try:
        found = ip_address(value.split(",", 1)[0].strip().split("%", 1)[0])
    except ValueError:
        return None
    bits = 24 if isinstance(found, IPv4Address) else 48
    return str(ip_network((found, bits), strict=False).network_address)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_text(text: str) -> str:
    """Return a text as a cell of a spreadsheet: one that would be run gets an apostrophe in front."""
    return f"'{text}" if text.startswith(_FORMULA) else text
