"""Laws 1 to 4: order does not matter, twice is once, records are bounded, totals telescope."""

from itertools import permutations
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sesight.domain.counting import Counting
from sesight.domain.event import Bounce, Click, Delivery, Event, EventType, Identity, Open, Report
from sesight.domain.record import KEPT
from sesight.domain.rollup import Rollups
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR
from tests.builders import (
    COUNTING,
    NOW,
    OUTLOOK,
    bounce,
    clicked,
    complaint,
    delivery,
    opened,
    sent,
)
from tests.laws.happenings import MESSAGES, again, events, histories, seeds
from tests.laws.ledger import Ledger, told_one_by_one
from tests.reception import RULES


@given(histories(), seeds)
def test_order_repetition_and_batches(told: list[Event], seed: int) -> None:
    """Any permutation, repetition and batching of the same events gives the same records byte for
    byte, the same totals, the same suppression items and the same quarantine.
    """
    ledger = Ledger()
    for batch in again(told, seed):
        ledger.take(batch)
    assert ledger.state == told_one_by_one(told).state


@given(st.lists(events(("m-1", "m-2", "m-7")), min_size=8, max_size=24), seeds)
def test_order_of_one_person(told: list[Event], seed: int) -> None:
    """The same for one person's three messages, where every event meets every other."""
    ledger = Ledger()
    for batch in again(told, seed):
        ledger.take(batch)
    assert ledger.state == told_one_by_one(told).state


@given(histories(), seeds)
def test_totals_telescope(told: list[Event], seed: int) -> None:
    """After every batch the totals are the sum of the tallies that records hold, and what outcomes
    count sums to the recipients.
    """
    ledger = Ledger()
    for batch in again(told, seed):
        ledger.take(batch)
        assert ledger.rows == ledger.recount
    for key, row in ledger.rows.items():
        if key.family == "day" and not key.dimension:
            recipients, *outcomes = row[: 1 + len(COUNTERS[1:8])]
            assert recipients == sum(outcomes)
            assert min(row) >= 0


@given(histories(), seeds)
def test_everything_has_a_disposition(told: list[Event], seed: int) -> None:
    """Dispositions sum to what was read, whatever the batch, and a second run teaches nothing."""
    ledger = Ledger()
    for batch in again(told, seed):
        assert len(ledger.take(batch)) == len(batch)
    before = ledger.state
    said = {each.disposition.value for each in ledger.take(told)}
    assert said <= {"duplicate", "expired", "quarantined"}
    assert ledger.state == before


SWITCHES: list[Counting] = [
    COUNTING,
    replace(COUNTING, rules=2),
    replace(COUNTING, tags=()),
    replace(COUNTING, tags=("campaign_id", "campaign_month")),
    replace(COUNTING, test_recipients=frozenset()),
    replace(COUNTING, test_recipients=frozenset({"ana@gmail.com"})),
    replace(COUNTING, test_recipients=frozenset({"@yahoo.com", "@gmail.com"})),
]


@given(histories(), seeds)
def test_switching_rules(told: list[Event], seed: int) -> None:
    """When the rules of counting change between batches, the totals are at every moment the sum of
    the tallies that records hold; reclassified, records and totals are as if nothing had changed.
    """
    random = Random(seed)
    ledger = Ledger()
    for batch in again(told, seed):
        rules = replace(RULES, counting=random.choice(SWITCHES))
        ledger.take(batch, rules)
        assert ledger.rows == ledger.recount
    ledger.reclassify()
    assert ledger.rows == ledger.recount
    never_changed = told_one_by_one(told)
    assert ledger.held == never_changed.held
    assert _messages(ledger.rows) == _messages(never_changed.rows)


def _messages(rows: Rollups) -> Rollups:
    """Return the rows that count messages, not suppressed addresses."""
    return {key: row for key, row in rows.items() if key.family != "suppressed"}


