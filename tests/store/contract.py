"""What every store must do, written once: a test file binds it with a `store` fixture.

`store` opens with 90 days of retention and the clock at `NOW`; `reopen(**settings)` opens the same
data again; `count(store, rollups)` adds increments to rollup rows as the store's own way is. Nothing
here knows how a store keeps things.
"""

import itertools
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sesight.domain.card import MULTIPLE_SUBJECTS, Card
from sesight.domain.counting import Counting, tally_of
from sesight.domain.event import (
    UNATTRIBUTED,
    AnyOccurrence,
    Bounce,
    Event,
    Identity,
    Open,
    Report,
    Send,
    better_name,
)
from sesight.domain.ports import Changes, RecordFilter, RecordKey, Store, View
from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from sesight.domain.record import Record, fold
from sesight.domain.rollup import Deltas, RollupKey, RollupRow, Rollups, add_suppressed
from sesight.domain.stream import FINANCE, OUTREACH
from sesight.domain.suppression.item import Cause, Removal, Suppression
from sesight.domain.tally import COUNTERS, Tally
from sesight.domain.timestamps import DAY, HOUR
from tests.store.anything import occurrences, records, ses_id, tallies

NOW = 20_000 * DAY + 12 * HOUR
TODAY = 20_000
Count = Callable[[Store, Rollups], None]
COUNTING = Counting({"outreach": OUTREACH, "finance": FINANCE})


def changes(records: Iterable[Record] = (), **more: object) -> Changes:
    """Return changes that store the records and whatever else is named."""
    given = {
        "suppressions": {},
        "rollups": {},
        "cards": {},
        "quarantined": [],
        "released": [],
        **more,
    }
    return Changes({RecordKey(r.message_id, r.recipient): r for r in records}, **given)


def put(store: Store, *records: Record, **more: object) -> None:
    """Commit records and whatever else is named."""
    assert store.transact(lambda _: changes(records, **more)) == set()


def record(at: int = NOW - HOUR, number: int = 0, **fields: object) -> Record:
    """Return a record as sent at `at`, counted, with what is named differing."""
    values = {
        "message_id": ses_id(at, number),
        "recipient": f"jo{number}@example.org",
        "stream": "outreach",
        "identity": Identity(at, "news@example.com", "Hello", tags=(("campaign_id", "spring"),)),
        "timeline": (Send(at),),
        **fields,
    }
    return counted(Record(**values))


def counted(one: Record) -> Record:
    """Return the record with its tally."""
    return Record(
        one.message_id,
        one.recipient,
        one.stream,
        one.identity,
        one.timeline,
        one.capped,
        one.spelling,
        tally_of(one, COUNTING),
    )


def apply(store: Store, events: Iterable[tuple[str, Event]], **more: object) -> None:
    """Fold events in one batch as the pipeline does: view, fold, tally, deltas."""
    batch = list(events)

    def folding(view: View) -> Changes:
        before = {
            RecordKey(held.message_id, held.recipient): held
            for found in view.records({event.message_id for _, event in batch}).values()
            for held in found
        }
        after = dict(before)
        for stream, event in batch:
            for report in event.reports:
                key = RecordKey(event.message_id, report.recipient)
                after[key] = fold(after.get(key), event, report, stream)
        deltas, written = Deltas(), []
        for key, held in after.items():
            if held is not before.get(key):
                deltas.add(held.tally, tally_of(held, COUNTING))
                written.append(counted(held))
        return changes(written, rollups=deltas.rows(), **more)

    store.transact(folding)


def an_item(stream: str, address: str, counted: tuple[int, str] | None = None) -> Suppression:
    """Return an item of an address, or of a whole domain."""
    reason = "manual" if counted is None else counted[1]
    return Suppression(stream, address, (Cause(5, "c", reason, 5),), counted=counted)


def everything(store: Store, wanted: RecordFilter, limit: int = 3) -> list[Record]:
    """Return all records of a filter, page by page."""
    found: list[Record] = []
    cursor = None
    while True:
        page = store.messages(wanted, limit, cursor, NOW)
        found += page.records
        cursor = page.cursor
        if cursor is None:
            return found


