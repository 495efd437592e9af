"""Edge cases 14 to 23: whose event it is, and how an address is written."""

import pytest

from sesight.domain.event import Bounce
from sesight.domain.outcome import Outcome, derive_facts
from tests.payload import GONE, body, payload, raw
from tests.reception import Reception

SENT = payload("send")["mail"]["messageId"]
MIXED = payload("bounce_two_of_three_recipients_mixed_status")["mail"]["messageId"]
GENERAL = payload("bounce_permanent_general")["mail"]["messageId"]


def recipients(reception: Reception, message_id: str = SENT) -> list[str]:
    """Return the recipients of whom a message has records."""
    return sorted(record.recipient for record in reception.records(message_id))


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("Ana B <ana@example.org>", "ana@example.org"),
        ('"Gone, A." <gone@example.org>', "gone@example.org"),
    ],
)
def test_14_display_name(reception: Reception, written: str, address: str) -> None:
    """A display name, even with a comma, is no part of the address."""
    reception.take(body("send", {"mail.destination": [written]}))
    assert recipients(reception) == [address]


def test_15_angle_brackets(reception: Reception) -> None:
    """An address in angle brackets is the same one as without."""
    found = payload("feedback_bounce_without_headers")["mail"]["messageId"]
    send = body("send", {"mail.messageId": found, "mail.destination": ["full@example.org"]})
    bounce = raw("feedback_bounce_without_headers.json")
    assert reception.take(send, bounce) == ["created", "updated"]
    assert recipients(reception, found) == ["full@example.org"]


def test_16_upper_case(reception: Reception) -> None:
    """Spellings of one address meet in one record and one suppression; the original is kept."""
    spelled = {"mail.destination": ["Gone@Example.ORG"]}
    reception.take(raw("bounce_permanent_general.json"))
    spelled["bounce.bouncedRecipients"] = [{"emailAddress": "Gone@Example.ORG", "status": "5.1.1"}]
    assert reception.take(body("bounce_permanent_general", spelled)) == ["updated"]
    assert recipients(reception, GENERAL) == ["gone@example.org"]
    assert reception.record(GENERAL, "gone@example.org").spelling == "Gone@Example.ORG"
    item = reception.item("gone@example.org")
    assert item is not None
    assert item.spelling == "Gone@Example.ORG"


def test_17_plus_and_dots(reception: Reception) -> None:
    """Variants with plus or dots are different addresses."""
    written = ["ana@example.org", "ana+x@example.org", "a.na@example.org"]
    reception.take(body("send", {"mail.destination": written}))
    assert recipients(reception) == sorted(written)


def test_18_international_domain(reception: Reception) -> None:
    """A domain in letters and its A-label are one."""
    reception.take(
        body("send", {"mail.destination": ["u@bücher.example"]}),
        body(
            "delivery",
            {
                "mail.destination": ["u@xn--bcher-kva.example"],
                "delivery.recipients": ["u@xn--bcher-kva.example"],
            },
        ),
    )
    assert recipients(reception) == ["u@xn--bcher-kva.example"]


def test_19_non_ascii_local_part(reception: Reception) -> None:
    """A local part that SES could not send to is stored all the same."""
    assert reception.take(body("send", {"mail.destination": ["josé@example.org"]})) == ["created"]
    assert recipients(reception) == ["josé@example.org"]


@pytest.mark.parametrize("written", ['"a b"@example.org', "undisclosed-recipients:;", "nobody"])
@pytest.mark.parametrize("name", ["bounce_permanent_general", "complaint"])
def test_20_what_does_not_parse(reception: Reception, written: str, name: str) -> None:
    """What does not parse is stored and suppressed as it is spelled."""
    key = name.partition("_")[0]
    named = {"bounce": "bouncedRecipients", "complaint": "complainedRecipients"}[key]
    data = body(
        name,
        {"mail.destination": [written], f"{key}.{named}": [{"emailAddress": written}]},
    )
    assert reception.take(data) == ["created"]
    assert recipients(reception, payload(name)["mail"]["messageId"]) == [written]
    assert reception.suppressed(written) == {"bounce": "bounced"}.get(key, key)


@pytest.mark.parametrize(
    ("destination", "named"),
    [
        (["Jane Doe jane@example.org"], "jane@example.org"),
        (["jane@example.org, bo@example.org"], "jane@example.org"),
        (['"jane.doe"@example.org'], "jane.doe@example.org"),
        (['"jane.doe"@example.org'], '"jane.doe"@example.org'),
        (["Jane"], "jane@example.org"),
        (["undisclosed-recipients:;", "bo@example.org"], "jane@example.org"),
        ([f"{'Ж' * 300} <jane@example.org>"], "jane@example.org"),
        ([f"{'Ж' * 300} <jane@example.org>"], f"{'Ж' * 300} <jane@example.org>"),
        (["jane@ｅｘａｍｐｌｅ.org"], "jane@example.org"),
        ("jane@example.org", "Jane <JANE@example.org>"),
        (None, "jane@example.org"),
    ],
)
@pytest.mark.parametrize("name", ["bounce_permanent_general", "complaint"])
def test_20_whoever_is_named(
    reception: Reception, destination: object, named: str, name: str
) -> None:
    """An address that a bounce or complaint names is suppressed whatever `destination` looks like, and
    for what it did itself.
    """
    key = name.partition("_")[0]
    members = {"bounce": "bouncedRecipients", "complaint": "complainedRecipients"}[key]
    data = body(
        name, {"mail.destination": destination, f"{key}.{members}": [{"emailAddress": named}]}
    )
    assert reception.take(data) == ["created"]
    address = "jane.doe@example.org" if "jane.doe" in named else "jane@example.org"
    assert reception.suppressed(address) == {"bounce": "bounced"}.get(key, key)
    assert reception.item("bo@example.org") is None


