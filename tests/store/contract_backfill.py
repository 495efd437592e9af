"""What every store must do with the records of a backfill."""

from collections.abc import Callable

from sesight.domain.event import Delivery, Event
from sesight.domain.ports import Store
from sesight.domain.timestamps import DAY, HOUR
from tests.store.anything import ses_id
from tests.store.contract import NOW, TODAY, apply, changes, put, record
from tests.store.contract_retention import Clock, seen, sent_at


def backfill(store: Store, now: int, *batches: list[tuple[str, Event]]) -> None:
    """Process events as a backfill does."""
    for batch in batches:
        places = {(stream, event.identity.sent_at // DAY) for stream, event in batch}
        assert not any(is_frozen(store, day, now, stream) for stream, day in places)
        apply(store, batch, backfilled=places)


def is_frozen(store: Store, day: int, now: int, stream: str = "outreach") -> bool:
    """Return whether a batch sees a send day as frozen."""
    found = []
    live_from = store.live_from(now)
    store.transact(lambda view: found.append(view.is_frozen(stream, day, live_from)) or changes())
    return found[0]


class Backfills:
    """Records of backfilled send days are held as if sent on the day the backfill began."""

    def test_held(self, reopen: Callable[..., Store]) -> None:
        """Records of a backfilled day are held as long as those of the day it began, whatever is
        swept meanwhile, and no page shows them; after that the day is frozen and its totals stay.
        """
        clock = Clock(NOW)
        store = reopen(clock=clock)
        at = NOW - 400 * DAY
        backfill(store, NOW, sent_at(at, 1), sent_at(at - 30 * DAY, 2))
        store.settle()
        for days in (0, 1, 45, 90):
            clock.now = NOW + days * DAY
            store.transact(lambda _: changes(event_at=clock.now))
            assert store.sweep(clock.now, 99).records == 0
            assert store.live_from(clock.now) == TODAY - 90 + days
            assert list(store.held_days("outreach", clock.now)) == [TODAY - 430, TODAY - 400]
            assert (seen(store, clock.now), store.message(ses_id(at, 1), clock.now)) == ([], [])
        backfill(store, clock.now, sent_at(at, 1, Delivery(at + HOUR)), sent_at(at, 3))
        store.settle()
        before = [store.rollups("day", "outreach"), store.rollups("age", "outreach", "spring")]
        assert before[0][0].counts[0] == 1
        clock.now = NOW + 91 * DAY
        assert store.sweep(clock.now, 99).records == 3
        store.settle()
        assert list(store.held_days("outreach", clock.now)) == []
        assert before == [
            store.rollups("day", "outreach"),
            store.rollups("age", "outreach", "spring"),
        ]
        assert is_frozen(store, TODAY - 400, clock.now)
        assert not is_frozen(store, TODAY - 399, clock.now)
        store.close()

    def test_frozen(self, reopen: Callable[..., Store]) -> None:
        """A day with totals of its own is frozen once it has expired, in its stream only."""
        clock = Clock(NOW)
        store = reopen(clock=clock)
        apply(store, sent_at(NOW - 90 * DAY, 1))
        store.settle()
        assert store.sweep(NOW + DAY, 9).records == 1
        clock.now = NOW + DAY
        assert is_frozen(store, TODAY - 90, clock.now)
        assert not is_frozen(store, TODAY - 90, clock.now, "finance")
        assert not is_frozen(store, TODAY - 91, clock.now)
        store.close()

    def test_day_that_ends_meanwhile(self, reopen: Callable[..., Store]) -> None:
        """A day that expires between two runs of a backfill is still accepted by the second run."""
        clock = Clock(NOW)
        store = reopen(clock=clock)
        at = NOW - 90 * DAY
        backfill(store, NOW, sent_at(at, 1))
        store.settle()
        clock.now = NOW + DAY
        assert store.sweep(clock.now, 9).records == 0
        backfill(store, clock.now, sent_at(at, 1, Delivery(at + HOUR)))
        store.settle()
        assert [
            sum(row.counts[:1]) for row in store.rollups("day", "outreach", "", dimension="")
        ] == [1]
        store.close()

    def test_shared_values(self, reopen: Callable[..., Store]) -> None:
        """Values that held records share with swept records stay readable."""
        clock = Clock(NOW)
        store = reopen(clock=clock)
        put(store, record(NOW - 200 * DAY, 9))
        backfill(store, NOW, sent_at(NOW - 400 * DAY, 1))
        assert store.sweep(NOW, 99).records == 1
        assert [one.message_id for one in store.records_of_day("outreach", TODAY - 400)] == [
            ses_id(NOW - 400 * DAY, 1)
        ]
        store.close()