def totals_of(store: Store, stream: str, campaign: str) -> Rollups:
    """Return a campaign's totals."""
    return {row.key: list(row.counts) for row in store.campaign_totals(stream, campaign)}


BOTH = RecordFilter(streams=("outreach", "finance"))


class Records:
    """What goes in comes out."""

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
        """A message has its recipients in order, and what concerns nobody last."""
        at = NOW - HOUR
        same = {"message_id": ses_id(at)}
        three = [record(at, n, **same) for n in (1, 2)]
        three.append(record(at, 3, **same, recipient=UNATTRIBUTED, timeline=(Open(at + 1),)))
        put(store, *reversed(three), record(at, 9))
        assert store.message(ses_id(at), NOW) == three

    def test_unknown_message(self, store: Store) -> None:
        """A message nobody knows has no records, neither for a reader nor for a batch."""
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
        """A record is replaced, never stored twice, also by a batch that did not read it."""
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
        """A send time that turns out to be earlier moves the record, and nothing of it stays."""
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
        """Records of one millisecond that would share a place each get one of their own."""
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
        """A day has every record sent on it, of one stream, in order; held days are told."""
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
        """A batch of which one part cannot be stored stores no part, nor remembers any."""
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


class Expiry:
    """A send day expires together, to the millisecond, swept or not; totals stay."""

    def test_exactly(self, store: Store) -> None:
        """Records of a day are seen until 00:00 UTC of the day after its retention, never later."""
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
        """Sweeping takes expired records only, a few at a time, and leaves totals and cards."""
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
        """Hour rows and quarantined bodies go after 30 days."""
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


