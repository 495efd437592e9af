"""When records expire: a send day as a whole, by the settings that were in force since, and by a time
that the store has reason to believe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sesight.domain.errors import InvalidRequest
from sesight.domain.ports import Clock
from sesight.domain.timestamps import DAY, HOUR

DEFAULT_DAYS = 90
"""Days that a new store keeps records, unless the settings say otherwise."""

PLAUSIBLE = 2 * DAY
"""Milliseconds after the last time known to be right within which a clock is believed at once."""

BELIEVED_AFTER = DAY
"""Milliseconds that a clock farther ahead has to go on before it is believed."""

CONTINUOUS = 31 * DAY
"""Milliseconds between two looks at a doubted clock beyond which the second starts the doubt anew."""

AHEAD = HOUR
"""Milliseconds by which a time that SES says may be ahead of the clock and still bear it out."""

NOTICE_DAYS = 2
"""Days from when a shorter retention is asked for to the 00:00 UTC at which it comes into force: at
least 24 hours, in which it can be taken back."""

READ_AGAIN = 60_000
"""Milliseconds after which what other processes may have changed is read again."""


class Setting(NamedTuple):
    """A retention setting: the UTC day (number) it comes into force, and its days (0: for ever)."""

    from_day: int
    days: int


class Look(NamedTuple):
    """What was seen of the clock, in epoch milliseconds: the last time known to be right; since when a
    clock far ahead of that is doubted, when it was last seen, and the newest event then.
    """

    known_at: int
    doubted_from: int | None = None
    doubted_at: int | None = None
    event_at: int | None = None


class State(NamedTuple):
    """What a store has written down: its settings, those not yet in force too; the last look at the
    clock, None where not this store but AWS removes what expired; the first UTC day never swept.
    """

    settings: Sequence[Setting]
    look: Look | None = None
    swept_to: int = 0


def looked(before: Look, now: int, event_at: int | None) -> Look:
    """Return what is known of the clock after another look, at `now`; `event_at` is the newest time
    that SES itself has said.

    A clock that jumped ahead is doubted until SES says a time near it, or it has gone on for a day in
    which SES said nothing else: so a wrong clock expires nothing, and a store that nobody opened for
    long waits for a day. A clock that went back is believed: by an earlier time nothing expires that
    should not.
    """
    if now <= max(before.known_at, event_at or 0) + PLAUSIBLE:
        return Look(now)
    _, since, last, event_then = before
    goes_on = last is not None and last <= now <= last + CONTINUOUS and event_then == event_at
    if since is None or not goes_on:
        since = now
    if now - since >= BELIEVED_AFTER:
        return Look(now)
    return Look(before.known_at, since, now, event_at)


def believed(look: Look | None, now: int) -> int:
    """Return the time to expire by: that of the clock unless it is too far ahead."""
    if look is None or now <= look.known_at + PLAUSIBLE:
        return now
    return look.known_at


def is_longer(days: int, than: int) -> bool:
    """Return whether a retention is longer than another (0: for ever)."""
    return than != 0 and (days == 0 or days > than)


def in_force(settings: Sequence[Setting], today: int) -> list[Setting]:
    """Return the settings in force on a UTC day; the first always is."""
    return [*settings[:1], *[each for each in settings[1:] if each.from_day <= today]]


def changed(settings: Sequence[Setting], new: Setting, today: int) -> list[Setting]:
    """Return the settings with a new one, which takes the place of any that is not yet in force."""
    return [*in_force(settings, today), new]


def shortened(settings: Sequence[Setting], days: int, today: int) -> Setting:
    """Return a shorter setting as it comes into force. Raises InvalidRequest if it is not shorter."""
    held = in_force(settings, today)[-1].days
    if days == held or not is_longer(held, days):
        raise InvalidRequest(
            f"The store keeps records for {in_words(held)}: {in_words(days)} is not shorter."
        )
    return Setting(today + NOTICE_DAYS, days)


def in_words(days: int) -> str:
    """Return a retention in words."""
    return "ever" if days == 0 else "1 day" if days == 1 else f"{days:,} days"


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


class Retention:
    """How long a store keeps records, as it has it written down."""

    def __init__(self, read: Callable[[], State], state: State, clock: Clock) -> None:
        """Take how the state is read, what it is now, and the clock."""
        self._read = read
        self._clock = clock
        self._state = state
        self._read_at = clock()

    def _now(self) -> State:
        """Return the state, read again where another process may have changed it."""
        now = self._clock()
        if not 0 <= now - self._read_at < READ_AGAIN:
            self.take(self._read())
        return self._state

    def take(self, state: State) -> None:
        """Take the state as it was just written or read."""
        self._state = state
        self._read_at = self._clock()

    def _in_force(self, state: State, now: int) -> list[Setting]:
        return in_force(state.settings, believed(state.look, now) // DAY)

    @property
    def days(self) -> int:
        """Return the days in force, 0 for ever."""
        return self._in_force(self._now(), self._clock())[-1].days

    @property
    def planned(self) -> Setting | None:
        """Return the shorter retention that was asked for and is not in force yet."""
        state = self._now()
        held = len(self._in_force(state, self._clock()))
        return state.settings[-1] if held < len(state.settings) else None

    def believed(self, now: int) -> int:
        """Return the time to expire by at `now`."""
        return believed(self._now().look, now)

    def live_from(self, now: int) -> int:
        """Return the first UTC day whose records are not expired at `now`; what was swept stays expired
        though a clock goes back.
        """
        state = self._now()
        day = live_from(self._in_force(state, now), believed(state.look, now))
        return max(day, state.swept_to)

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        return expires_at(self._in_force(self._now(), self._clock()), day)
