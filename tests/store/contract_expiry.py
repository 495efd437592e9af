"""What every store must do when records expire."""

from sesight.domain.card import Card
from sesight.domain.event import Bounce, Event, Identity, Report
from sesight.domain.ports import RecordFilter, Store
from sesight.domain.quarantine import Quarantined
from sesight.domain.rollup import RollupKey, Rollups
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR
from tests.store.anything import ses_id
from tests.store.contract import BOTH, NOW, TODAY, Count, apply, everything, put, record


class Expiry:
    """A send day expires together, to the millisecond, swept or not; totals stay."""

    def test_exactly(self, store: Store) -> None:
        """Records of a day are visible until 00:00 UTC of the day after its retention, never later."""
        start = (TODAY - 90) * DAY
        day = [record(start, 1), record(start + DAY - 1, 2)]
        put(store, *day)
        ends = (TODAY + 1) * DAY
        assert store.expires_at(TODAY - 90) == ends
        for now, seen in ((ends - 1, True), (ends, False)):
            page = store.messages(BOTH, 9, None, now)
            assert page.records == (day[::-1] if seen else [])
            assert store.message(day[0].message_id, now) == ([day[0]] if seen else [])
            assert list(store.held_days("outreach", now)) == ([TODAY - 90] if seen else [])

    def test_sweep(self, store: Store) -> None:
        """A sweep deletes only expired records, up to its limit, and leaves totals and cards."""
        old = NOW - 91 * DAY
        sends = [
            Event(
                ses_id(at, n),
                Identity(at, "s@example.org", f"Subject {at}", tags=(("campaign_id", "c"),)),
                (Report(f"r{n}@example.org", Bounce(at, None, "Permanent")),),
            )
            for n, at in enumerate([*range(old, old + 25), NOW - DAY])
        ]
        apply(store, [("outreach", event) for event in sends])
        put(store, cards={("outreach", "c"): Card("outreach", "c")})
        store.settle()
        before = (store.rollups("day", "outreach", "c"), store.cards(["outreach"]))
        counts = [store.sweep(NOW, 10).records for _ in range(4)]
        assert counts == [10, 10, 5, 0]
        store.settle()
        left = store.message(sends[-1].message_id, NOW)
        assert (everything(store, BOTH), len(left)) == (left, 1)
        rare = RecordFilter(streams=("outreach",), outcomes=("bounced",))
        assert everything(store, rare) == left
        assert (store.rollups("day", "outreach", "c"), store.cards(["outreach"])) == before
        assert store.first_day() == old // DAY
        apply(store, [("outreach", event) for event in sends[:3]])
        assert len(list(store.records_of_day("outreach", old // DAY))) == 3

    def test_hours_and_quarantine(self, store: Store, count: Count) -> None:
        """Hour rows and quarantined bodies are deleted after 30 days."""
        hour = NOW // HOUR
        rollups: Rollups = {
            RollupKey("hour", "outreach", "", at, "", ""): [1] * len(COUNTERS)
            for at in (hour - 721, hour - 720)
        }
        bodies = [Quarantined(f"{at}", "odd", "", b"", at) for at in (NOW - 31 * DAY, NOW)]
        count(store, rollups)
        put(store, quarantined=bodies)
        store.sweep(NOW, 10)
        assert [row.key.bucket for row in store.rollups("hour", "outreach")] == [hour - 720]
        assert store.quarantine(9) == bodies[1:]
