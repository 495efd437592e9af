"""When records expire: a send day as a whole, by the settings that were in force since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sesight.domain.text import DAY


class Setting(NamedTuple):
    """A retention setting: the UTC day (number) it came into force, and its days (0: for ever)."""

    from_day: int
    days: int


def _last_days(settings: Sequence[Setting]) -> list[float]:
    """Return the last UTC day each setting was in force; a day of change has both."""
    return [*[later.from_day for later in settings[1:]], float("inf")]


def expires_at(settings: Sequence[Setting], day: int) -> int | None:
    """Return when (epoch ms) the records sent on a UTC day expire, None for never.

    A record sent on day d expires at 00:00 UTC of day d + days + 1. It is the least that any
    setting gave which was in force on day d or later, so that a longer retention holds only for
    what is sent after the change. `settings` are in the order they were made.
    """
    days = [
        setting.days
        for setting, last in zip(settings, _last_days(settings), strict=True)
        if setting.days and last >= day
    ]
    return (day + min(days) + 1) * DAY if days else None


def live_from(settings: Sequence[Setting], now: int) -> int:
    """Return the first UTC day whose records are not expired at `now` (epoch ms).

    Later days expire later, so this one day tells the expired from the others.
    """
    today = now // DAY
    expired = [
        min(last, today - setting.days - 1)
        for setting, last in zip(settings, _last_days(settings), strict=True)
        if setting.days
    ]
    return int(max(expired, default=-1)) + 1
