"""What every store must do about the time: how long it keeps records, by which settings and which clock.

`reopen(clock=…)` opens the same data with another clock.
"""

from collections.abc import Callable

import pytest

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import Delivery, Event, Identity, Report, Send
from sesight.domain.ports import Store, SweepResult
from sesight.domain.quarantine import Quarantined
from sesight.domain.sending import INTENTS_KEPT, SendState
from sesight.domain.timestamps import DAY, HOUR
from tests.store.anything import ses_id
from tests.store.contract import BOTH, NOW, TODAY, apply, changes, put, record
from tests.store.contract_send_log import all_of, batch_of, blocks, intent_of


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: int) -> None:
        """Start at a time."""
        self.now = now

    def __call__(self) -> int:
        """Return the time it is set to."""
        return self.now


def sent_at(at: int, number: int, *more: Delivery) -> list[tuple[str, Event]]:
    """Return the events of a message sent at `at` to one recipient."""
    identity = Identity(at, "news@example.com", "Hello", tags=(("campaign_id", "spring"),))
    return [
        (
            "outreach",
            Event(ses_id(at, number), identity, (Report(f"jo{number}@example.org", one),)),
        )
        for one in (Send(at), *more)
    ]


def seen(store: Store, now: int) -> list[str]:
    """Return the ids of the messages that the log shows at a time."""
    return [one.message_id for one in store.messages(BOTH, 99, None, now).records]


class Settings:
    """A longer retention applies at once; a shorter one has to be requested, with a day's notice."""

    def test_longer(self, reopen: Callable[..., Store]) -> None:
        """A longer retention applies only to mail sent after the change."""
        reopen(retention_days=7).close()
        store = reopen(retention_days=400)
        days = (TODAY - 5, TODAY, TODAY + 1)
        assert [store.expires_at(day) for day in days] == [
            (TODAY - 5 + 8) * DAY,
            (TODAY + 8) * DAY,
            (TODAY + 1 + 401) * DAY,
        ]
        store.close()
        store = reopen(retention_days=0)
        assert (store.expires_at(TODAY), store.expires_at(TODAY + 1)) == ((TODAY + 8) * DAY, None)
        store.close()

    @pytest.mark.parametrize("days", [5, None])
    def test_shorter_at_a_start(self, days: int | None, reopen: Callable[..., Store]) -> None:
        """A shorter retention in the settings has no effect on opening, and neither has a missing
        one.
        """
        reopen(retention_days=90).close()
        store = reopen(retention_days=days)
        put(store, record(NOW - 30 * DAY, 1))
        assert (store.retention.days, store.retention.planned) == (90, None)
        assert store.sweep(NOW, 9).records == 0
        assert store.expires_at(TODAY) == (TODAY + 91) * DAY
        store.close()

    def test_shorter(self, reopen: Callable[..., Store]) -> None:
        """A requested shorter retention applies to all records, more than a day later and not
        before.
        """
        clock = Clock(NOW)
        store, other = (reopen(retention_days=90, clock=clock) for _ in range(2))
        put(store, record(NOW - 30 * DAY, 1))
        assert store.retention.shorten(5) == (TODAY + 2, 5)
        clock.now = (TODAY + 2) * DAY - 1
        for each in (store, other):
            assert (each.retention.days, each.retention.planned) == (90, (TODAY + 2, 5))
            assert each.expires_at(TODAY - 30) == (TODAY + 61) * DAY
        assert store.sweep(clock.now, 9).records == 0
        clock.now = (TODAY + 2) * DAY
        store.sweep(clock.now - 1, 9)
        for each in (store, other):
            assert (each.retention.days, each.retention.planned) == (5, None)
            assert each.expires_at(TODAY - 30) == (TODAY - 24) * DAY
        assert seen(other, clock.now) == []
        assert store.sweep(clock.now, 9).records == 1
        store.close()
        other.close()

    def test_taken_back(self, reopen: Callable[..., Store]) -> None:
        """A shorter retention can be cancelled until it applies, as if it had not been requested."""
        clock = Clock(NOW)
        store = reopen(retention_days=90, clock=clock)
        store.retention.shorten(5)
        store.retention.shorten(7)
        assert store.retention.planned == (TODAY + 2, 7)
        assert [store.retention.cancel_planned(), store.retention.cancel_planned()] == [True, False]
        clock.now = (TODAY + 2) * DAY
        assert (store.retention.days, store.retention.planned) == (90, None)
        store.close()

    @pytest.mark.parametrize("days", [90, 91, 0])
    def test_not_shorter(self, days: int, reopen: Callable[..., Store]) -> None:
        """A retention that is not shorter is refused as a shorter one."""
        store = reopen(retention_days=90)
        with pytest.raises(InvalidRequest):
            store.retention.shorten(days)
        store.close()


