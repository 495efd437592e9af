"""One record as the API answers it, whole, and what must be null in it."""

from contextlib import closing
from dataclasses import replace

from msgspec import to_builtins

from sesight.domain.event import UNATTRIBUTED
from sesight.services.recipient_id import encode
from sesight.services.records import message_record, safe_link
from sesight.store import open_store
from tests.builders import (
    APPLE_MPP,
    bounce,
    clicked,
    complaint,
    delay,
    delivery,
    folded,
    not_rendered,
    opened,
    rejected,
    sent,
    unsubscribed,
)


def answered(services, *told):
    (record,) = folded(told).values()
    return to_builtins(message_record(record, services))


def test_whole(services) -> None:
    """A message that was delivered, opened by a machine and a person, and clicked."""
    found = answered(
        services,
        sent(isp="Gmail", template="intro", tags={"campaign_name": "Winter"}),
        delivery(),
        opened(after=4_000, agent=APPLE_MPP),
        opened(after=7_200_000),
        clicked(after=10_800_000),
    )
    assert found == {
        "messageId": "m-1",
        "recipient": "ana@contoso.example",
        "recipientId": encode("ana@contoso.example", services.recipient_key),
        "attributedTo": "ana@contoso.example",
        "stream": "outreach",
        "provider": "ses",
        "mailbox": "gmail",
        "campaign": "winter-b",
        "month": None,
        "attempt": None,
        "subject": "Winter",
        "sender": "news@news.example.com",
        "template": "intro",
        "tags": {"campaign_id": ["winter-b"], "campaign_name": ["Winter"]},
        "sentAt": "2026-11-23T12:00:00.000Z",
        "outcome": "delivered",
        "reason": None,
        "reasonText": None,
        "lastEvent": "Click",
        "lastEventAt": "2026-11-23T15:00:00.000Z",
        "deliveredAt": "2026-11-23T12:00:01.300Z",
        "deliveryMillis": 1300,
        "openedAt": "2026-11-23T14:00:00.000Z",
        "lastOpenedAt": "2026-11-23T14:00:00.000Z",
        "opens": 2,
        "machineOpens": 1,
        "clickedAt": "2026-11-23T15:00:00.000Z",
        "lastClickedAt": "2026-11-23T15:00:00.000Z",
        "clicks": 1,
        "machineClicks": 0,
        "links": [{"url": "https://example.com/pricing", "clicks": 1}],
        "bouncedAt": None,
        "bounceType": None,
        "bounceSubType": None,
        "diagnostic": None,
        "complainedAt": None,
        "complaintType": None,
        "unsubscribedAt": None,
        "delayedAt": None,
        "expiresAt": "2027-02-22T00:00:00.000Z",
        "capped": [],
        "timeline": [
            entry("Send", "12:00:00.000"),
            entry("Delivery", "12:00:01.300", reply="250 2.0.0 OK"),
            entry(
                "Open",
                "12:00:04.000",
                who="machine",
                rule="apple-mpp",
                client="Apple Mail Privacy Protection",
            ),
            entry("Open", "14:00:00.000", who="human", rule="client", client="Outlook"),
            entry(
                "Click",
                "15:00:00.000",
                who="human",
                rule="client",
                client="Outlook",
                link="https://example.com/pricing",
            ),
        ],
    }


def entry(event: str, at: str, **about: str) -> dict[str, str | None]:
    names = ("who", "rule", "client", "link", "reply", "type", "subType", "clock")
    return {
        "event": event,
        "at": f"2026-11-23T{at}Z",
        **dict.fromkeys(names),
        **about,
    }


def test_bounced(services) -> None:
    """A bounce gives its reason as a code and in words, its type as SES says it, and its cause."""
    found = answered(services, delay(), bounce(after=900_000))
    about = ("outcome", "reason", "reasonText", "bounceType", "bounceSubType", "diagnostic")
    assert [found[name] for name in about] == [
        "bounced",
        "no-such-mailbox",
        "The mailbox does not exist",
        "Permanent",
        "General",
        "smtp; 550 5.1.1 no such user",
    ]
    assert found["bouncedAt"] == "2026-11-23T12:15:00.000Z"
    assert found["delayedAt"] == "2026-11-23T12:10:00.000Z"


def test_auto_reply(services) -> None:
    """An auto-reply is no bounce."""
    found = answered(
        services, delivery(), bounce(kind="Transient", status=None, after=5_000, action=None)
    )
    assert (found["outcome"], found["bouncedAt"]) == ("delivered", None)


def test_facts_beside_the_outcome(services) -> None:
    """Complaints and unsubscribes have their times, and imply that the message was delivered."""
    found = answered(services, complaint(), unsubscribed())
    about = ("outcome", "deliveredAt", "complainedAt", "complaintType", "unsubscribedAt")
    assert [found[name] for name in about] == [
        "delivered",
        None,
        "2026-11-23T13:00:00.000Z",
        "abuse",
        "2026-11-23T16:00:00.000Z",
    ]


def test_times_that_are_not_sess_own(services) -> None:
    """An occurrence without a time of its own has the send time, and says so."""
    for told, cause in ((rejected(), "Bad content"), (not_rendered(), "no name")):
        found = answered(services, told)
        assert found["diagnostic"] == cause
        assert [(held["clock"], held["reply"]) for held in found["timeline"]] == [("sent", cause)]


def test_nobody(services) -> None:
    """What cannot be attributed is shown as such: no outcome, no mailbox, nobody's id."""
    found = answered(services, opened(UNATTRIBUTED))
    about = ("recipient", "recipientId", "attributedTo", "outcome", "mailbox", "opens")
    assert [found[name] for name in about] == ["*", None, None, None, None, 1]


def test_capped(services) -> None:
    """Event types of which some were left out are named."""
    found = answered(services, *[opened(after=n * 60_000) for n in range(60)])
    assert (found["capped"], found["opens"]) == (["Open"], 32)


def test_statement(services) -> None:
    """A stream with months says of which month a statement is, and at which attempt it went."""
    found = answered(
        services,
        delivery(stream="finance", tags={"campaign_month": "2026-10", "campaign_attempt": "2"}),
    )
    assert (found["month"], found["attempt"]) == ("2026-10", "resend")


def test_kept_for_ever(services, tmp_path) -> None:
    """In a store that keeps records for ever nothing expires."""
    with closing(open_store(f"sqlite:///{tmp_path}/for-ever.db", retention_days=0)) as store:
        assert answered(replace(services, store=store), sent())["expiresAt"] is None


def test_links() -> None:
    """Web addresses and link tags are shown whole; of anything else no more than its scheme."""
    assert [
        safe_link(link)
        for link in (
            *("https://a.example/x", "javascript:alert(1)", "mailto:", "pricing", None),
            *("pos:header", "product:p42;slot:hero"),
        )
    ] == [
        *("https://a.example/x", "javascript:", "mailto:", "pricing", "~unreadable"),
        *("pos:header", "product:p42;slot:hero"),
    ]
