"""Strings from outside, made safe and short: cleaned text, times, networks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, ip_address, ip_network
from zlib import crc32

LONG = 512
"""Characters kept of a long text (a diagnostic, a user agent, a link)."""

SHORT = 256
"""Characters kept of a name (a tag, a subject, a status); SES allows 256 in a tag."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = 253_402_300_800_000  # the year 10000, exclusive: what datetime can print
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
def _minute(text: str) -> int | None:
    """Return the epoch ms of the minute in 2026-09-14T08:15: (with the colon), None if it is none."""
    if text[10] != "T" or text[16] != ":":
        return None
    try:
        moment = datetime.fromisoformat(text[:16])
    except ValueError:
        return None
    millis = (moment.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
    return millis if millis >= 0 else None


def instant(value: object) -> tuple[int, str | None] | None:
    """Read a time in any form SES has used, as (epoch ms, None or "zoneless"); None if unreadable.

    The forms are listed in docs/ses-analytics-pipeline.md. Fractions are cut to milliseconds.
    """
    if type(value) is not str:
        return None
    usual = usual_instant(value)
    return _odd_instant(value) if usual is None else (usual, None)


def usual_instant(value: str) -> int | None:
    """Read a time of the form 2026-09-14T08:15:30.412Z as epoch ms; None for every other form."""
    if len(value) == 24 and value[19] == "." and value[23] == "Z":
        minute = _minute(value[:17])
        tail = value[17:19] + value[20:23]
        if minute is not None and tail < "60000" and tail.isdecimal():
            return minute + int(tail)
    return None


def _odd_instant(value: str) -> tuple[int, str | None] | None:
    text = value.strip()
    if " +" in text or " -" in text:
        text = text.replace(" +", "+").replace(" -", "-")
    if len(text) < 16:
        return None
    try:
        moment = datetime.fromisoformat(text)
        flag = None if moment.tzinfo else "zoneless"
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    millis = at // _MILLISECOND
    return (millis, flag) if 0 <= millis < _LATEST else None


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


def tie(message_id: str, recipient: str) -> int:
    """Return 15 bits that order the records of one millisecond, the same in every store."""
    return crc32(f"{message_id}\n{recipient}".encode()) & 0x7FFF


def iso(millis: int | None) -> str | None:
    """Write a time as ISO-8601 UTC with milliseconds and `Z`."""
    if millis is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=millis)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{millis % 1000:03d}Z"


DAY = 86_400_000
"""Milliseconds in a day."""

HOUR = 3_600_000
"""Milliseconds in an hour."""


def day_name(day: int) -> str:
    """Write a day number (days since the epoch, UTC) as YYYY-MM-DD."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def day_number(name: str) -> int:
    """Read YYYY-MM-DD as a day number. Raises ValueError."""
    return (datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC) - _EPOCH).days