class Clocks:
    """Nothing expires by a clock that there is no reason to trust."""

    def test_swept(self, store: Store) -> None:
        """A sweep reports how many of each kind it deleted, and up to which day records are
        expired.
        """
        old = NOW - (INTENTS_KEPT + 1) * DAY
        put(
            store,
            record(NOW - 91 * DAY, 1),
            quarantined=[Quarantined("1", "odd", "", b"", NOW - 31 * DAY)],
        )
        store.sending.begin(batch_of(1, id="b", at=old))
        store.sending.settle([intent_of("a@example.org", at=old, state=SendState.REFUSED)])
        assert store.sweep(NOW, 10) == SweepResult(1, 1, 1, 0, TODAY - 90)
        assert store.sweep(NOW, 10) == SweepResult(0, 0, 0, 0, TODAY - 90)

    def test_ahead(self, reopen: Callable[..., Store]) -> None:
        """A clock that jumps ahead neither expires nor hides records, hour rows, bodies or intents;
        once it is right again, everything is as before.
        """
        clock = Clock(NOW)
        store = reopen(clock=clock)
        apply(store, sent_at(NOW - HOUR, 1))
        body = Quarantined("1", "odd", "", b"", NOW)
        put(store, quarantined=[body])
        intent = intent_of("a@example.org")
        store.sending.claim([intent], blocks)
        store.settle()
        rows = store.rollups("hour", "outreach")
        nothing = SweepResult(0, 0, 0, 0, TODAY - 90)
        assert store.sweep(NOW, 9) == nothing
        for _ in range(2):
            clock.now = NOW + 200 * DAY
            for later in range(4):
                found = store.sweep(clock.now + later * 10_000, 9)
                assert found.doubted
                assert found == SweepResult(0, 0, 0, 0, TODAY - 90, doubted=True)
            assert seen(store, clock.now) == [ses_id(NOW - HOUR, 1)]
            assert len(store.message(ses_id(NOW - HOUR, 1), clock.now)) == 1
            clock.now = NOW + HOUR
            assert store.sweep(clock.now, 9) == nothing
        assert len(rows) == 1
        assert store.rollups("hour", "outreach") == rows
        assert store.quarantine(9) == [body]
        assert all_of(store.sending, "b") == [intent]
        store.close()

    def test_newest(self, reopen: Callable[..., Store]) -> None:
        """An intake time from a clock that was ahead is the newest until the clock is known to be
        wrong, not for ever.
        """
        clock = Clock(NOW)
        store = reopen(clock=clock)
        put(store, newest_at=NOW, event_at=NOW - 5_000)
        store.sweep(NOW, 9)
        put(store, newest_at=NOW + 200 * DAY)
        assert store.newest_at() == NOW + 200 * DAY
        assert store.retention.trusted_time(store.newest_at()) == NOW
        store.sweep(NOW + 200 * DAY, 9)
        clock.now = NOW + HOUR
        store.sweep(clock.now, 9)
        assert store.newest_at() == NOW - 5_000
        put(store, newest_at=clock.now)
        assert store.newest_at() == clock.now
        store.close()

    def test_ahead_for_long(self, reopen: Callable[..., Store]) -> None:
        """A clock that is ahead for days is not trusted while SES events contradict it."""
        clock = Clock(NOW)
        store = reopen(clock=clock)
        apply(store, sent_at(NOW - HOUR, 1))
        store.sweep(NOW, 9)
        for hours in range(0, 72, 6):
            clock.now = NOW + 200 * DAY + hours * HOUR
            store.transact(lambda _, at=NOW + hours * HOUR: changes(event_at=at))
            assert store.sweep(clock.now, 9).doubted
        assert seen(store, clock.now) == [ses_id(NOW - HOUR, 1)]
        store.close()

    @pytest.mark.parametrize("told", [True, False])
    def test_left_alone(self, told: bool, reopen: Callable[..., Store]) -> None:
        """A store that was closed for long expires records once an SES event bears a time near the
        clock's, or the clock has gone on for a day; a swept day stays expired even if the clock
        goes back.
        """
        clock = Clock(NOW)
        store = reopen(clock=clock)
        apply(store, sent_at(NOW - HOUR, 1))
        store.sweep(NOW, 9)
        store.close()
        clock.now = NOW + 200 * DAY
        store = reopen(clock=clock)
        assert store.sweep(clock.now, 9).doubted
        if told:
            store.transact(lambda _: changes(event_at=clock.now - HOUR))
        else:
            clock.now += DAY
        found = store.sweep(clock.now, 9)
        assert (found.records, found.doubted) == (1, False)
        clock.now = NOW + HOUR
        store.sweep(clock.now, 9)
        assert store.live_from(clock.now) == TODAY + 1
        store.close()
