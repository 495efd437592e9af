"""Edge cases 24 to 40: what happened, how often, in what order, and what SES calls it."""

from pathlib import Path

import pytest

from sesight.domain.errors import StoreUnavailable
from sesight.domain.event import EventType, Open, Reject, Send
from sesight.domain.outcome import Outcome, derive_facts
from sesight.domain.reason import reason_of
from sesight.ingest.reader import read
from tests.payload import GONE, body, payload, raw
from tests.reception import Reception

SENT = payload("send")["mail"]["messageId"]
ANA = "ana@example.org"

BOUNCED = {"mail.messageId": SENT, "mail.destination": [ANA]} | {
    "bounce.bouncedRecipients": [{"emailAddress": ANA, "status": "5.1.1", "action": "failed"}]
}


def one(name: str, **more: object) -> bytes:
    """Return a payload as an event of the message of send.json."""
    return body(name, {"mail.messageId": SENT, "mail.destination": [ANA], **more})


def outcome(reception: Reception) -> Outcome:
    """Return what became of the message for Ana."""
    return derive_facts(reception.record(SENT, ANA).timeline).outcome


def test_24_auto_reply(reception: Reception) -> None:
    """An out-of-office answer is no bounce and suppresses nobody: it has a count of its own."""
    reception.take(raw("bounce_transient_auto_reply_no_dsn.json"))
    assert reception.totals() == {
        "recipients": 1,
        "pending": 1,
        "sent": 1,
        "attempted": 1,
        "autoReplied": 1,
    }
    assert reception.item("away@example.org") is None


@pytest.mark.parametrize("bounce_first", [True, False])
def test_25_bounce_and_delivery(reception: Reception, bounce_first: bool) -> None:
    """The outcome goes by rank, not by what came last, and both facts are kept."""
    order = [body("bounce_permanent_general", BOUNCED), raw("delivery.json")]
    for each in order if bounce_first else reversed(order):
        reception.take(each)
    assert outcome(reception) is Outcome.BOUNCED
    assert reception.totals() == {
        "recipients": 1,
        "bounced": 1,
        "sent": 1,
        "attempted": 1,
        "reached": 1,
    }


def test_26_open_before_delivery(reception: Reception) -> None:
    """An open implies delivered, but no Delivery is made up: its time stays unknown."""
    reception.take(one("open"))
    said = derive_facts(reception.record(SENT, ANA).timeline)
    assert (said.outcome, said.delivered_at) == (Outcome.DELIVERED, None)
    assert [held.type for held in reception.record(SENT, ANA).timeline] == [EventType.OPEN]
    reception.take(raw("send.json"), raw("delivery.json"))
    assert derive_facts(reception.record(SENT, ANA).timeline).delivered_at == 1_794_644_131_690


def test_27_unknown_message(reception: Reception) -> None:
    """An event of a message never heard of makes its record, or waits for it where it cannot be
    routed; nothing fails.
    """
    assert reception.take(raw("delivery.json")) == ["created"]
    assert reception.take(raw("feedback_delivery.json")) == ["quarantined unrouted"]


def test_28_exact_duplicate(reception: Reception) -> None:
    """The same notification twice is known by its content: the second changes nothing."""
    data = raw("sns_http_notification_sigv1.json")
    assert reception.take(data) == ["created"]
    before = reception.totals(), reception.records(SENT), reception.quarantine()
    assert reception.take(data) == ["duplicate"]
    assert (reception.totals(), reception.records(SENT), reception.quarantine()) == before


def test_29_crash(tmp_path: Path) -> None:
    """What could not be committed has left no mark: the next delivery counts it, once."""
    first = Reception(tmp_path)
    first.store.close()
    with pytest.raises(StoreUnavailable):
        first.take(raw("delivery.json"))
    second = Reception(tmp_path)
    assert second.take(raw("delivery.json")) == ["created"]
    assert second.take(raw("delivery.json")) == ["duplicate"]
    assert second.totals()["delivered"] == 1
    second.store.close()


