"""Edge cases 41, 42 and 55 to 72: how bytes arrive, from whom, and what is none of ours."""

import gzip
import json

import pytest
from msgspec.structs import replace

from sesight.domain.errors import Untrusted
from sesight.domain.stream import OUTREACH
from sesight.ingest.reader import read_envelopes
from sesight.ingest.transport.certificates import CertificateUnavailable
from sesight.ingest.transport.envelope import open_notification
from sesight.ingest.transport.sns import confirmation_url, parse_topic
from tests.builders import COUNTING
from tests.notification import AT_MS, TOPIC, changed, confirmation, notification, taken
from tests.payload import body, payload, raw
from tests.reception import Reception

SENT = payload("send")["mail"]["messageId"]
FIXTURES = parse_topic("arn:aws:sns:us-east-1:000000000000:ses-email-events")


def pem(_: str) -> bytes:
    """Return the certificate of the payloads."""
    return raw("sns_test_cert.pem")


def refused(
    data: bytes | dict[str, object], headers: dict[str, str] | None = None
) -> tuple[str, int]:
    """Return why and with which status a notification is refused."""
    with pytest.raises(Untrusted) as found:
        taken(data, headers)
    return found.value.reason, found.value.status


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sns_http_validation_message.json", "ignored validation"),
        ("sns_http_feedback_setup_message.json", "ignored setup-message"),
    ],
)
def test_41_42_hello(reception: Reception, name: str, expected: str) -> None:
    """What SES publishes when it is wired up is genuine, says nothing of mail, and is dropped."""
    found, _ = taken(raw(name), ours=FIXTURES, fetch=pem)
    readings = read_envelopes(open_notification(found.type, found.message, "http"), ())
    assert [f"{each.disposition} {each.reason}" for each in reception.process(readings)] == [
        expected
    ]
    assert reception.quarantine() == []


@pytest.mark.parametrize("typed", ["hello", "", "test message from the console", "  \n"])
def test_41_typed_by_people(reception: Reception, typed: str) -> None:
    """Words that people publish to the topic by hand are dropped."""
    found, _ = taken(notification(Message=typed))
    readings = read_envelopes(open_notification(found.type, found.message, "http"), ())
    assert [f"{each.disposition} {each.reason}" for each in reception.process(readings)] == [
        "ignored plain-text"
    ]


def test_55_too_large_or_cut_off(reception: Reception) -> None:
    """Over HTTP too much is 413 and a torso is 400; from a queue a torso is quarantined."""
    assert refused(notification(Message="x" * 400_000)) == ("too-large", 413)
    torso = json.dumps(notification()).encode()[:900]
    assert refused(torso) == ("not-json", 400)
    queue = {"Records": [{"messageId": "1", "body": torso.decode()}]}
    assert reception.take(json.dumps(queue).encode()) == ["quarantined not-json"]
    assert reception.quarantine() == [("not-json", torso)]


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":' + b"[" * 10_000,
        b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"eventType":' * 10_000,
        b'{"eventType":"Send","mail":' + b'{"mail":' * 10_000,
        b'{"eventType":"Send","mail":' + b"9" * 10_000 + b"}",
        b'{"eventType":NaN}',
        b'{"eventType":"Send","mail":{"timestamp":1e999}}',
    ],
    ids=lambda data: data[:30].decode(),
)
def test_56_deep_and_huge(reception: Reception, data: bytes) -> None:
    """Deep nesting, huge numbers and NaN are bad input: refused over HTTP, quarantined elsewhere."""
    assert refused(data)[1] == 400
    [said] = reception.take(data)
    assert said.startswith("quarantined ")
    assert [each for _, each in reception.quarantine()] == [data]


def test_57_duplicate_keys() -> None:
    """What is verified is what is processed: the last of two keys, both times."""
    text = json.dumps(notification())
    foreign = '"TopicArn": "arn:aws:sns:eu-west-1:999999999999:mine"'
    assert taken(f"{{{foreign}, {text[1:]}".encode())[0].topic_arn == TOPIC
    assert refused(f"{text[:-1]}, {foreign}}}".encode()) == ("foreign-topic", 403)


def test_58_encodings(reception: Reception) -> None:
    """A byte order mark is taken off; Latin-1 and gzip are 400, and quarantined from a queue's body."""
    text = json.dumps(notification()).encode()
    assert taken(b"\xef\xbb\xbf" + text)[0].type == "Notification"
    assert refused(text.replace(b"Amazon", b"\xc4mazon")) == ("not-json", 400)
    assert refused(gzip.compress(text)) == ("not-json", 400)
    assert reception.take(b"\xef\xbb\xbf" + raw("send.json")) == ["created"]
    assert reception.take(raw("send.json").replace(b"Digest", b"\xc4igest")) == [
        "quarantined not-json"
    ]
    assert reception.take(gzip.compress(raw("send.json"))) == ["quarantined not-json"]