class Totals:
    """Rollups are sums, cards are joins."""

    def test_sums(self, store: Store, count: Count) -> None:
        """Rows are the sum of their increments, found by family, scope, bucket and dimension."""
        rng = random.Random(3)
        keys = [
            RollupKey(*key)
            for key in [
                ("day", "outreach", "", 10, "", ""),
                ("day", "outreach", "c", 10, "", ""),
                ("day", "outreach", "c", 11, "", ""),
                ("day", "outreach", "c", 10, "mailbox", "gmail"),
                ("day", "outreach", "c", 10, "tag:x", ""),
                ("day", "finance", "c", 10, "", ""),
                ("age", "outreach", "c", 72, "", ""),
                ("link", "outreach", "c", 0, "link", "https://example.org/ä"),
                ("month", "finance", "", 24_300, "", ""),
                ("month", "finance", "", 24_300, "attempt", "first"),
                ("hour", "outreach", "", 240, "", ""),
                ("suppressed", "outreach", "", 10, "reason", "complaint"),
            ]
        ]
        sums = {key: [0] * len(COUNTERS) for key in keys}
        for _ in range(20):
            rollups = {
                key: [rng.choice([0, 0, 1, 5, -1]) for _ in COUNTERS] for key in rng.sample(keys, 5)
            }
            count(store, rollups)
            for key, more in rollups.items():
                sums[key] = [one + other for one, other in zip(sums[key], more, strict=True)]
        store.repair({keys[0]: [1] * len(COUNTERS)})
        sums[keys[0]] = [one + 1 for one in sums[keys[0]]]
        store.settle()

        def read(*args: object, **kwargs: object) -> dict[RollupKey, list[int]]:
            rows: list[RollupRow] = store.rollups(*args, **kwargs)
            return {row.key: list(row.counts) for row in rows}

        found = {}
        for family, stream, campaign in {key[:3] for key in keys}:
            found |= read(family, stream, campaign)
        assert found == sums
        some = lambda *at: {keys[n]: sums[keys[n]] for n in at}  # noqa: E731
        assert read("day", "outreach", "c", dimension="") == some(1, 2)
        assert read("day", "outreach", "c", dimension="mailbox") == some(3)
        assert read("day", "outreach", "c", since=11) == some(2)
        assert read("day", "outreach", "c", until=11, dimension="") == some(1)
        assert (read("day", "nowhere"), read("day", "outreach", "d")) == ({}, {})

    def test_nothing_left(self, store: Store, count: Count) -> None:
        """A row whose counts all came back to 0 is in no answer: whether it ever was one depends on
        how changes were cut into batches.
        """
        n = len(COUNTERS)
        keys = [
            RollupKey("day", "outreach", "c", 9, "", ""),
            RollupKey("day", "outreach", "c", 9, "tag:x", "v"),
            RollupKey("day", "outreach", "c", 9, "reason", "policy"),
            RollupKey("month", "finance", "", 24_300, "", ""),
            RollupKey("link", "outreach", "c", 0, "link", "https://example.org/a"),
        ]
        count(store, {key: [4] * n for key in keys})
        count(store, {key: [-4] * n for key in keys})
        store.settle()
        found = [row for key in keys for row in store.rollups(*key[:3])]
        found += store.rollups("day", "outreach", "c", since=9, until=10, dimension="")
        assert (found, store.campaign_totals("outreach", "c")) == ([], [])

    def test_nobody_left(self, store: Store) -> None:
        """When an address is suppressed and lifted again, no row tells of it, in one batch or two."""
        cause = Cause(5, "c1", "manual", 4)
        item = Suppression("outreach", "jo@example.org", (cause,), counted=(3, "manual"))
        for after in (item, replace(item, counted=None)):

            def suppress(view: View, after: Suppression = after) -> Changes:
                key = ("outreach", "jo@example.org")
                rollups: Rollups = {}
                add_suppressed(rollups, view.suppressions([key]).get(key), after)
                return changes(suppressions={key: after}, rollups=rollups)

            store.transact(suppress)
        store.settle()
        assert store.rollups("suppressed", "outreach") == []

    def test_campaign_totals(self, store: Store, count: Count) -> None:
        """A campaign's totals are its day rows summed over the days, by dimension and value, values
        beyond the bound as `~other`; other families, campaigns and the stream's rows are not in it.
        """
        rng, n = random.Random(5), len(COUNTERS)
        places = [("", ""), ("mailbox", "gmail"), ("mailbox", "other"), ("reason", "policy")]
        places += [("tag:x", f"v{number:04d}") for number in range(1_003)]
        sums: Rollups = {}
        for some in (places, *(places[:4] + places[-5:] for _ in range(5))):
            rollups: Rollups = {
                RollupKey("day", "outreach", "c", bucket, *place): [
                    rng.choice([0, 1, 5, -1]) for _ in COUNTERS
                ]
                for place in some
                for bucket in rng.sample(range(-2, 90), 1 if some is places else 3)
            }
            others: Rollups = {
                RollupKey("day", "outreach", "", 1, "", ""): [7] * n,
                RollupKey("day", "outreach", "d", 1, "", ""): [7] * n,
                RollupKey("day", "finance", "c", 1, "", ""): [7] * n,
                RollupKey("age", "outreach", "c", 1, "", ""): [7] * n,
                RollupKey("link", "outreach", "c", 0, "link", "https://x.example"): [7] * n,
            }
            for key, more in store.bounded(rollups).items():
                total = key._replace(bucket=0)
                held = sums.get(total, [0] * n)
                sums[total] = [one + other for one, other in zip(held, more, strict=True)]
            count(store, rollups | others)
        store.settle()
        assert totals_of(store, "outreach", "c") == sums
        assert RollupKey("day", "outreach", "c", 0, "tag:x", "~other") in sums
        assert [row.key for row in store.campaign_totals("outreach", "c")] == sorted(sums)
        assert totals_of(store, "outreach", "e") == totals_of(store, "nowhere", "c") == {}

    def test_campaign_totals_are_repaired(self, store: Store, count: Count) -> None:
        """A repair adds to days and to what they sum to; one of nothing makes no row."""
        n = len(COUNTERS)
        whole, mailbox = (
            RollupKey("day", "outreach", "c", 9, *of) for of in (("", ""), ("mailbox", "gmail"))
        )
        count(store, {whole: [4] * n, mailbox: [3] * n})
        nothing = RollupKey("day", "outreach", "d", 0, "", "")
        store.repair({mailbox: [2] * n, nothing: [0] * n})
        store.settle()
        assert totals_of(store, "outreach", "c") == {
            whole._replace(bucket=0): [4] * n,
            mailbox._replace(bucket=0): [5] * n,
        }
        assert (store.rollups("day", "outreach", "d"), totals_of(store, "outreach", "d")) == (
            [],
            {},
        )

    def test_cards(self, store: Store, count: Count) -> None:
        """Cards are joined field by field in any order; their totals are those of the day rows."""
        some = [
            Card("outreach", "c", None, "ses", "b@x", "Z", None, 5, 5, None),
            Card("outreach", "c", "Name", "legacy", "a@x", "ä", "t", 7, 7, 3),
            Card("outreach", "c", "Other", "ses", None, "Z", "s", None, 2, 9),
        ]
        one = Card("outreach", "c", "Name", "legacy", "a@x", MULTIPLE_SUBJECTS, "s", 5, 7, 9)
        finance = Card("finance", "c", "F")
        for order in itertools.permutations(some):
            for card in order:
                put(store, cards={("outreach", "c"): card})
        put(store, cards={("finance", "c"): finance})
        for bucket in (3, 4):
            key = RollupKey("day", "outreach", "c", bucket, "", "")
            dimension = RollupKey("day", "outreach", "c", bucket, "mailbox", "gmail")
            count(store, {key: list(range(len(COUNTERS))), dimension: [1] * len(COUNTERS)})
        totals = tuple(2 * n for n in range(len(COUNTERS)))
        store.settle()
        nothing = (0,) * len(COUNTERS)
        found = {card: tuple(counts) for card, counts in store.cards(["outreach", "finance"])}
        assert found == {one: totals, finance: nothing}
        assert [card for card, _ in store.cards(["finance"])] == [finance]
        assert (store.card("outreach", "c"), store.card("outreach", "d")) == (one, None)

    def test_names_of_campaigns(self, store: Store) -> None:
        """A campaign's card shows the name its owner gave it, not what a tag made of it, in any order."""
        names = [
            "Über",
            "Uber-3f2a9c10",
            "Spring-20261001",
            "Spring-deadbeef",
            "a-DEADBEEF",
            "-deadbeef",
            "x y-deadbeef",
            None,
        ]
        pairs = list(itertools.permutations(names, 2))
        for n, pair in enumerate(pairs):
            for name in pair:
                put(store, cards={("outreach", f"c{n}"): Card("outreach", f"c{n}", name)})
        shown = {card.campaign: card.name for card, _ in store.cards(["outreach"])}
        assert shown == {f"c{n}": better_name(*pair) for n, pair in enumerate(pairs)}

    def test_bounded_values(self, store: Store, count: Count) -> None:
        """A scope has rows for 1,000 values of an open dimension; what comes later shares `~other`,
        and goes on doing so, while a value that has a row keeps it.
        """
        bound, n = 1_000, len(COUNTERS)

        def link(number: int) -> RollupKey:
            return RollupKey("link", "outreach", "c", 0, "link", f"https://x.example/{number:04d}")

        count(store, {link(number): [1] * n for number in range(bound + 5)})
        count(store, {link(bound - 1): [2] * n, link(bound + 3): [-1] * n})
        other = link(0)._replace(value="~other")
        expected = {link(number): [1] * n for number in range(bound)}
        expected |= {link(bound - 1): [3] * n, other: [4] * n}
        rows = store.rollups("link", "outreach", "c")
        assert {row.key: list(row.counts) for row in rows} == expected
        later = {link(bound + 7): [1] * n, link(7): [1] * n}
        assert store.bounded(later) == {other: [1] * n, link(7): [1] * n}
        mailboxes = {
            RollupKey("day", "outreach", "", 1, "reason", f"r{m}"): [1] * n for m in range(3)
        }
        assert store.bounded(mailboxes) == mailboxes


