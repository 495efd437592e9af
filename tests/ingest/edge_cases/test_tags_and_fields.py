"""Edge cases 1 to 13: what is missing, null, repeated or of an odd type in an event.

The names of these tests carry the numbers of the cases.
"""

import pytest

from sesight.domain.event import Complaint, EventType, Identity, RenderingFailure, Send
from sesight.ingest.reader import read
from tests.payload import GONE, body, payload, raw
from tests.reception import Reception

SENT = payload("send")["mail"]["messageId"]
FEEDBACK = payload("feedback_bounce")["mail"]["messageId"]


def identity_of(data: bytes) -> Identity:
    """Return the identity that a body gives."""
    [reading] = read(data, "file")
    assert reading.event is not None
    return reading.event.identity


def test_01_tags_missing(reception: Reception) -> None:
    """A feedback notification has no tags: it joins the record that its message has, and its campaign."""
    assert reception.take(
        body("send", {"mail.messageId": FEEDBACK, "mail.destination": ["gone@example.org"]})
    ) == ["created"]
    assert reception.take(raw("feedback_bounce.json")) == ["updated"]
    record = reception.record(FEEDBACK, "gone@example.org")
    assert (record.campaign, [held.type for held in record.timeline]) == (
        "digest-2026-11",
        [EventType.SEND, EventType.BOUNCE],
    )
    assert reception.suppressed("gone@example.org") == "bounced"


def test_01_tags_missing_and_early(reception: Reception) -> None:
    """A feedback notification that comes before its message waits, and is folded in with it."""
    assert reception.take(raw("feedback_bounce.json")) == ["quarantined unrouted"]
    send = body("send", {"mail.messageId": FEEDBACK, "mail.destination": ["gone@example.org"]})
    assert reception.take(send) == ["created"]
    record = reception.record(FEEDBACK, "gone@example.org")
    assert [held.type for held in record.timeline] == [EventType.SEND, EventType.BOUNCE]
    assert reception.quarantine() == []
    assert reception.totals() == {"recipients": 1, "bounced": 1, "sent": 1, "attempted": 1}


@pytest.mark.parametrize("tags", [None, {}, GONE, [], "x"])
def test_01_odd_tags(tags: object) -> None:
    """Tags that are missing, null, empty or of another type are no tags."""
    assert identity_of(body("send", {"mail.tags": tags})).tags == ()


def test_02_several_values(reception: Reception) -> None:
    """All values of a tag are kept; the campaign is the least of them."""
    reception.take(body("send", {"mail.tags.campaign_id": ["b", "a"]}))
    record = reception.record(SENT, "ana@example.org")
    assert record.identity.tags == (("campaign_id", "a"), ("campaign_id", "b"), ("variant", "b"))
    assert record.campaign == "a"


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("a", (("campaign", "a"),)),
        (["a"], (("campaign", "a"),)),
        (5, (("campaign", "5"),)),
        ([], ()),
        (None, ()),
        ([None], ()),
        ([{}], ()),
    ],
)
def test_03_bare_and_empty_values(value: object, tags: tuple[tuple[str, str], ...]) -> None:
    """A bare text is a list of one; an empty list is an absent tag."""
    assert identity_of(body("send", {"mail.tags": {"campaign": value}})).tags == tags


@pytest.mark.parametrize("first", ["send", "rendering_failure"])
def test_04_tags_on_some_events_only(reception: Reception, first: str) -> None:
    """An event without the custom tags joins its message's record: no twin in no campaign."""
    failure = body("rendering_failure", {"mail.messageId": SENT})
    order = [body("send"), failure] if first == "send" else [failure, body("send")]
    assert [reception.take(each) for each in order] == [["created"], ["updated"]]
    assert [record.campaign for record in reception.records(SENT)] == ["digest-2026-11"]
    assert reception.totals() == {"recipients": 1, "failed": 1, "sent": 1}
    assert reception.totals(campaign="digest-2026-11") == reception.totals()
    assert reception.totals(campaign="~untagged") == {}


