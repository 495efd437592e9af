"""A record grows by joining; what is in it never depends on how it grew."""

from itertools import permutations
from typing import Any

import pytest

from sesight.domain.event import (
    TAGS_KEPT,
    Bounce,
    Click,
    Complaint,
    Delivery,
    Event,
    EventType,
    Identity,
    Open,
    Report,
    Send,
)
from sesight.domain.record import KEPT, Record, fold, join_identity, least, tie_breaker
from tests.builders import NOW

AT = NOW
ANA = "ana@contoso.example"


def said(occurrence: Any, spelling: str | None = None, **identity: Any) -> tuple[Event, Report]:
    """Return an event about Ana and its report."""
    report = Report(ANA, occurrence, spelling)
    return Event("m-1", Identity(**{"sent_at": AT, **identity}), (report,)), report


def folded(*told: tuple[Event, Report]) -> Record:
    """Return the record that reports to Ana make."""
    record = None
    for event, report in told:
        record = fold(record, event, report, "outreach")
    assert record is not None
    return record


def opens(*after: int) -> list[tuple[Event, Report]]:
    """Return opens at so many milliseconds after AT."""
    return [said(Open(AT + each, agent="Thunderbird/1")) for each in after]


def test_first() -> None:
    """The first report makes the record: its message, recipient, stream, identity and occurrence."""
    assert folded(said(Send(AT), "Ana@Contoso.example", subject="Winter")) == Record(
        "m-1",
        ANA,
        "outreach",
        Identity(AT, subject="Winter"),
        (Send(AT),),
        0,
        "Ana@Contoso.example",
    )


def test_ordered() -> None:
    """The timeline is ordered by type, then time, then key, however it was told."""
    told = [
        said(Click(AT + 9, link="b")),
        said(Click(AT + 9, link="a")),
        said(Click(AT + 8, link="c")),
        said(Delivery(AT + 99)),
        said(Send(AT)),
    ]
    for order in permutations(told):
        assert folded(*order).timeline == (
            Send(AT),
            Delivery(AT + 99),
            Click(AT + 8, link="c"),
            Click(AT + 9, link="a"),
            Click(AT + 9, link="b"),
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Open(AT, agent="a", ip="203.0.113.0"), Open(AT, agent="a", ip="198.51.100.0")),
        (Open(AT, agent="a"), Open(AT, agent="b")),
        (Open(AT, agent="a"), Open(AT)),
        (Open(AT, agent="a"), Open(AT + 1, agent="a")),
        (Click(AT, link="a"), Click(AT, link="b")),
        (Click(AT, link="a", ip="203.0.113.0"), Click(AT, link="a", ip="198.51.100.0")),
        (Click(AT, agent="a"), Open(AT, agent="a")),
        (Bounce(AT, kind="Transient"), Bounce(AT, kind="Permanent")),
        (Bounce(AT, kind="Permanent", sub_type="General"), Bounce(AT, kind="Permanent")),
    ],
)
def test_two(one: Any, other: Any) -> None:
    """Occurrences that differ in time or key are two."""
    assert len(folded(said(one), said(other)).timeline) == 2


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (Delivery(AT, reply="250"), Delivery(AT, mta="mx"), Delivery(AT, None, "250", "mx")),
        (Delivery(AT, reply="b"), Delivery(AT, reply="a"), Delivery(AT, reply="a")),
        (Delivery(AT, millis=9), Delivery(AT, millis=7), Delivery(AT, millis=7)),
        (
            Bounce(AT, kind="Permanent", status="5.1.1"),
            Bounce(AT, kind="Permanent", action="failed"),
            Bounce(AT, kind="Permanent", status="5.1.1", action="failed"),
        ),
        (Open(AT, bot="Unlikely"), Open(AT, bot="Likely"), Open(AT, bot="Likely")),
        (
            Complaint(AT, kind="abuse"),
            Complaint(AT, candidates=("a@b.example", "c@d.example")),
            Complaint(AT, kind="abuse", candidates=("a@b.example", "c@d.example")),
        ),
        (Send(AT, clock="sent"), Send(AT), Send(AT, clock="sent")),
    ],
)
def test_one(one: Any, other: Any, joined: Any) -> None:
    """Two reports of one occurrence are joined field by field: a value beats none, then the lesser."""
    assert folded(said(one), said(other)).timeline == (joined,)
    assert folded(said(other), said(one)).timeline == (joined,)


def test_known() -> None:
    """A report that says nothing new gives back the same record, not an equal one."""
    record = folded(said(Send(AT)), said(Delivery(AT, reply="250"), "Ana@contoso.example"))
    for event, report in (said(Send(AT)), said(Delivery(AT)), said(Delivery(AT, reply="250"))):
        assert fold(record, event, report, "outreach") is record


def test_the_stream_stays() -> None:
    """A record stays in the stream it was made in."""
    assert fold(folded(said(Send(AT))), *said(Delivery(AT)), "finance").stream == "outreach"