def test_30_same_fact_twice_published(reception: Reception) -> None:
    """One fact by two notifications, and by both of SES's families, is one."""
    feedback = body(
        "feedback_bounce", {**BOUNCED, "bounce.bounceSubType": "General", "mail.tags": GONE}
    )
    event = body("bounce_permanent_general", BOUNCED)
    assert reception.take(event, feedback, raw("sns_http_notification_sigv1.json")) == [
        "created",
        "updated",
        "created",
    ]
    assert reception.take(raw("sns_http_notification_sigv2.json"), event) == ["duplicate"] * 2
    assert len(reception.record(SENT, ANA).timeline) == 1
    assert reception.totals()["bounced"] == 2


def test_31_two_opens_in_a_second(reception: Reception) -> None:
    """Two real opens of one client in the same second are two if their times differ."""
    times = ["2026-11-14T19:44:10.882Z", "2026-11-14T19:44:10.883Z"]
    reception.take(*[one("open", **{"open.timestamp": at}) for at in times])
    assert reception.totals()["opens"] == 2


def test_32_two_events_in_a_millisecond(reception: Reception) -> None:
    """Send and Reject share their time and are two facts; so are one event's recipients."""
    reception.take(raw("send.json"), one("reject"))
    at = 1_794_644_130_412
    assert reception.record(SENT, ANA).timeline == (Send(at), Reject(at, "sent", "Bad content"))
    reception.take(raw("delivery_partial_of_multi_recipient.json"))
    partial = payload("delivery_partial_of_multi_recipient")["mail"]["messageId"]
    assert [each.recipient for each in reception.records(partial)] == [ANA, "cy@example.org"]


@pytest.mark.parametrize(("name", "counter"), [("open", "Opens"), ("click", "Clicks")])
def test_33_several_recipients(reception: Reception, name: str, counter: str) -> None:
    """An open or click of a message to three is nobody's, and is counted once."""
    three = {"mail.destination": [ANA, "bo@example.net", "cy@example.org"]}
    reception.take(
        body("send", {**three, "mail.messageId": SENT}),
        body(name, three | {"mail.messageId": SENT}),
    )
    assert reception.totals() == {
        "recipients": 3,
        "pending": 3,
        "sent": 3,
        "attempted": 3,
        f"unattributed{counter}": 1,
    }


def test_34_candidates(reception: Reception) -> None:
    """A complaint with several candidates is one complaint; each candidate is suppressed as one."""
    reception.take(raw("complaint_candidates_multi_recipient_no_report.json"))
    assert reception.totals() == {"complained": 1}
    assert [reception.suppressed(each) for each in (ANA, "bo@example.net", "cy@example.org")] == [
        "complaint-candidate",
        None,
        "complaint-candidate",
    ]


def test_35_not_spam(reception: Reception) -> None:
    """`not-spam` is no complaint and suppresses nobody."""
    reception.take(raw("complaint_not_spam_correction.json"))
    assert "complained" not in reception.totals()
    assert reception.item(ANA) is None


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("bounce_permanent_on_account_suppression_list", "gone@example.org"),
        ("complaint_on_account_suppression_list", ANA),
    ],
)
def test_36_on_account_list(reception: Reception, name: str, address: str) -> None:
    """What SES did not attempt is suppressed, no bounce, no complaint, and is mirrored in our list."""
    reception.take(raw(f"{name}.json"))
    assert reception.totals() == {"recipients": 1, "suppressed": 1, "sent": 1}
    assert reception.suppressed(address) == "account-list"