def test_20_two_in_one_text(reception: Reception) -> None:
    """Two mailboxes in one text are two recipients."""
    reception.take(body("send", {"mail.destination": ["Ana <ana@example.org>, bo@example.org"]}))
    assert recipients(reception) == ["ana@example.org", "bo@example.org"]


def test_21_several_bounced_recipients(reception: Reception) -> None:
    """Each bounced recipient has an outcome by its own status; the one not named has none."""
    reception.take(raw("bounce_two_of_three_recipients_mixed_status.json"))
    assert {
        record.recipient: derive_facts(record.timeline).outcome
        for record in reception.records(MIXED)
    } == {
        "bo@example.net": Outcome.BOUNCED,
        "cy@example.org": Outcome.SOFT_BOUNCED,
    }
    assert [
        reception.suppressed(f"{each}")
        for each in ("ana@example.org", "bo@example.net", "cy@example.org")
    ] == [None, "bounced", None]


@pytest.mark.parametrize("empty", [[], GONE, None])
def test_22_nobody_named(reception: Reception, empty: object) -> None:
    """A bounce that names nobody is kept with the message and suppresses nobody."""
    reception.take(
        body("bounce_two_of_three_recipients_mixed_status", {"bounce.bouncedRecipients": empty})
    )
    assert recipients(reception, MIXED) == ["*"]
    for address in payload("bounce_two_of_three_recipients_mixed_status")["mail"]["destination"]:
        assert reception.item(address) is None
    assert reception.totals() == {}


def test_22_nobody_named_of_one(reception: Reception) -> None:
    """Where the message went to one address the bounce is that one's, but does not suppress it."""
    reception.take(body("bounce_permanent_general", {"bounce.bouncedRecipients": []}))
    assert recipients(reception, GENERAL) == ["gone@example.org"]
    assert reception.totals() == {"recipients": 1, "bounced": 1, "sent": 1, "attempted": 1}
    assert reception.item("gone@example.org") is None


FORWARDED = [{"emailAddress": "elsewhere@example.net", "status": "5.1.1", "action": "failed"}]


def test_23_forwarded_of_one(reception: Reception) -> None:
    """A bounce of an address we did not send to is the only recipient's; the other is a detail, and
    only the address that we sent to is suppressed.
    """
    reception.take(body("bounce_permanent_general", {"bounce.bouncedRecipients": FORWARDED}))
    [held] = reception.record(GENERAL, "gone@example.org").timeline
    assert isinstance(held, Bounce)
    assert held.final == "elsewhere@example.net"
    assert reception.suppressed("gone@example.org") == "bounced"
    assert reception.item("elsewhere@example.net") is None


def test_23_complaint_of_one_and_a_stranger(reception: Reception) -> None:
    """A complaint that names a recipient and somebody the message did not go to is the recipient's."""
    reception.take(
        body(
            "complaint",
            {
                "mail.destination": ["ana@example.org", "bo@example.org"],
                "complaint.complainedRecipients": [
                    {"emailAddress": "ana@example.org"},
                    {"emailAddress": "elsewhere@example.net"},
                ],
            },
        )
    )
    assert recipients(reception, payload("complaint")["mail"]["messageId"]) == ["ana@example.org"]
    assert reception.suppressed("ana@example.org") == "complaint"
    assert reception.item("elsewhere@example.net") is None


def test_23_forwarded_of_several(reception: Reception) -> None:
    """Of several recipients nobody knows whose forward bounced."""
    reception.take(
        body(
            "bounce_two_of_three_recipients_mixed_status",
            {"bounce.bouncedRecipients": FORWARDED},
        )
    )
    assert recipients(reception, MIXED) == ["*"]
    [held] = reception.record(MIXED, "*").timeline
    assert isinstance(held, Bounce)
    assert held.final == "elsewhere@example.net"
    assert reception.item("elsewhere@example.net") is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("send", "mail.destination"),
        ("delivery", "mail.destination"),
        ("delivery", "delivery.recipients"),
        ("bounce_permanent_general", "bounce.bouncedRecipients"),
        ("delivery_delay", "deliveryDelay.delayedRecipients"),
    ],
)
def test_21_more_recipients_than_ses_allows(reception: Reception, name: str, field: str) -> None:
    """An event that names more recipients than a message can have is quarantined, never cut off."""
    data = body(name, {field: [f"u{n}@example.org" for n in range(101)]})
    assert reception.take(data) == ["quarantined too-many-recipients"]
    assert reception.quarantine() == [("too-many-recipients", data)]