def test_59_wrong_topic() -> None:
    """A valid signature of somebody else's topic is 403, and no certificate is fetched for it."""
    fetched: list[str] = []
    with pytest.raises(Untrusted) as found:
        taken(notification(TopicArn="arn:aws:sns:eu-west-1:999999999999:mine"), fetched=fetched)
    assert (found.value.reason, found.value.status, fetched) == ("foreign-topic", 403, [])


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.s3.amazonaws.com/SimpleNotificationService-abc.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-abc.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-abc.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-abc.pem",
        "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-abc.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-abc.pem\n",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-abc.pem",
    ],
)
def test_60_forged_certificate_url(url: str) -> None:
    """A certificate of another host is not even fetched."""
    fetched: list[str] = []
    with pytest.raises(Untrusted) as found:
        taken(notification(SigningCertURL=url), fetched=fetched)
    assert (found.value.reason, fetched) == ("certificate-url", [])


@pytest.mark.parametrize("version", ["3", None, 2])
def test_61_signature_version(version: object) -> None:
    """Only the versions 1 and 2, as texts, are known; a topic may take 2 alone."""
    assert refused(changed(notification(), SignatureVersion=version)) == ("signature-version", 403)
    with pytest.raises(Untrusted, match="version 1 is not accepted"):
        taken(notification("1"), ours=parse_topic(TOPIC, versions=frozenset({"2"})))


def test_62_certificate_unavailable() -> None:
    """A certificate that cannot be fetched now makes SNS try again; nothing is taken unverified."""

    def timeout(_: str) -> bytes:
        raise TimeoutError

    with pytest.raises(CertificateUnavailable):
        taken(notification(), fetch=timeout)


def test_63_confirmations(reception: Reception) -> None:
    """A fresh confirmation of our topic may be confirmed, a stale one not; that somebody unsubscribed
    us changes nothing by itself.
    """
    found, ours = taken(confirmation())
    assert confirmation_url(found, ours, AT_MS).startswith("https://sns.eu-west-1.amazonaws.com/")
    with pytest.raises(Untrusted, match="over an hour old"):
        confirmation_url(found, ours, AT_MS + 7_200_000)
    gone, _ = taken(confirmation(Type="UnsubscribeConfirmation"))
    readings = read_envelopes(open_notification(gone.type, gone.message, "http"), ())
    assert [each.reason for each in reception.process(readings)] == ["confirmation"]


def test_64_header_and_body_disagree() -> None:
    """A header that differs from the signed body is 400."""
    assert refused(notification(), {"x-amz-sns-message-type": "SubscriptionConfirmation"}) == (
        "header-mismatch",
        400,
    )


def test_65_raw_delivery() -> None:
    """Raw delivery over HTTP carries no signature and is refused."""
    assert refused(raw("send.json"), {"x-amz-sns-rawdelivery": "true"}) == ("raw-delivery", 400)


def test_66_raw_and_wrapped_in_one_queue(reception: Reception) -> None:
    """Raw, wrapped and EventBridge bodies in one queue are told apart, nested ones too."""
    send = raw("send.json").decode()
    wrapped = json.dumps({"Type": "Notification", "Message": send})
    nested = json.dumps({"Type": "Notification", "Message": wrapped})
    bridged = json.dumps(
        {"detail-type": "Email Sent", "source": "aws.ses", "detail": json.loads(send)}
    )
    bodies = [send, wrapped, nested, bridged]
    records = [{"messageId": str(n), "body": each} for n, each in enumerate(bodies)]
    assert reception.take(json.dumps({"Records": records}).encode()) == [
        "created",
        "duplicate",
        "duplicate",
        "duplicate",
    ]


def test_67_poison_record(reception: Reception) -> None:
    """A poison record is quarantined by itself, and the others of its batch are committed."""
    data = json.loads(raw("lambda_sqs_event_raw_delivery.json"))
    assert [each["body"] for each in data["Records"]][1] == "not json at all"
    data["Records"].append({"messageId": "z", "body": raw("delivery.json").decode()})
    assert reception.take(json.dumps(data).encode()) == [
        "created",
        "quarantined not-json",
        "created",
    ]
    assert reception.quarantine() == [("not-json", b"not json at all")]


