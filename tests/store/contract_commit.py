"""What every store must do with a batch: records are stored as they are, and a batch whole or not at all."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.event import UNATTRIBUTED, AnyOccurrence, Bounce, Identity, Open, Send
from sesight.domain.ports import Changes, RecordFilter, RecordKey, Store, View
from sesight.domain.record import Record
from sesight.domain.rollup import RollupKey
from sesight.domain.tally import COUNTERS, Tally
from sesight.domain.timestamps import DAY, HOUR
from tests.store.anything import occurrences, records, ses_id, tallies
from tests.store.contract import BOTH, NOW, TODAY, changes, counted, everything, put, record


class Records:
    """Records are read as they were written."""

    def test_any_record(self, fresh: Callable[[], Store]) -> None:
        """Any record comes back as it was, after it was stored and after it was changed."""

        @given(records, st.lists(occurrences, max_size=3), tallies)
        def law(one: Record, more: list[AnyOccurrence], tally: Tally | None) -> None:
            store = fresh()
            key = RecordKey(one.message_id, one.recipient)

            def read() -> list[Record]:
                found: list[Record] = []

                def look(view: View) -> Changes:
                    found.extend(view.records([one.message_id]).get(one.message_id, []))
                    return changes()

                store.transact(look)
                return found

            put(store, one)
            assert read() == [one]
            timeline = (*one.timeline[:2], *more, *one.timeline[2:])

            def change(view: View) -> Changes:
                (held,) = view.records([one.message_id])[one.message_id]
                timeline = (*held.timeline[:2], *more, *held.timeline[2:])
                after = Record(*key, held.stream, held.identity, timeline, 3, held.spelling, tally)
                return changes([after])

            store.transact(change)
            after = Record(*key, one.stream, one.identity, timeline, 3, one.spelling, tally)
            assert read() == [after]

        settings(max_examples=100)(law)()

    def test_message(self, store: Store) -> None:
        """A message has its recipients in order, and the record of no recipient last."""
        at = NOW - HOUR
        same = {"message_id": ses_id(at)}
        three = [record(at, n, **same) for n in (1, 2)]
        three.append(record(at, 3, **same, recipient=UNATTRIBUTED, timeline=(Open(at + 1),)))
        put(store, *reversed(three), record(at, 9))
        assert store.message(ses_id(at), NOW) == three

    def test_unknown_message(self, store: Store) -> None:
        """An unknown message has no records, for a reader and for a batch."""
        seen = []
        store.transact(lambda view: seen.append(view.records(["x", ses_id(5)])) or changes())
        assert (store.message("x", NOW), seen) == ([], [{}])

    def test_view(self, store: Store) -> None:
        """A batch sees the records of its messages, many at a time, and those of an address."""
        many = [record(NOW - n, n) for n in range(1_200)]
        again = record(NOW - 5, 7_000, recipient=many[3].recipient)
        other = record(NOW - 5, 7_001, recipient=many[3].recipient, stream="finance")
        put(store, *many, again, other)
        seen = []

        def look(view: View) -> Changes:
            seen.append(view.records([one.message_id for one in many]))
            seen.append(set(view.of_address("outreach", many[3].recipient)))
            return changes()

        store.transact(look)
        assert seen == [
            {one.message_id: [one] for one in many},
            {many[3], again},
        ]

    def test_stored_without_looking(self, store: Store) -> None:
        """A batch that did not read a record replaces it too; it is never stored twice."""
        one = record()
        later = counted(
            Record(
                *RecordKey(one.message_id, one.recipient),
                one.stream,
                one.identity,
                (Send(1), Open(2)),
            )
        )
        put(store, one)
        put(store, later)
        assert store.message(one.message_id, NOW) == [later]

    def test_earlier_send(self, store: Store) -> None:
        """An event with an earlier send time moves the record, and nothing of it stays in the old
        place.
        """
        at = NOW - HOUR
        bounce = Bounce(at, None, "Permanent", "General")
        one = record(at, timeline=(bounce,))
        moved = record(
            at,
            identity=Identity(at - 2 * DAY, tags=(("campaign_id", "b"),)),
            timeline=(Send(at - 2 * DAY), bounce),
        )
        put(store, one)
        put(store, moved)
        rare = RecordFilter(streams=("outreach",), outcomes=("bounced",))
        spring = RecordFilter(streams=("outreach",), campaign="spring")
        assert [everything(store, wanted) for wanted in (BOTH, rare, spring)] == [
            [moved],
            [moved],
            [],
        ]
        assert list(store.held_days("outreach", NOW)) == [TODAY - 2]

    def test_one_millisecond(self, store: Store) -> None:
        """Records of one millisecond that would share an id each get their own."""
        at = NOW - HOUR
        many = [record(at, n, message_id=f"m{n}", stream="finance") for n in range(1_500)]
        put(store, *many[:700])
        put(store, *many[700:])
        changed = counted(
            Record("m9", many[9].recipient, "finance", many[9].identity, (Send(at), Open(at + 5)))
        )
        put(store, changed)
        many[9] = changed
        assert set(everything(store, BOTH, 100)) == set(many)
        assert store.message("m1499", NOW) == [many[1499]]

    def test_alike_message_ids(self, store: Store) -> None:
        """Ids that differ only at their end are different messages."""
        at = NOW - HOUR
        first = record(at)
        second = record(at, message_id=f"{ses_id(at)[:-1]}7")
        third = record(at, message_id=f"{ses_id(at)[:-8]}5-000000")
        put(store, first)
        put(store, second, third)
        assert [store.message(one.message_id, NOW) for one in (first, second, third)] == [
            [first],
            [second],
            [third],
        ]

    def test_day(self, store: Store) -> None:
        """A day has every record of one stream sent on it, in order, and is among the held days."""
        start = (TODAY - 3) * DAY
        day = [record(start + n * 60_000, n) for n in range(1_300)]
        put(store, *reversed(day), record(start - 1, 1), record(start + DAY, 2))
        put(store, record(start, 5_000, stream="finance"))
        assert list(store.records_of_day("outreach", TODAY - 3)) == day
        assert list(store.held_days("outreach", NOW)) == [TODAY - 4, TODAY - 3, TODAY - 2]
        assert store.first_day() == TODAY - 4


class Commits:
    """A batch is committed whole or not at all."""

    def test_failing_fold(self, store: Store) -> None:
        """A batch that fails leaves nothing behind, and the next one works."""
        put(store, record(NOW - 1, 1))

        def failing(view: View) -> Changes:
            view.records([ses_id(NOW - 1, 1)])
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.transact(failing)
        put(store, record(NOW - 2, 2))
        assert everything(store, BOTH) == [record(NOW - 1, 1), record(NOW - 2, 2)]

    def test_failing_write(self, store: Store) -> None:
        """If one part of a batch cannot be stored, the store neither stores nor remembers any part."""
        good = record(NOW - 1, 1, identity=Identity(NOW - 1, "new@example.org", "Never seen"))
        rollups = {RollupKey("day", "outreach", "", TODAY, "", ""): [1] * len(COUNTERS)}
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the store says of nonsense
            put(store, good, rollups=rollups, newest_at=5, quarantined=[None])
        assert (everything(store, BOTH), store.newest_at(), store.rollups("day", "outreach")) == (
            [],
            None,
            [],
        )
        put(store, good)
        assert everything(store, BOTH) == [good]

    def test_newest(self, store: Store) -> None:
        """The newest intake time only grows."""
        put(store, newest_at=5)
        put(store, newest_at=3)
        put(store)
        assert store.newest_at() == 5