@given(st.binary(min_size=48, max_size=100), seeds)
def test_past_the_cap(many: bytes, seed: int) -> None:
    """Past 32 opens and clicks the same ones are kept in whatever order they came, the earliest 16
    and the latest 16 of each type, and the cut is marked.
    """
    configuration_set, sent_at, (ana,) = MESSAGES["m-1"]
    told = []
    for each in sorted(set(many)):  # a bit says the type, another who, the others when
        at, agent = sent_at + 60_000 * (each & 63), OUTLOOK if each & 64 else "curl/8.7.1"
        held = Click(at, agent=agent, link="a") if each & 128 else Open(at, agent=agent)
        told.append(Event("m-1", Identity(sent_at), (Report(ana, held),), configuration_set))
    ledger = Ledger()
    for batch in again(told, seed):
        ledger.take(batch)
    in_order = Ledger()
    in_order.take(told)
    assert ledger.state == in_order.state
    [record] = ledger.held.values()
    for kind in (EventType.OPEN, EventType.CLICK):
        all_of_it = sorted(
            (event.reports[0].occurrence for event in told if event.type is kind),
            key=lambda held: (held.at, held.key),
        )
        kept = [held for held in record.timeline if held.type is kind]
        cut = len(all_of_it) > 2 * KEPT
        assert kept == (all_of_it[:KEPT] + all_of_it[-KEPT:] if cut else all_of_it)
        assert record.has_cut(kind) is cut


FIVE = [
    sent(),
    delivery(after=1_000),
    bounce(kind="Transient", sub_type="MailboxFull", status="4.2.2", after=9_000),
    opened(after=5_000),
    clicked(after=2 * HOUR),
]
OTHER_FIVE = [
    sent(campaign=None),
    complaint(),
    bounce(),
    opened(agent="Mozilla/5.0", campaign=None),
    delivery(sent_at=NOW - DAY - 412),
]


@pytest.mark.parametrize("five", [FIVE, OTHER_FIVE], ids=["engaged", "complained"])
@pytest.mark.parametrize("doubled", ["each twice", "all twice"])
def test_all_orders(five: list[tuple[str, Event]], doubled: str) -> None:
    """All 120 orders of five events, each doubled, in batches of every size, end in one state."""
    routed = [replace(event, configuration_set="outreach-tracking") for _, event in five]
    expected = told_one_by_one(routed).state
    orders = list(permutations(routed))
    assert len(orders) == 120
    for order in orders:
        twice = [*order, *order] if doubled == "all twice" else [e for e in order for _ in "12"]
        for size in (1, 3, 10):
            ledger = Ledger()
            for start in range(0, len(twice), size):
                ledger.take(twice[start : start + size])
            assert ledger.state == expected


@given(histories(8), events(("m-1",)), seeds)
def test_feedback_before_or_after(told: list[Event], first: Event, seed: int) -> None:
    """A feedback notification that comes before its message, and waits, ends in the same state as one
    that comes after it.
    """
    configuration_set, sent_at, (ana,) = MESSAGES["m-1"]
    about = Identity(sent_at // 1_000 * 1_000, "news@news.example.com")
    feedback = [
        Event("m-1", about, (Report(ana, occurrence),))
        for occurrence in (
            Delivery(sent_at + 1_000, reply="250 OK"),
            Bounce(sent_at + 2_000, kind="Permanent", sub_type="General", status="5.1.1"),
        )
    ]
    known = replace(first, configuration_set=configuration_set)
    early, late, together = Ledger(), Ledger(), Ledger()
    for batch in (feedback, told, [known]):
        early.take(batch)
    for batch in ([known], told, feedback):
        late.take(batch)
    mixed = [*told, known, *feedback]
    Random(seed).shuffle(mixed)
    together.take(mixed)
    assert early.state == late.state == together.state


@given(histories(12))
def test_records_encode_and_decode(told: list[Event]) -> None:
    """A record read back from its bytes is the same record: nothing of it is derived beside it."""
    ledger = told_one_by_one(told)
    for record in ledger.held.values():
        data = msgspec.msgpack.encode(record)
        assert msgspec.msgpack.decode(data, type=type(record)) == record