def test_05_illegal_characters() -> None:
    """Names and values that SES would refuse are taken as they come."""
    tags = {"a.b": ["x@y"], "é": ["ü"], "long": ["v" * 257], "ctl": ["a\nb"]}
    found = dict(identity_of(body("send", {"mail.tags": tags})).tags)
    assert (found["a.b"], found["é"], len(found["long"]), found["ctl"]) == ("x@y", "ü", 256, "a b")


def test_06_tags_of_ses() -> None:
    """SES's own tags are kept apart, so that nobody names a campaign with one."""
    tags = {"ses:campaign_id": ["x"], "ses:feedback-id-a": ["y"], "ses:configuration-set": ["s"]}
    [reading] = read(body("send", {"mail.tags": tags}), "file")
    assert reading.event is not None
    assert (reading.event.configuration_set, reading.event.identity.tags) == ("s", ())


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("complaint", "complaint.complaintSubType"),
        ("complaint", "complaint.complaintFeedbackType"),
        ("complaint", "complaint.userAgent"),
        ("complaint", "complaint.timestamp"),
        ("complaint", "complaint.complainedRecipients"),
        ("click", "click.linkTags"),
        ("click", "click.userAgent"),
        ("click", "click.ipAddress"),
        ("click", "click.link"),
        ("open", "open.userAgent"),
        ("open", "open.isBotEvent"),
        ("bounce_permanent_general", "bounce.bounceType"),
        ("bounce_permanent_general", "bounce.bounceSubType"),
        ("bounce_permanent_general", "bounce.reportingMTA"),
        ("bounce_permanent_general", "bounce.bouncedRecipients"),
        ("delivery", "delivery.smtpResponse"),
        ("delivery", "delivery.processingTimeMillis"),
        ("delivery", "delivery.recipients"),
        ("delivery_delay", "deliveryDelay.expirationTime"),
        ("delivery_delay", "deliveryDelay.delayedRecipients"),
        ("subscription", "subscription.newTopicPreferences"),
        ("send", "mail.source"),
        ("send", "mail.destination"),
        ("send", "mail.headers"),
        ("send", "mail.commonHeaders"),
        ("send", "mail.sendingAccountId"),
    ],
)
def test_07_null(name: str, field: str) -> None:
    """A null field is an absent one."""
    [null] = read(body(name, {field: None}), "file")
    [absent] = read(body(name, {field: GONE}), "file")
    assert null.event is not None
    assert null.event == absent.event


def test_07_null_of_a_complaint(reception: Reception) -> None:
    """The complaintSubType null that SES really sends is none."""
    reception.take(raw("complaint.json"))
    [record] = reception.records(payload("complaint")["mail"]["messageId"])
    [held] = record.timeline
    assert isinstance(held, Complaint)
    assert held.sub_type is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("delivery", "delivery"),
        ("bounce_permanent_general", "bounce"),
        ("complaint", "complaint"),
        ("open", "open"),
        ("click", "click"),
        ("reject", "reject"),
        ("rendering_failure", "failure"),
        ("delivery_delay", "deliveryDelay"),
        ("subscription", "subscription"),
    ],
)
@pytest.mark.parametrize("value", [GONE, None, [], "x", 5])
def test_08_body_missing(reception: Reception, name: str, key: str, value: object) -> None:
    """An event without the object of its type is quarantined with its body."""
    data = body(name, {key: value})
    assert reception.take(data) == ["quarantined no-body"]
    assert reception.quarantine() == [("no-body", data)]


@pytest.mark.parametrize("value", [GONE, None, {}])
def test_09_send_without_a_body(reception: Reception, value: object) -> None:
    """A Send needs no body: it is empty by definition."""
    assert reception.take(body("send", {"send": value})) == ["created"]
    assert reception.record(SENT, "ana@example.org").timeline == (Send(1_794_644_130_412),)


def test_10_headers_absent() -> None:
    """Without headers the subject is unknown, and the sender is the envelope's."""
    found = identity_of(raw("feedback_bounce_without_headers.json"))
    assert (found.subject, found.sender) == (None, "digest@news.example.com")