@pytest.mark.parametrize("sub_type", ["OnAccountSuppressionList", "OnTenantSuppressionList"])
def test_36_several_on_account_list(reception: Reception, sub_type: str) -> None:
    """Each recipient that such a complaint names was not attempted and is suppressed; the others of
    the message are as they were.
    """
    name = "complaint_candidates_multi_recipient_no_report"
    message_id = payload(name)["mail"]["messageId"]
    people = payload(name)["mail"]["destination"]
    reception.take(
        body("send", {"mail.messageId": message_id, "mail.destination": people}),
        body(name, {"complaint.complaintSubType": sub_type}),
    )
    assert reception.totals() == {
        "recipients": 3,
        "suppressed": 2,
        "pending": 1,
        "sent": 3,
        "attempted": 1,
    }
    assert [reception.suppressed(each) for each in (ANA, "bo@example.net", "cy@example.org")] == [
        "account-list",
        None,
        "account-list",
    ]


@pytest.mark.parametrize(
    ("kind", "counter", "reason"),
    [
        ("Permanent", "bounced", "bounced"),
        ("Transient", "softBounced", None),
        ("NewKind", "softBounced", None),
    ],
)
def test_37_unknown_sub_types(
    reception: Reception, kind: str, counter: str, reason: str | None
) -> None:
    """A sub type never heard of is kept verbatim, and the bounce's type decides."""
    reception.take(
        body(
            "bounce_permanent_general",
            {
                "bounce.bounceType": kind,
                "bounce.bounceSubType": "NewThing",
                "bounce.bouncedRecipients": [
                    {"emailAddress": "gone@example.org", "action": "failed"}
                ],
            },
        )
    )
    assert reception.totals()[counter] == 1
    assert reception.suppressed("gone@example.org") == reason


def test_37_unknown_delay_and_feedback_types(reception: Reception) -> None:
    """Delay and feedback types never heard of are a delay and a complaint."""
    reception.take(
        body("delivery_delay", {"deliveryDelay.delayType": "NewThing"}),
        body("complaint", {"complaint.complaintFeedbackType": "new-thing"}),
    )
    assert (reception.totals()["everDelayed"], reception.totals()["complained"]) == (1, 1)


def test_38_unknown_event_type(reception: Reception) -> None:
    """A type never heard of is quarantined whole, counts nothing, and is kept once."""
    data = raw("unknown_event_type.json")
    assert reception.take(data) == ["quarantined unknown-type"]
    assert reception.take(data) == ["quarantined unknown-type"]
    assert reception.quarantine() == [("unknown-type", data)]
    assert reception.totals() == {}


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("rendering_failure", "Rendering Failure", "RenderingFailure"),
        ("rendering_failure", "RenderingFailure", "RenderingFailure"),
        ("rendering_failure", "RENDERING_FAILURE", "RenderingFailure"),
        ("rendering_failure", "renderingFailure", "RenderingFailure"),
        ("bounce_permanent_general", "bounce", "Bounce"),
        ("bounce_permanent_general", "BOUNCE", "Bounce"),
        ("delivery_delay", "Delivery Delay", "DeliveryDelay"),
        ("delivery_delay", "DELIVERY_DELAY", "DeliveryDelay"),
        ("send", "SEND", "Send"),
        ("click", "click", "Click"),
        ("reject", "REJECT", "Reject"),
        ("subscription", "subscription", "Subscription"),
    ],
)
def test_39_variants_of_types(name: str, written: str, expected: str) -> None:
    """However a type is spelled, it is told by its one name."""
    [reading] = read(body(name, {"eventType": written}), "file")
    assert reading.event is not None
    assert reading.event.type == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"notificationType": "Bounce"}, "created"),
        ({"eventType": GONE}, "quarantined not-an-event"),
        ({"eventType": None}, "quarantined not-an-event"),
        ({"eventType": 5}, "quarantined not-an-event"),
        ({"eventType": ["Send"]}, "quarantined not-an-event"),
        ({"eventType": GONE, "notificationType": "Received"}, "ignored inbound-mail"),
        ({"eventType": GONE, "notificationType": "Send"}, "created"),
        ({"eventType": ""}, "quarantined unknown-type"),
    ],
)
def test_40_both_types_or_neither(
    reception: Reception, changes: dict[str, object], expected: str
) -> None:
    """The eventType counts before notificationType; without either, or for inbound mail, it is no event."""
    assert reception.take(body("send", changes)) == [expected]