class Lists:
    """Suppressions and the quarantine."""

    def test_suppressions(self, store: Store) -> None:
        """An item is kept as it is, by stream and address, and replaced by its successor."""
        cause = Cause(5, "c1", "complaint", 4, "marketing", "m", "camp", "outreach", "abuse")
        item = Suppression("outreach", "jo@example.org", (cause,), spelling="Jo@example.org")
        later = Suppression(
            "outreach",
            "jo@example.org",
            (cause, Cause(6, "c2", "manual", 6)),
            (Removal(9, "r1", ("c1",), "asked"),),
            7,
            None,
            (3, "manual"),
        )
        seen = []
        key = ("outreach", "jo@example.org")

        def look(view: View) -> Changes:
            seen.append(view.suppressions([key, ("finance", key[1]), ("outreach", "x@y")]))
            return changes(suppressions={key: later})

        put(store, suppressions={key: item})
        store.transact(look)
        assert (seen, store.suppression(*key)) == ([{key: item}], later)
        assert store.suppression("finance", key[1]) is None

    def test_due(self, store: Store) -> None:
        """Items that count and whose time is over are told, and only these."""

        def item(name: str, until: int | None, counted: tuple[int, str] | None) -> Suppression:
            cause = Cause(5, name, "blocked", 4, until=until)
            return Suppression("outreach", name, (cause,), counted=counted)

        items = [
            item("over", NOW - 5, (0, "blocked")),
            item("soon", NOW + 5, (0, "blocked")),
            item("later", NOW + 9, (0, "blocked")),
            item("for-good", None, (0, "blocked")),
            item("uncounted", NOW - 5, None),
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})
        assert [one.address for one in store.suppressions_due(NOW, 9)] == ["over"]
        assert [one.address for one in store.suppressions_due(NOW + 5, 9)] == ["over", "soon"]
        assert len(store.suppressions_due(NOW + 9, 2)) == 2

    def test_counted(self, store: Store) -> None:
        """Every item of a stream that counts is told once, also when there are many."""
        cause = Cause(5, "c", "complaint", 4)
        items = [
            Suppression(
                stream, f"{n}@x.example", (cause,), counted=(n % 3, "complaint") if n else None
            )
            for stream, many in (("outreach", 1_101), ("finance", 3))
            for n in range(many)
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})
        for stream, many in (("outreach", 1_100), ("finance", 2), ("nowhere", 0)):
            found = list(store.suppressions_counted(stream))
            assert len(found) == many
            assert {one.address: one for one in found} == {
                one.address: one for one in items if one.stream == stream and one.counted
            }

    def test_of_addresses(self, store: Store) -> None:
        """Asked for many addresses at once, a store gives the items of each and of its whole domain,
        in one stream, and nothing else.
        """
        items = [
            an_item("outreach", "jo@example.org"),
            an_item("outreach", "@example.com"),
            an_item("outreach", "al@example.com"),
            an_item("outreach", "@org"),
            an_item("finance", "@example.org"),
            *[an_item("outreach", f"{n}@x.example") for n in range(250)],
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})
        wanted = ["jo@example.org", "bo@example.com", "bo@example.com", "@x.example", "~a@x.y"]
        wanted += [f"{n}@x.example" for n in range(0, 400, 2)]
        assert store.suppressions_of("outreach", wanted) == {
            items[0].address: items[0],
            items[1].address: items[1],
            **{item.address: item for item in items[5::2]},
        }
        assert store.suppressions_of("finance", wanted) == {"@example.org": items[4]}
        assert (
            store.suppressions_of("nowhere", wanted) == store.suppressions_of("finance", []) == {}
        )

    def test_list(self, store: Store) -> None:
        """Items are listed in the order of their addresses, by prefix, reason and whether they count,
        page by page, each once.
        """
        counted = (None, (7, "manual"), (8, "bounced"))
        items = [
            *[
                an_item("outreach", f"{name}{n:03d}@x.example", counted[n % 3])
                for name in ("al", "bo", "b")
                for n in range(60)
            ],
            an_item("outreach", "@x.example", counted[1]),
            an_item("finance", "al@x.example", counted[1]),
        ]
        put(store, suppressions={(one.stream, one.address): one for one in items})

        def listed(limit: int, stream: str = "outreach", **filters: object) -> list[Suppression]:
            found: list[Suppression] = []
            after = None
            while True:
                page = store.suppressions(stream, limit, after, **filters)
                assert len(page.items) <= limit
                found += page.items
                after = page.after
                if after is None:
                    return found

        def expected(prefix: str = "", active: bool | None = None, reason: str | None = None):
            return sorted(
                (
                    each
                    for each in items
                    if each.stream == "outreach"
                    and each.address.startswith(prefix)
                    and active in (None, each.counted is not None)
                    and (reason is None or (each.counted and each.counted[1] == reason))
                ),
                key=lambda each: each.address,
            )

        for limit in (7, 500):
            assert listed(limit) == expected()
            for prefix in ("b", "bo", "al0", "@", "@x", "c", "~"):
                assert listed(limit, prefix=prefix) == expected(prefix)
            for active in (True, False):
                assert listed(limit, active=active) == expected(active=active)
            for reason in ("manual", "bounced", "complaint"):
                assert listed(limit, reason=reason) == expected(reason=reason)
            found = listed(limit, prefix="al", reason="manual", active=True)
            assert found == expected("al", active=True, reason="manual")
        assert listed(7, "finance") == [items[-1]]
        assert listed(7, "nowhere") == []
        assert listed(1, prefix="al", active=False) == expected("al", active=False)

    def test_quarantine(self, store: Store) -> None:
        """One body is kept once, with what was said of it last and the time of the first, newest
        first, counted by reason, until it is released.
        """
        first = Quarantined("1", "odd", "Again.", b"{", 5)
        second = Quarantined("2", "unrouted", "No set.", b"{}", 6, "m", None, b"\x90")
        put(store, quarantined=[Quarantined("1", "odder", "Odd.", b"{", 5, "m"), second])
        assert store.quarantine_counts() == {"odder": 1, "unrouted": 1}
        put(store, quarantined=[Quarantined("1", "odd", "Again.", b"{", 9)])
        assert store.quarantine(9) == [second, first]
        assert store.quarantine(9, "odd") == [first]
        assert store.quarantine_counts() == {"odd": 1, "unrouted": 1}
        seen = []
        store.transact(lambda view: seen.append(view.awaiting(["m", "n"])) or changes())
        put(store, released=["2"])
        store.transact(lambda view: seen.append(view.awaiting(["m", "n"])) or changes())
        assert (seen, store.quarantine(9)) == ([[second], []], [first])

    def test_large_bodies(self, store: Store) -> None:
        """A body larger than a database takes in one piece is kept whole like any other."""
        noise = random.Random(7)
        large = Quarantined("1", "odd", "Large.", noise.randbytes(1_000_000), 5)
        waits = Quarantined("2", "unrouted", "L.", noise.randbytes(400_000), 6, "m", None, b"\x90")
        put(store, quarantined=[large, waits])
        assert store.quarantine(9) == [waits, large]
        put(store, quarantined=[replace(large, reason="odder", at=9)])
        assert store.quarantine(9, "odder") == [replace(large, reason="odder")]
        seen = []
        store.transact(lambda view: seen.append(view.awaiting(["m"])) or changes())
        assert seen == [[waits]]
        put(store, released=["1", "2"])
        assert (store.quarantine(9), store.quarantine_counts()) == ([], {})

    def test_room(self, store: Store) -> None:
        """The quarantine says how many more bodies of a reason it takes, by number and by size."""
        rooms = []
        look = lambda view: rooms.append((view.room("a"), view.room("b"))) or changes()  # noqa: E731
        store.transact(look)
        put(store, quarantined=[Quarantined(f"{n}", "a", "", b"{", n) for n in range(3)])
        put(store, quarantined=[Quarantined("big", "b", "", bytes(64 << 20), 1)])
        store.transact(look)
        whole = QUARANTINE_BODIES, QUARANTINE_BYTES
        (before, beside), (after, full) = rooms
        assert (before, beside, after[0], full[0]) == (whole, whole, whole[0] - 3, whole[0] - 1)
        assert full[1] <= 0 < after[1] < whole[1]