def test_spelling() -> None:
    """Of several spellings the least is kept, and one beats none."""
    told = [said(Send(AT), spelling) for spelling in ("Ana@b", None, "ANA@b")]
    assert {folded(*order).spelling for order in permutations(told)} == {"ANA@b"}


def test_late_tags() -> None:
    """Tags and identity that come with a later event are joined in."""
    told = [
        said(Send(AT + 412), sent_at=AT + 412),
        said(Delivery(AT + 900), sent_at=AT, tags=(("campaign_id", "winter"),), isp="Gmail"),
        said(Open(AT + 999), sent_at=AT + 412, tags=(("step", "2"),), subject="Hello"),
    ]
    for order in permutations(told):
        assert folded(*order).identity == Identity(
            AT,
            None,
            "Hello",
            None,
            None,
            "Gmail",
            (("campaign_id", "winter"), ("step", "2")),
        )


def test_identity_field_by_field() -> None:
    """Each field of the identity is the lesser of the two said; tags are the union of both."""
    one = Identity(2, "a", "b", None, "d", None, (("x", "1"),), "ses")
    other = Identity(1, "b", "a", "c", None, "e", (("x", "2"),), "legacy")
    assert (
        join_identity(one, other)
        == join_identity(other, one)
        == Identity(1, "a", "a", "c", "d", "e", (("x", "1"), ("x", "2")), "legacy")
    )


def test_tags_are_bounded() -> None:
    """Of more than 50 tag pairs the least 50 are kept, in whatever order they came."""
    pairs = [(f"t{n:03d}", "x") for n in range(80)]
    low, high = Identity(1, tags=tuple(pairs[:40])), Identity(1, tags=tuple(pairs[40:]))
    assert join_identity(low, high) == join_identity(high, low)
    assert join_identity(low, high).tags == tuple(pairs[:TAGS_KEPT])


def test_complete_up_to_32() -> None:
    """Up to 32 occurrences of a type all are kept and nothing is said to be left out."""
    record = folded(*opens(*range(2 * KEPT)))
    assert (len(record.timeline), record.capped) == (32, 0)
    assert not record.has_cut(EventType.OPEN)


def test_cap() -> None:
    """Of more than 32 the earliest 16 and the latest 16 are kept, and the type is marked as cut."""
    record = folded(said(Send(AT)), *opens(*range(50)), said(Click(AT)))
    assert [held.at - AT for held in record.timeline] == [
        0,
        *range(16),
        *range(34, 50),
        0,
    ]
    assert [kind for kind in EventType if record.has_cut(kind)] == [EventType.OPEN]


def test_cap_in_any_order() -> None:
    """What the cap keeps does not depend on the order of arrival."""
    forth = folded(*opens(*range(50)))
    assert forth == folded(*opens(*reversed(range(50))))
    assert forth == folded(*opens(*range(0, 50, 2)), *opens(*range(1, 50, 2)))


def test_a_late_click_outlives_a_scanner() -> None:
    """A scanner's 40 clicks of one moment do not hide the click of a person hours later."""
    scanner = [said(Click(AT, link=f"https://a.example/{n:02d}")) for n in range(40)]
    person = said(Click(AT + 7_200_000, link="https://a.example/00"))
    assert folded(person, *scanner).timeline[-1] == person[1].occurrence


def test_what_the_cap_leaves_out_is_known() -> None:
    """An occurrence of the middle, told again, teaches the record nothing."""
    record = folded(*opens(*range(50)))
    [(event, report)] = opens(25)
    assert fold(record, event, report, "outreach") is record


def test_bounces_are_capped_apart() -> None:
    """Each type has its own cap."""
    bounces = [said(Bounce(AT + n, kind="Transient")) for n in range(40)]
    record = folded(*bounces, *opens(*range(40)))
    assert len(record.timeline) == 64
    assert [kind for kind in EventType if record.has_cut(kind)] == [
        EventType.BOUNCE,
        EventType.OPEN,
    ]


@pytest.mark.parametrize(
    ("one", "other", "winner"),
    [(None, None, None), (None, "a", "a"), ("a", None, "a"), ("b", "a", "a"), (0, None, 0)],
)
def test_least(one: object, other: object, winner: object) -> None:
    """Any value beats none, then the lesser wins."""
    assert least(one, other) == winner


def test_of_nobody() -> None:
    """The record of `*` is nobody's."""
    everybody = Report("*", Open(AT))
    record = fold(None, Event("m-1", Identity(AT), (everybody,)), everybody, "outreach")
    assert (record.is_unattributed, folded(said(Send(AT))).is_unattributed) == (True, False)


def test_derived() -> None:
    """A record knows its send time, its campaign and its tags."""
    record = folded(said(Send(AT), tags=(("campaign_name", "winter"), ("step", "2"))))
    assert (record.sent_at, record.campaign, record.tag("step"), record.tag("x")) == (
        AT,
        "winter",
        "2",
        None,
    )


def test_tie() -> None:
    """Records of one millisecond have an order of 15 bits that is the same everywhere."""
    assert tie_breaker("m-1", "ana@example.org") == 7_653
    assert {tie_breaker(f"m-{n}", "a@b.example") >> 15 for n in range(1_000)} == {0}