def test_40_nothing_at_all(reception: Reception) -> None:
    """An empty object is no event."""
    assert reception.take(b"{}") == ["quarantined not-an-event"]


def test_31_the_same_open_twice(reception: Reception) -> None:
    """The very same open, told twice, is one."""
    reception.take(one("open"), one("open"))
    assert [type(held) for held in reception.record(SENT, ANA).timeline] == [Open]


@pytest.mark.parametrize(
    ("name", "changes", "as_if"),
    [
        ("bounce_permanent_general", {"bounce.bounceType": "permanent"}, {}),
        ("bounce_permanent_general", {"bounce.bounceType": "PERMANENT "}, {}),
        ("bounce_permanent_general", {"bounce.bounceSubType": "GENERAL"}, {}),
        (
            "bounce_permanent_on_account_suppression_list",
            {"bounce.bounceSubType": "on_account_suppression_list"},
            {},
        ),
        (
            "complaint_on_account_suppression_list",
            {"complaint.complaintSubType": "onaccountsuppressionlist"},
            {},
        ),
        ("complaint_not_spam_correction", {"complaint.complaintFeedbackType": "Not-Spam"}, {}),
        ("complaint", {"complaint.complaintFeedbackType": "Abuse"}, {}),
        ("delivery_delay", {"deliveryDelay.delayType": "RECIPIENTSERVERERROR"}, {}),
        ("bounce_permanent_general", {"bounce.bounceType": "Odd-Kind"}, None),
    ],
)
def test_37_ses_words_in_any_case(
    name: str, changes: dict[str, object], as_if: dict[str, object] | None
) -> None:
    """What SES calls a bounce, a complaint or a delay is the same word in any case; a word that is not
    known stays as it is.
    """
    [one], [other] = (read(body(name, each), "file") for each in (changes, as_if or {}))
    assert one.event is not None
    assert (one.event == other.event) is (as_if is not None)
    if as_if is None:
        assert one.event.reports[0].occurrence.kind == "Odd-Kind"


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("5.1.1", "5.1.1"),
        (" 5.1.1 ", "5.1.1"),
        ("smtp; 550 5.1.1", "5.1.1"),
        ("5.1.1 (bad destination mailbox)", "5.1.1"),
        ("#4.2.2", "4.2.2"),
        ("550", "550"),
        ("15.1.1.1", "15.1.1.1"),
        (None, None),
    ],
)
def test_37_status_with_something_around_it(written: str | None, status: str | None) -> None:
    """An enhanced status code is found whatever stands around it."""
    named = [{"emailAddress": ANA, "status": written}]
    [found] = read(one("bounce_permanent_general", **{"bounce.bouncedRecipients": named}), "file")
    assert found.event is not None
    assert found.event.reports[0].occurrence.status == status


@pytest.mark.parametrize("statuses", [("4.0.0", "5.1.1"), ("5.1.1", "4.0.0"), (None, "4.0.0")])
def test_21_named_twice(reception: Reception, statuses: tuple[str | None, ...]) -> None:
    """A recipient that one bounce names twice has the harder of the two."""
    named = [{"emailAddress": ANA, "status": status} for status in statuses]
    assert reception.take(
        one("bounce_permanent_general", **{"bounce.bouncedRecipients": named})
    ) == ["created"]
    assert outcome(reception) is Outcome.BOUNCED
    assert reception.suppressed(ANA) == "bounced"


def test_21_a_soft_bounce_is_not_refused_for_good(reception: Reception) -> None:
    """A permanent bounce whose own status is temporary is soft, and so is what is said of it."""
    named = [{"emailAddress": ANA, "status": "4.0.0", "action": "delayed"}]
    reception.take(one("bounce_permanent_general", **{"bounce.bouncedRecipients": named}))
    said = derive_facts(reception.record(SENT, ANA).timeline)
    assert (said.outcome, reason_of(said)) == (Outcome.SOFT_BOUNCED, "transient")