@pytest.mark.parametrize(
    "kind",
    [
        "Advisor Recommendation Status Open",
        "Advisor Recommendation Status Resolved",
        "Sending Status Enabled",
        "AWS API Call via CloudTrail",
    ],
)
def test_68_other_events_of_eventbridge(reception: Reception, kind: str) -> None:
    """EventBridge's other notices of SES are ignored."""
    data = {"detail-type": kind, "source": "aws.ses", "detail": {"eventName": "SendEmail"}}
    assert reception.take(json.dumps(data).encode()) == ["ignored foreign"]


@pytest.mark.parametrize(
    "foreign",
    [
        {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {}}}]},
        {"AlarmName": "bounces", "NewStateValue": "ALARM"},
    ],
    ids=["S3", "CloudWatch"],
)
def test_69_foreign_messages(reception: Reception, foreign: dict[str, object]) -> None:
    """What another service publishes to the topic is ignored."""
    found, _ = taken(notification(Message=json.dumps(foreign)))
    readings = read_envelopes(open_notification(found.type, found.message, "http"), ())
    assert [f"{each.disposition} {each.reason}" for each in reception.process(readings)] == [
        "ignored foreign"
    ]


def test_70_identity_is_content(reception: Reception) -> None:
    """A message is known by its id, whatever account told of it: the content decides."""
    assert reception.take(
        body("send"), body("send", {"mail.sendingAccountId": "999999999999"})
    ) == ["created", "duplicate"]


def test_71_foreign_account(reception: Reception) -> None:
    """Where accounts are named, the events of another one are quarantined with their bodies."""
    reception.change(accounts=frozenset({"000000000000"}))
    others = [
        body(name, {"mail.sendingAccountId": "999999999999"}) for name in ("send", "delivery")
    ]
    assert reception.take(raw("send.json"), *others) == [
        "created",
        "quarantined unknown-account",
        "quarantined unknown-account",
    ]
    assert reception.quarantine() == sorted(("unknown-account", each) for each in others)


def test_71_foreign_account_without_a_set(reception: Reception) -> None:
    """A foreign account's feedback notification does not wait for a message either."""
    reception.change(accounts=frozenset({"000000000000"}))
    other = body("feedback_delivery", {"mail.sendingAccountId": "999999999999"})
    assert reception.take(other) == ["quarantined unknown-account"]


def unknown_set(name: str = "send") -> bytes:
    """Return an event of a configuration set that no stream has."""
    found = payload(name)
    found["mail"]["tags"]["ses:configuration-set"] = ["somebody-elses"]
    return json.dumps(found).encode()


def test_72_unknown_set(reception: Reception) -> None:
    """An event of a set that no stream names falls to no stream: it waits in the quarantine."""
    assert reception.take(unknown_set()) == ["quarantined unknown-set"]
    assert reception.quarantine() == [("unknown-set", unknown_set())]
    assert (reception.totals(), reception.totals("finance")) == ({}, {})


def test_72_ignored_set(reception: Reception) -> None:
    """A set that the settings list as somebody else's is ignored."""
    reception.change(ignore_sets=frozenset({"somebody-elses"}))
    assert reception.take(unknown_set()) == ["ignored ignored-set"]
    assert reception.quarantine() == []


def test_72_set_named_later(reception: Reception) -> None:
    """Once the settings name the set, its events are taken."""
    reception.change(
        streams={
            **COUNTING.streams,
            "more": replace(OUTREACH, id="more", configuration_set="somebody-elses"),
        }
    )
    assert reception.take(unknown_set()) == ["created"]
    assert reception.totals("more")["sent"] == 1


def test_72_renamed_stream(reception: Reception) -> None:
    """A stream renamed in the settings goes on: what it has stays under its old name."""
    assert reception.take(raw("send.json")) == ["created"]
    reception.change(
        streams={"mail": replace(OUTREACH, id="mail"), "finance": COUNTING.streams["finance"]}
    )
    bounced = body(
        "bounce_permanent_general",
        {
            "mail.messageId": SENT,
            "mail.destination": ["ana@example.org"],
            "bounce.bouncedRecipients": [{"emailAddress": "ana@example.org"}],
        },
    )
    feedback = body(
        "feedback_complaint", {"mail.messageId": SENT, "mail.destination": ["ana@example.org"]}
    )
    assert reception.take(raw("delivery.json"), bounced) == ["updated", "updated"]
    assert reception.take(feedback) == ["updated"]
    assert reception.totals("outreach")["bounced"] == 1
    assert reception.suppressed("ana@example.org", "mail") == "complaint"
    assert reception.suppressed("ana@example.org", "finance") == "bounced"
