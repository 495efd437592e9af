"""Message tags: in SES's characters, never two values as one, never an address."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import TAGS_KEPT, better_name, campaign_name, campaign_of, is_altered
from sesight.send.message import TAGS
from sesight.send.tags import ALTERED_LIMIT, campaign_tags, format_campaign_tag, known_tags

TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")

near = st.text(alphabet="aA0 -_é.@", min_size=1, max_size=12)
"""Short texts, many of which become the same letters."""

texts = st.one_of(near, st.text(min_size=1, max_size=300)).filter(str.strip)
tags = st.from_regex(r"[A-Za-z0-9_-]{1,20}(-[0-9a-f]{8})?", fullmatch=True)
names = st.one_of(texts, tags)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("spring", "spring"),
        ("Q3_2026-final", "Q3_2026-final"),
        ("newsletter-20261001", "newsletter-20261001"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("x" * 256, "x" * 256),
        ("Spring sale!", "Spring-sale-e8e7eac6"),
        ("Frühling 2026", "Fruhling-2026-705a5078"),
        ("v1.2", "v1-2-0e4f5bce"),
        ("春の売り出し", "tag-4f503de6"),
        ("promo-deadbeef", "promo-deadbeef-0c7a4949"),
        ("jo@example.com", "tag-f4e19df2"),
        ("x" * 257, "x" * 55 + "-15eb95a4"),
    ],
)
def test_values(value: str, expected: str) -> None:
    """A value that fits is kept; an altered one keeps its letters and is the same for ever."""
    assert format_campaign_tag(value) == expected


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u3000"])
def test_empty(value: str) -> None:
    """Nothing is no tag: it would be refused by SES, or be everybody's campaign."""
    with pytest.raises(InvalidRequest):
        format_campaign_tag(value)


@settings(max_examples=200)
@given(names)
def test_characters(value: str) -> None:
    """Whatever the value, its tag is one to SES; what was altered says so and is short."""
    tag = format_campaign_tag(value)
    assert TAG.fullmatch(tag)
    assert tag == value or (is_altered(tag) and len(tag) <= ALTERED_LIMIT)


@settings(max_examples=200)
@given(names, names)
def test_apart(one: str, other: str) -> None:
    """Two values never have one tag."""
    assert (format_campaign_tag(one) == format_campaign_tag(other)) == (one == other)


@settings(max_examples=200)
@given(names)
def test_not_an_altered_one(value: str) -> None:
    """Who names a campaign as another one's tag reads does not get that one's."""
    tag = format_campaign_tag(value)
    assert tag == value or format_campaign_tag(tag) != tag


@settings(max_examples=200)
@given(
    st.from_regex(r"[a-z]{4,12}", fullmatch=True),
    st.sampled_from(["@", "＠", "﹫", "%40"]),
    st.sampled_from(["{}", "Jo <{}>", "campaign for {}", "{}-deadbeef"]),
)
def test_no_address(local: str, at: str, around: str) -> None:
    """Nothing of a value with an address in it is left in its tag."""
    value = around.format(f"{local}{at}example.com")
    assert re.fullmatch(r"tag-[0-9a-f]{8}", format_campaign_tag(value))
    assert known_tags({}, value) == ()


@settings(max_examples=200)
@given(names)
def test_the_name_is_kept(name: str) -> None:
    """Of a name and the tag it became, in any order, the name is the one to show."""
    tag = format_campaign_tag(name)
    cleaned = dict(known_tags({}, name)).get("campaign_name")
    shown = cleaned or tag
    assert better_name(shown, tag) == better_name(tag, shown) == shown


def test_tags() -> None:
    """A message has our tags and SES's two of feedback, and no more than SES is given."""
    tags = campaign_tags(
        stream="finance",
        campaign="Payouts 2026-10",
        send_id="0a1b2c3d4e5f60718293",
        name="Payouts, October",
        kind="statement",
        step="1",
        variant="a",
        month="2026-10",
        attempt=2,
    )
    assert tags == {
        "campaign_id": "Payouts-2026-10-950e40dd",
        "campaign_name": "Payouts-October-0acd0ac3",
        "campaign_type": "statement",
        "campaign_step": "1",
        "campaign_variant": "a",
        "campaign_month": "2026-10",
        "campaign_attempt": "2",
        "send_id": "0a1b2c3d4e5f60718293",
        "ses:feedback-id-a": "finance",
        "ses:feedback-id-b": "Payouts-2026-10-950e40dd",
    }
    assert len(tags) <= TAGS
    known = known_tags(tags, "Payouts, October")
    assert campaign_name(known) == "Payouts, October"
    assert campaign_of(known) == "Payouts-2026-10-950e40dd"
    assert dict(known).keys() == tags.keys() - {
        "send_id",
        "ses:feedback-id-a",
        "ses:feedback-id-b",
    }


def test_few_tags() -> None:
    """What is not said has no tag; a campaign without a name is named as it is."""
    assert campaign_tags(stream="outreach", campaign="Spring!", send_id="s1") == {
        "campaign_id": "Spring-82b237e2",
        "campaign_name": "Spring-82b237e2",
        "send_id": "s1",
        "ses:feedback-id-a": "outreach",
        "ses:feedback-id-b": "Spring-82b237e2",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"campaign": ""},
        {"step": " "},
        {"send_id": "a b"},
        {"send_id": ""},
        {"send_id": "jo@example.com"},
        {"month": "2026-13"},
        {"month": "October"},
        {"month": "２０２６-10"},
        {"attempt": 0},
    ],
)
def test_refused(wrong: dict[str, object]) -> None:
    """What no tag can say is refused before anything is sent."""
    asked = {"stream": "outreach", "campaign": "c", "send_id": "s1", **wrong}
    with pytest.raises(InvalidRequest):
        campaign_tags(**asked)


def test_bound() -> None:
    """No more tags are told of a message than a record keeps."""
    assert len(known_tags({f"t{n:03}": "x" for n in range(80)}, "n")) == TAGS_KEPT
