"""The words of events and what names a campaign."""

import pytest

from sesight.domain.event import (
    TAGS_KEPT,
    UNTAGGED,
    Bounce,
    Click,
    Complaint,
    Delivery,
    Event,
    EventType,
    Identity,
    Occurrence,
    Open,
    Report,
    Send,
    Subscription,
    better_name,
    campaign_name,
    campaign_of,
    is_altered,
    kept_tags,
    tag_value,
)
from tests.builders import NOW


def kinds() -> list[type[Occurrence]]:
    """Return every kind of occurrence."""
    return Occurrence.__subclasses__()


def test_every_type_has_an_occurrence() -> None:
    """Each of SES's ten types, and our own Accepted, is kept as an occurrence of its own."""
    assert [kind.type for kind in kinds()] == list(EventType)


@pytest.mark.parametrize(
    ("occurrence", "key"),
    [
        (Send(NOW), ()),
        (Delivery(NOW, reply="250 OK"), ()),
        (Complaint(NOW, kind="abuse"), ()),
        (Bounce(NOW, kind="Permanent", reply="x"), ((True, "Permanent"), (False, ""))),
        (Open(NOW, agent="", bot="Likely"), ((True, ""), (False, ""))),
        (
            Click(NOW, agent="a", ip="203.0.113.0", link="l"),
            ((True, "l"), (True, "a"), (True, "203.0.113.0")),
        ),
        (Subscription(NOW, contact_list="news", source="x"), ((True, "news"),)),
    ],
)
def test_keys(occurrence: Occurrence, key: tuple[tuple[bool, str], ...]) -> None:
    """Beside type and time, an occurrence is known by link, user agent and IP, by a bounce's type and
    sub type, by a contact list, or by nothing; an absent value is not an empty one.
    """
    assert occurrence.key == key


@pytest.mark.parametrize(
    ("bounce", "reported"),
    [
        (Bounce(NOW, kind="Transient", sub_type="General", reply="smtp; 550"), False),
        (Bounce(NOW, action="failed"), True),
        (Bounce(NOW, status="5.1.1"), True),
        (Bounce(NOW, mta="dns; a.example"), True),
        (Bounce(NOW, action="", status="", mta=""), False),
    ],
)
def test_reported(bounce: Bounce, reported: bool) -> None:
    """A bounce came with a delivery report if it has an action, a status or a reporting MTA."""
    assert bounce.reported is reported


def test_type_of_an_event() -> None:
    """An event is of the type of its reports."""
    told = Event("m-1", Identity(NOW), (Report("a@b.example", Open(NOW)),))
    assert told.type is EventType.OPEN


@pytest.mark.parametrize(
    ("tags", "campaign"),
    [
        ((), UNTAGGED),
        ((("team", "x"),), UNTAGGED),
        ((("campaign", "c"), ("campaign_id", "i"), ("campaign_name", "n")), "i"),
        ((("campaign", "c"), ("campaign_name", "n")), "n"),
        ((("campaign", "c"),), "c"),
        ((("campaign_id", "a"), ("campaign_id", "b")), "a"),
        ((("campaign_id", ""),), UNTAGGED),
        ((("campaign", "c"), ("campaign_id", "")), "c"),
    ],
)
def test_campaign(tags: tuple[tuple[str, str], ...], campaign: str) -> None:
    """The campaign is `campaign_id`, else `campaign_name`, else `campaign`, the least value of it; an
    empty value names none.
    """
    assert campaign_of(tags) == campaign


def test_tag_value() -> None:
    """A tag's value is the least of several, None if the tag is missing."""
    tags = (("a", "1"), ("b", "2"), ("b", "3"))
    assert [tag_value(tags, name) for name in "abc"] == ["1", "2", None]


@pytest.mark.parametrize(
    ("value", "altered"),
    [
        ("Spring-3f2a9c10", True),
        ("a--3f2a9c10", True),
        ("Spring-20261001", False),
        ("Spring-3F2A9C10", False),
        ("Spring-3f2a9c1", False),
        ("Spring-3f2a9c100", False),
        ("-3f2a9c10", False),
        ("Sprüng-3f2a9c10", False),
        ("Spring-3f2a9c10\n", False),
    ],
)
def test_altered(value: str, altered: bool) -> None:
    """A tag altered to fit ends in 8 hex digits; a date does not make one."""
    assert is_altered(value) is altered


def test_campaign_names() -> None:
    """Of several names of a campaign the one its owner wrote is shown, whatever sorts first."""
    assert campaign_name(()) is None
    tags = (("campaign_name", "Uber-3f2a9c10"), ("campaign_name", "Über"), ("x", "A"))
    assert campaign_name(tags) == "Über"
    assert [better_name(*pair) for pair in ((None, "b"), ("b", None), ("b", "a"))] == [
        "b",
        "b",
        "a",
    ]


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u2003"])
def test_blank_tags(blank: str) -> None:
    """A tag that is blank is none: the next one names the campaign, and the first attempt is one."""
    tags = (("campaign_attempt", blank), ("campaign_id", blank), ("campaign_name", "winter"))
    assert campaign_of(tags) == "winter"
    assert campaign_of((("campaign_id", blank), ("campaign_id", "b"))) == "b"
    assert campaign_of((("campaign_id", blank),)) == UNTAGGED
    assert tag_value(tags, "campaign_attempt") is None
    assert campaign_name((("campaign_name", blank),)) is None


def test_tags_that_are_kept() -> None:
    """Of too many tags those that name and divide campaigns are kept first, then the least; kept in
    parts they are the same as kept at once.
    """
    many = [(f"a{n:03d}", "x") for n in range(56)]
    ours = [("campaign_id", "winter"), ("campaign_step", "2"), ("campaign", "w")]
    kept = kept_tags([*many, *ours])
    assert kept == tuple(sorted([*many[: TAGS_KEPT - 3], *ours]))
    assert campaign_of(kept) == "winter"
    assert kept_tags([*kept_tags([*ours[:1], *many]), *kept_tags([*many[20:], *ours[1:]])]) == kept
    assert kept_tags(many[:3][::-1] * 2) == tuple(many[:3])


@pytest.mark.parametrize(
    ("kind", "statuses", "harder"),
    [
        ("Permanent", ("4.0.0", "5.1.1"), "5.1.1"),
        ("Permanent", ("4.0.0", None), None),
        ("Permanent", ("5.7.1", None), "5.7.1"),
        ("Permanent", ("5.7.1", "5.1.1"), "5.1.1"),
        ("Transient", ("4.2.2", None), "4.2.2"),
        ("Transient", ("4.2.2", "5.1.1"), "5.1.1"),
        ("Undetermined", ("odd", None), "odd"),
    ],
)
def test_the_harder_status(kind: str, statuses: tuple[str | None, ...], harder: str | None) -> None:
    """Of two reports of one bounce the status holds that is the harder for its recipient."""
    one, other = (Bounce(NOW, kind=kind, status=status) for status in statuses)
    assert (one.harder(other), other.harder(one)) == (harder, harder)
