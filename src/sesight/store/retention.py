"""Retention: when records expire. A send day expires as a whole, by the settings in force since that
day, and by a time that the store has reason to trust.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from sesight.domain.errors import InvalidRequest, StoreUnavailable
from sesight.domain.ports import Clock
from sesight.domain.timestamps import DAY, HOUR

DEFAULT_DAYS = 90
"""Days that a new store keeps records, unless the settings say otherwise."""

PLAUSIBLE = 2 * DAY
"""Milliseconds after the last time known to be right within which a clock is trusted at once."""

TRUSTED_AFTER = DAY
"""Milliseconds that a clock farther ahead has to go on before it is trusted."""

CONTINUOUS = 31 * DAY
"""Milliseconds between two observations of a doubted clock beyond which the doubt starts anew."""

AHEAD = HOUR
"""Milliseconds by which a time in an SES event may be ahead of the clock and still confirm it."""

NOTICE_DAYS = 2
"""Days from a request for a shorter retention to the 00:00 UTC at which it comes into force: at least
24 hours in which it can be cancelled.
"""

REREAD_AFTER = 60_000
"""Milliseconds after which settings that other processes may have changed are read again."""


class RetentionSetting(NamedTuple):
    """A retention setting: the UTC day (number) it comes into force, and its days (0: for ever)."""

    from_day: int
    days: int


class ClockState(NamedTuple):
    """What is known of the clock, in epoch milliseconds: the last time known to be right; since when a
    clock far ahead of that has been doubted, when it was last observed, and the newest event then.
    """

    known_at: int
    doubted_from: int | None = None
    doubted_at: int | None = None
    event_at: int | None = None


class RetentionState(NamedTuple):
    """What a store has written down: its settings, including one not yet in force; what is known of
    the clock, None where AWS removes expired records; the first UTC day never swept; the newest time
    in an SES event.
    """

    settings: Sequence[RetentionSetting]
    clock: ClockState | None = None
    swept_to: int = 0
    event_at: int | None = None


SettingsChange = Callable[[list[RetentionSetting]], list[RetentionSetting]]
"""Returns the settings to store, given those that are stored."""


class RetentionMetadata(Protocol):
    """How a store reads and writes what it has written down of retention."""

    sweeps: bool
    """Whether this store removes expired records itself, and so must judge the clock."""

    def retention_state(self) -> RetentionState:
        """Return what is written down."""
        ...

    def change_settings(self, change: SettingsChange) -> None:
        """Replace the settings in one step; `change` may be called again after a conflict."""
        ...

    def note_clock(self, clock: ClockState) -> None:
        """Write down what is known of the clock."""
        ...

    def lower_newest(self, at: int, limit: int) -> None:
        """Replace an intake time of the newest event that is beyond a limit."""
        ...


def observed(before: ClockState, now: int, event_at: int | None) -> ClockState:
    """Return what is known of the clock after it shows `now`; `event_at` is the newest time in an SES
    event.

    A clock that jumped ahead is doubted until an SES event bears a time near it, or until it has gone
    on for a day without an SES event that contradicts it: so a wrong clock expires nothing, and a
    store that was closed for long waits for a day. A clock that went back is trusted: by an earlier
    time nothing expires that should not.
    """
    if now <= max(before.known_at, event_at or 0) + PLAUSIBLE:
        return ClockState(now)
    _, since, last, event_then = before
    goes_on = last is not None and last <= now <= last + CONTINUOUS and event_then == event_at
    if since is None or not goes_on:
        since = now
    if now - since >= TRUSTED_AFTER:
        return ClockState(now)
    return ClockState(before.known_at, since, now, event_at)


def trusted_time(clock: ClockState | None, now: int) -> int:
    """Return the time to expire by: `now`, unless that is too far ahead."""
    if clock is None or now <= clock.known_at + PLAUSIBLE:
        return now
    return clock.known_at


def is_longer(days: int, than: int) -> bool:
    """Return whether a retention is longer than another (0: for ever)."""
    return than != 0 and (days == 0 or days > than)


def in_force(settings: Sequence[RetentionSetting], today: int) -> list[RetentionSetting]:
    """Return the settings in force on a UTC day; the first always is."""
    return [*settings[:1], *[setting for setting in settings[1:] if setting.from_day <= today]]


def changed(
    settings: Sequence[RetentionSetting], new: RetentionSetting, today: int
) -> list[RetentionSetting]:
    """Return the settings with a new one, which replaces any that is not yet in force."""
    return [*in_force(settings, today), new]


def shortened(settings: Sequence[RetentionSetting], days: int, today: int) -> RetentionSetting:
    """Return a shorter setting as it comes into force. Raises InvalidRequest if it is not shorter."""
    current = in_force(settings, today)[-1].days
    if days == current or not is_longer(current, days):
        raise InvalidRequest(
            f"The store keeps records for {in_words(current)}: {in_words(days)} is not shorter."
        )
    return RetentionSetting(today + NOTICE_DAYS, days)


def in_words(days: int) -> str:
    """Return a retention in words."""
    return "ever" if days == 0 else "1 day" if days == 1 else f"{days:,} days"


def _last_days(settings: Sequence[RetentionSetting]) -> list[float]:
    """Return the last UTC day each setting was in force; a day of change has both."""
    return [*[later.from_day for later in settings[1:]], float("inf")]


def expires_at(settings: Sequence[RetentionSetting], day: int) -> int | None:
    """Return when (epoch ms) the records sent on a UTC day expire, None for never.

    A record sent on day d expires at 00:00 UTC of day d + days + 1, where `days` is the least of all
    settings in force on day d or later: a longer retention only holds for mail sent after the change.
    `settings` are in the order they were made.
    """
    days = [
        setting.days
        for setting, last in zip(settings, _last_days(settings), strict=True)
        if setting.days and last >= day
    ]
    return (day + min(days) + 1) * DAY if days else None


def live_from(settings: Sequence[RetentionSetting], now: int) -> int:
    """Return the first UTC day whose records are not expired at `now` (epoch ms).

    Later days expire later, so one day separates the expired from the others.
    """
    today = now // DAY
    expired = [
        min(last, today - setting.days - 1)
        for setting, last in zip(settings, _last_days(settings), strict=True)
        if setting.days
    ]
    return int(max(expired, default=-1)) + 1


class Retention:
    """How long a store keeps records. Any thread may use it."""

    def __init__(self, metadata: RetentionMetadata, clock: Clock, days: int | None) -> None:
        """Open the retention of a store. `days` of the settings apply if they are longer than the
        store's own; a shorter retention has to be asked for by `shorten`.
        """
        self._metadata = metadata
        self._clock = clock
        self.reread()
        if not self._state.settings or days is not None:
            self._metadata.change_settings(lambda settings: self._lengthened(settings, days))
            self.reread()
        clock_state, now = self._state.clock, clock()
        was_just_observed = clock_state is not None and 0 <= now - clock_state.known_at < HOUR
        if metadata.sweeps and not was_just_observed:
            with suppress(StoreUnavailable):  # a store on a full disk can still be read
                self.observe_clock(now)

    def _lengthened(
        self, settings: list[RetentionSetting], days: int | None
    ) -> list[RetentionSetting]:
        today = self._today()
        if not settings:
            return [RetentionSetting(today, DEFAULT_DAYS if days is None else days)]
        if days is None or not is_longer(days, in_force(settings, today)[-1].days):
            return settings
        return changed(settings, RetentionSetting(today, days), today)

    def reread(self) -> None:
        """Read the state again, after the store itself changed it."""
        self._state = self._metadata.retention_state()
        self._read_at = self._clock()

    def _current(self) -> RetentionState:
        """Return the state, read again where another process may have changed it."""
        if not 0 <= self._clock() - self._read_at < REREAD_AFTER:
            self.reread()
        return self._state

    def _today(self) -> int:
        return trusted_time(self._state.clock, self._clock()) // DAY

    def _in_force(self, state: RetentionState, now: int) -> list[RetentionSetting]:
        return in_force(state.settings, trusted_time(state.clock, now) // DAY)

    @property
    def days(self) -> int:
        """Return the days in force, 0 for ever."""
        return self._in_force(self._current(), self._clock())[-1].days

    @property
    def planned(self) -> RetentionSetting | None:
        """Return the shorter retention that was asked for and is not in force yet."""
        state = self._current()
        active = len(self._in_force(state, self._clock()))
        return state.settings[-1] if active < len(state.settings) else None

    def trusted_time(self, now: int) -> int:
        """Return the time to expire by at `now`."""
        return trusted_time(self._current().clock, now)

    def live_from(self, now: int) -> int:
        """Return the first UTC day whose records are not expired at `now`. A swept day stays expired
        even if a clock goes back.
        """
        state = self._current()
        day = live_from(self._in_force(state, now), trusted_time(state.clock, now))
        return max(day, state.swept_to)

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        return expires_at(self._in_force(self._current(), self._clock()), day)

    def observe_clock(self, now: int) -> None:
        """Write down what is known of the clock when it shows `now`."""
        state = self._metadata.retention_state()
        clock = observed(state.clock or ClockState(now), now, state.event_at)
        self._metadata.note_clock(clock)
        if clock.doubted_from is None:
            # an intake time taken from a clock that was ahead must not stay the newest for ever
            self._metadata.lower_newest(state.event_at or now, now + AHEAD)
        self.reread()

    def shorten(self, days: int) -> RetentionSetting:
        """Have records kept for fewer days from the day in the result on; until then, `cancel_planned`
        takes it back. Raises InvalidRequest if that is not shorter.
        """

        def shorter(settings: list[RetentionSetting]) -> list[RetentionSetting]:
            today = self._today()
            return changed(settings, shortened(settings, days, today), today)

        self._metadata.change_settings(shorter)
        self.reread()
        return self._state.settings[-1]

    def cancel_planned(self) -> bool:
        """Cancel a shorter retention that is not in force yet; return whether there was one."""
        before: list[RetentionSetting] = []
        after: list[RetentionSetting] = []

        def cancel(settings: list[RetentionSetting]) -> list[RetentionSetting]:
            nonlocal before, after
            before, after = settings, in_force(settings, self._today())
            return after

        self._metadata.change_settings(cancel)
        self.reread()
        return len(after) < len(before)