@pytest.mark.parametrize("cut", [True, "true", False, "false", None, GONE])
def test_11_headers_truncated(cut: object) -> None:
    """The mark headersTruncated may be a boolean or a text; nothing depends on headers that may be cut off."""
    found = identity_of(body("send", {"mail.headersTruncated": cut, "mail.headers": []}))
    assert found == identity_of(raw("send.json"))


def test_12_duplicate_headers() -> None:
    """Header names have any case and repeat: the first one counts."""
    headers = [
        {"name": "X-Other", "value": "x"},
        {"name": "SUBJECT", "value": "first"},
        {"name": "subject", "value": "second"},
        "no header",
        {"value": "no name"},
    ]
    for common in (GONE, None, "odd", []):
        found = identity_of(body("send", {"mail.commonHeaders": common, "mail.headers": headers}))
        assert found.subject == "first"


@pytest.mark.parametrize("late", [True, False])
def test_13_subject_later(reception: Reception, late: bool) -> None:
    """A subject that only a later event knows is joined in, and one that misses it takes nothing away."""
    without = body("send", {"mail.commonHeaders.subject": GONE, "mail.headers": []})
    order = [without, raw("delivery.json")] if late else [raw("delivery.json"), without]
    reception.take(*order)
    assert reception.record(SENT, "ana@example.org").identity.subject == "Your November digest"


def test_04_the_template_of_a_failure() -> None:
    """A rendering failure says which template it was, and what was wrong with it."""
    [reading] = read(raw("rendering_failure.json"), "file")
    assert reading.event is not None
    [report] = reading.event.reports
    assert report.occurrence == RenderingFailure(
        1_794_644_130_412,
        "sent",
        "Attribute 'firstName' is not present in the rendering data.",
        "digest-v7",
    )
    assert reading.event.identity.template == "digest-v7"


def test_02_a_campaign_among_many_tags(reception: Reception) -> None:
    """A campaign is known among more tags than are kept, in every form of body."""
    tags = {f"a{n:02d}": ["x"] for n in range(56)} | {
        "campaign_id": ["winter"],
        "ses:configuration-set": ["outreach-tracking"],
    }
    assert reception.take(body("send", {"mail.tags": tags})) == ["created"]
    assert reception.take(body("feedback_bounce", {"mail.tags": tags})) == ["created"]
    assert reception.totals("outreach", "winter")["recipients"] == 2


def test_03_a_blank_tag(reception: Reception) -> None:
    """A blank campaign_id is as good as none."""
    tags = payload("send")["mail"]["tags"] | {"campaign_id": [" "], "campaign_name": ["Winter"]}
    assert reception.take(body("send", {"mail.tags": tags})) == ["created"]
    assert reception.totals("outreach", "Winter")["recipients"] == 1


@pytest.mark.parametrize(
    ("written", "subject"),
    [
        ("=?UTF-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?=", "Grüße aus Köln"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?q?_aus_K=F6ln?=", "Grüße aus Köln"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=\r\n =?UTF-8?B?IGF1cyBLw7Zsbg==?=", "Grüße aus Köln"),
        ("Plain", "Plain"),
        ("=?nonsense?B?R3L=?=", "=?nonsense?B?R3L=?="),
        ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
        ("a =? b", "a =? b"),
    ],
)
@pytest.mark.parametrize("common", [GONE, {}, {"subject": None}, {"to": ["ana@example.org"]}, []])
def test_10_subject_in_headers_only(common: object, written: str, subject: str) -> None:
    """A subject that stands in the headers alone is found there and decoded, also where there are
    common headers without one.
    """
    headers = [{"name": "To", "value": "ana@example.org"}, {"name": "SUBJECT", "value": written}]
    for name in ("send", "delivery", "bounce_permanent_general"):
        data = body(name, {"mail.commonHeaders": common, "mail.headers": headers})
        assert identity_of(data).subject == subject


def test_10_encoded_common_header() -> None:
    """A subject in the common headers that is still encoded is decoded."""
    data = body("send", {"mail.commonHeaders": {"subject": "=?UTF-8?B?R3LDvMOfZQ==?="}})
    assert identity_of(data).subject == "Grüße"
