"""Timestamps: epoch milliseconds, UTC; how they are read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

DAY = 86_400_000
"""Milliseconds in a day."""

HOUR = 3_600_000
"""Milliseconds in an hour."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = 253_402_300_800_000  # the year 10000, exclusive: what datetime can print
_CACHED = 8_192


@lru_cache(_CACHED)
def _minute(text: str) -> int | None:
    """Return the epoch ms of the minute in 2026-09-14T08:15: (with the colon), None if it is invalid."""
    if text[10] != "T" or text[16] != ":":
        return None
    try:
        moment = datetime.fromisoformat(text[:16])
    except ValueError:
        return None
    millis = (moment.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
    return millis if millis >= 0 else None


def parse_timestamp(value: object) -> tuple[int, str | None] | None:
    """Read a timestamp in any form that SES has used, as (epoch ms, None or "zoneless"); None if unreadable.

    The forms are listed in docs/ses-analytics-pipeline.md. Fractions are cut to milliseconds.
    """
    if type(value) is not str:
        return None
    usual = parse_usual_timestamp(value)
    return _odd_instant(value) if usual is None else (usual, None)


def parse_usual_timestamp(value: str) -> int | None:
    """Read a timestamp of the form 2026-09-14T08:15:30.412Z as epoch ms; None for every other form."""
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


def iso(millis: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC with milliseconds and `Z`; None for None."""
    if millis is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=millis)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{millis % 1000:03d}Z"


def day_name(day: int) -> str:
    """Return a day number (days since the epoch, UTC) as YYYY-MM-DD."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def day_number(name: str) -> int:
    """Read YYYY-MM-DD as a day number. Raises ValueError."""
    return (datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC) - _EPOCH).days


def month_number(name: str) -> int | None:
    """Read YYYY-MM as year * 12 + month - 1; None if it is not a month."""
    year, dash, month = name.partition("-")
    if dash and len(year) == 4 and len(month) == 2 and (year + month).isdecimal():
        number = int(month)
        if 1 <= number <= 12:
            return int(year) * 12 + number - 1
    return None


def month_name(number: int) -> str:
    """Return a month number as YYYY-MM."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"
