"""Proofs of SNS over HTTP: what is genuine is taken, and nothing else in any disguise."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import URLError

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sesight.domain.errors import Untrusted
from sesight.ingest.transport.certificates import CertificateUnavailable
from sesight.ingest.transport.sns import MAX_BODY, parse_topic
from tests.notification import (
    CERTIFICATE_URL,
    HOST,
    TOPIC,
    changed,
    confirmation,
    elliptic_pem,
    expired_pem,
    notification,
    signer,
    taken,
    weak_pem,
)
from tests.payload import GONE, payload, raw

FIXTURES = parse_topic("arn:aws:sns:us-east-1:000000000000:ses-email-events")
OTHERS_TOPIC = "arn:aws:sns:eu-west-1:999999999999:mine"
PATH = "/SimpleNotificationService-5e51647.pem"

Forged = Callable[[], Mapping[str, Any] | bytes]


def text(fields: Mapping[str, Any]) -> str:
    """Return a notification as JSON."""
    return json.dumps(fields)


def with_url(url: object) -> Forged:
    """Return a genuine notification that names another certificate."""
    return lambda: notification(SigningCertURL=url)


def altered(**changes: Any) -> Forged:
    """Return a notification changed after it was signed."""
    return lambda: changed(notification(), **changes)


def stranger() -> rsa.RSAPrivateKey:
    """Return a key that is not the topic's."""
    return rsa.generate_private_key(65537, 2048)


FORGED: dict[str, tuple[Forged, str, int]] = {
    # unsigned, or not by the topic's key
    "unsigned": (altered(Signature=GONE), "malformed", 400),
    "signature null": (altered(Signature=None), "malformed", 400),
    "signature empty": (altered(Signature=""), "signature", 403),
    "signature no base64": (altered(Signature="no base64!"), "malformed", 400),
    "signature of other bytes": (altered(Signature="AAAA"), "signature", 403),
    "signature a number": (altered(Signature=5), "malformed", 400),
    "signature a list": (altered(Signature=["AAAA"]), "malformed", 400),
    "signature not ASCII": (altered(Signature="é"), "malformed", 400),
    "signed by a stranger": (lambda: notification(key=stranger()), "signature", 403),
    "signature of another message": (
        lambda: changed(notification(), Signature=notification(Message="x")["Signature"]),
        "signature",
        403,
    ),
    "version 1 signature as version 2": (
        lambda: changed(notification("1"), SignatureVersion="2"),
        "signature",
        403,
    ),
    "version 2 signature as version 1": (
        lambda: changed(notification("2"), SignatureVersion="1"),
        "signature",
        403,
    ),
    # every field altered after signing
    "message altered": (
        altered(Message=text(payload("bounce_permanent_general"))),
        "signature",
        403,
    ),
    "message without its last line feed": (
        lambda: changed(notification(), Message=notification()["Message"].rstrip("\n")),
        "signature",
        403,
    ),
    "message id altered": (altered(MessageId="6f1a2b3c-0000"), "signature", 403),
    "subject altered": (altered(Subject="Hello"), "signature", 403),
    "subject removed": (altered(Subject=GONE), "signature", 403),
    "subject null": (altered(Subject=None), "signature", 403),
    "subject emptied": (altered(Subject=""), "signature", 403),
    "subject added": (
        lambda: changed(notification(Subject=GONE), Subject="Hello"),
        "signature",
        403,
    ),
    "subject a number": (altered(Subject=5), "malformed", 400),
    "timestamp altered": (altered(Timestamp="2026-11-24T11:59:59.001Z"), "signature", 403),
    "type altered": (altered(Type="UnsubscribeConfirmation"), "malformed", 400),
    "type altered, with token and URL": (
        altered(Type="SubscriptionConfirmation", Token="t", SubscribeURL="u"),
        "signature",
        403,
    ),
    "line feed added": (altered(MessageId="a\nb"), "signature", 403),
    # not our topic
    "foreign topic": (lambda: notification(TopicArn=OTHERS_TOPIC), "foreign-topic", 403),
    "topic of another region": (
        lambda: notification(TopicArn=TOPIC.replace("eu-west-1", "eu-west-2")),
        "foreign-topic",
        403,
    ),
    "topic of another account": (
        lambda: notification(TopicArn=TOPIC.replace("123456789012", "123456789013")),
        "foreign-topic",
        403,
    ),
    "topic with a longer name": (lambda: notification(TopicArn=f"{TOPIC}2"), "foreign-topic", 403),
    "topic in upper case": (lambda: notification(TopicArn=TOPIC.upper()), "foreign-topic", 403),
    "topic with a line feed": (lambda: notification(TopicArn=f"{TOPIC}\n"), "foreign-topic", 403),
    "topic empty": (lambda: notification(TopicArn=""), "foreign-topic", 403),
    "two topics, the last one foreign": (
        lambda: (
            text(notification())
            .replace('{"Type"', f'{{"TopicArn": "{TOPIC}", "Type"')
            .replace(f'"{TOPIC}", "Subject"', f'"{OTHERS_TOPIC}", "Subject"')
            .encode()
        ),
        "foreign-topic",
        403,
    ),
    "two topics, the last one ours": (
        lambda: (
            text(notification(TopicArn=OTHERS_TOPIC))[:-1].encode()
            + f', "TopicArn": "{TOPIC}"}}'.encode()
        ),
        "signature",
        403,
    ),
    "two messages, the first one signed": (
        lambda: text(notification())[:-1].encode() + b', "Message": "{}"}',
        "signature",
        403,
    ),
    # look-alikes of the certificate's host
    "host a bucket": (with_url(f"https://sns.s3.amazonaws.com{PATH}"), "certificate-url", 403),
    "host a bucket of a region": (
        with_url(f"https://sns.s3-eu-west-1.amazonaws.com{PATH}"),
        "certificate-url",
        403,
    ),
    "host of an attacker": (with_url(f"https://evil.example{PATH}"), "certificate-url", 403),
    "host with ours as its beginning": (
        with_url(f"https://{HOST}.evil.example{PATH}"),
        "certificate-url",
        403,
    ),
    "host with ours as its end": (with_url(f"https://evil{HOST}{PATH}"), "certificate-url", 403),
    "host as user": (with_url(f"https://{HOST}@evil.example{PATH}"), "certificate-url", 403),
    "host with a user": (with_url(f"https://user@{HOST}{PATH}"), "certificate-url", 403),
    "host with a port": (with_url(f"https://{HOST}:443{PATH}"), "certificate-url", 403),
    "host with a dot": (with_url(f"https://{HOST}.{PATH}"), "certificate-url", 403),
    "host in upper case": (with_url(f"https://{HOST.upper()}{PATH}"), "certificate-url", 403),
    "host of another region": (
        with_url(f"https://sns.us-east-1.amazonaws.com{PATH}"),
        "certificate-url",
        403,
    ),
    "host of another partition": (with_url(f"https://{HOST}.cn{PATH}"), "certificate-url", 403),
    "host of another service": (
        with_url(f"https://sqs.eu-west-1.amazonaws.com{PATH}"),
        "certificate-url",
        403,
    ),
    # other URLs
    "http": (with_url(f"http://{HOST}{PATH}"), "certificate-url", 403),
    "file": (with_url(f"file://{HOST}{PATH}"), "certificate-url", 403),
    "no scheme": (with_url(f"//{HOST}{PATH}"), "certificate-url", 403),
    "trailing line feed": (with_url(f"{CERTIFICATE_URL}\n"), "certificate-url", 403),
    "leading space": (with_url(f" {CERTIFICATE_URL}"), "certificate-url", 403),
    "query": (with_url(f"{CERTIFICATE_URL}?x=1"), "certificate-url", 403),
    "fragment": (with_url(f"{CERTIFICATE_URL}#x"), "certificate-url", 403),
    "dots": (with_url(f"https://{HOST}/../evil{PATH}"), "certificate-url", 403),
    "dots in the name": (
        with_url(f"https://{HOST}/SimpleNotificationService-..%2fx.pem"),
        "certificate-url",
        403,
    ),
    "backslash": (with_url(f"https://{HOST}\\@evil.example{PATH}"), "certificate-url", 403),
    "another file": (with_url(f"https://{HOST}/evil.pem"), "certificate-url", 403),
    "another ending": (
        with_url(f"https://{HOST}/SimpleNotificationService-5e51647.pem.txt"),
        "certificate-url",
        403,
    ),
    "a very long name": (
        with_url(f"https://{HOST}/SimpleNotificationService-{'a' * 9_000}.pem"),
        "certificate-url",
        403,
    ),
    "no URL": (lambda: notification(SigningCertURL=GONE), "certificate-url", 403),
    "URL null": (with_url(None), "certificate-url", 403),
    "URL a number": (with_url(5), "certificate-url", 403),
    "URL a list": (with_url([CERTIFICATE_URL]), "certificate-url", 403),
    "URL spelled as Lambda does": (
        lambda: changed(notification(), SigningCertURL=GONE, SigningCertUrl=CERTIFICATE_URL),
        "certificate-url",
        403,
    ),
    # versions
    "version 3": (altered(SignatureVersion="3"), "signature-version", 403),
    "version a number": (altered(SignatureVersion=2), "signature-version", 403),
    "version missing": (altered(SignatureVersion=GONE), "signature-version", 403),
    "version null": (altered(SignatureVersion=None), "signature-version", 403),
    "version padded": (altered(SignatureVersion="2 "), "signature-version", 403),
    "version a list": (altered(SignatureVersion=["2"]), "signature-version", 403),
    # shapes
    "type missing": (altered(Type=GONE), "malformed", 400),
    "type unheard of": (altered(Type="Bounce"), "unknown-type", 400),
    "type that does not exist": (altered(Type="UnsubscriptionConfirmation"), "unknown-type", 400),
    "type in lower case": (altered(Type="notification"), "unknown-type", 400),
    "message missing": (altered(Message=GONE), "malformed", 400),
    "message an object": (altered(Message=payload("send")), "malformed", 400),
    "message null": (altered(Message=None), "malformed", 400),
    "message id missing": (altered(MessageId=GONE), "malformed", 400),
    "message id a number": (altered(MessageId=5), "malformed", 400),
    "topic missing": (altered(TopicArn=GONE), "malformed", 400),
    "topic a list": (altered(TopicArn=[TOPIC]), "malformed", 400),
    "timestamp missing": (altered(Timestamp=GONE), "malformed", 400),
    "confirmation without a token": (
        lambda: changed(confirmation(), Token=GONE),
        "malformed",
        400,
    ),
    "confirmation of another topic's token": (
        lambda: changed(confirmation(), Token="0" * 31),
        "signature",
        403,
    ),
    "confirmation with another URL": (
        lambda: changed(confirmation(), SubscribeURL="https://evil.example/"),
        "signature",
        403,
    ),
    # bytes
    "empty": (lambda: b"", "not-json", 400),
    "not JSON": (lambda: b"hello", "not-json", 400),
    "cut off": (lambda: text(notification()).encode()[:-20], "not-json", 400),
    "a list": (lambda: b"[" + text(notification()).encode() + b"]", "malformed", 400),
    "null": (lambda: b"null", "malformed", 400),
    "two objects": (lambda: text(notification()).encode() * 2, "not-json", 400),
    "NUL bytes": (lambda: b"\0" * 100, "not-json", 400),
    "NUL in a field": (altered(MessageId="6f1a\0"), "signature", 403),
    "lone surrogate": (altered(MessageId="\ud800"), "not-json", 400),
    "latin-1": (
        lambda: text(notification()).encode().replace(b"Amazon", b"\xc4mazon"),
        "not-json",
        400,
    ),
    "UTF-16": (lambda: text(notification()).encode("utf-16"), "not-json", 400),
    "gzip": (lambda: b"\x1f\x8b\x08\x00" + b"\0" * 50, "not-json", 400),
    "deep nesting": (lambda: b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "not-json", 400),
    "deep nesting, unclosed": (lambda: b'{"x":' + b"[" * 300_000, "not-json", 400),
    "a list without end": (lambda: b"[" * 300_000, "malformed", 400),
    "a huge number": (lambda: b'{"Type":' + b"9" * 9_000 + b"}", "malformed", 400),
    "NaN": (lambda: b'{"Type":NaN}', "not-json", 400),
    "oversize": (lambda: notification(Message="x" * MAX_BODY), "too-large", 413),
}


@pytest.mark.parametrize("name", list(FORGED))
def test_forged(name: str) -> None:
    """No forged or malformed notification is taken, each is refused for its own reason, and none of
    them makes us fetch anything but our own topic's certificate.
    """
    make, reason, status = FORGED[name]
    fetched: list[str] = []
    with pytest.raises(Untrusted) as refused:
        taken(make(), fetched=fetched)
    assert (refused.value.reason, refused.value.status) == (reason, status)
    assert set(fetched) <= {CERTIFICATE_URL}


def test_enough_forgeries() -> None:
    """There are more than sixty kinds of them."""
    assert len(FORGED) > 60


GENUINE: dict[str, Callable[[], dict[str, Any]]] = {
    "version 1": lambda: notification("1"),
    "version 2": lambda: notification("2"),
    "without Subject": lambda: notification(Subject=GONE),
    "Subject empty": lambda: notification(Subject=""),
    "Subject empty, version 1": lambda: notification("1", Subject=""),
    "ten days old": lambda: notification(Timestamp="2026-11-14T08:15:33.201Z"),
    "a year old": lambda: notification(Timestamp="2025-11-14T08:15:33.201Z"),
    "from the future": lambda: notification(Timestamp="2036-11-14T08:15:33.201Z"),
    "with an odd timestamp": lambda: notification(Timestamp="yesterday"),
    "message without a line feed": lambda: notification(Message="{}"),
    "message with accents": lambda: notification(Message="Grüße 🎉"),
    "unknown fields": lambda: changed(notification(), MessageAttributes={"a": [1, {"b": None}]}),
    "without UnsubscribeURL": lambda: notification(UnsubscribeURL=GONE),
    "unsigned UnsubscribeURL altered": lambda: changed(notification(), UnsubscribeURL="x"),
    "subscription confirmation": confirmation,
    "subscription confirmation, version 1": lambda: confirmation("1"),
    "unsubscribe confirmation": lambda: confirmation(Type="UnsubscribeConfirmation"),
}


@pytest.mark.parametrize("name", list(GENUINE))
def test_genuine(name: str) -> None:
    """What our topic signed is taken, however late, with its fields exactly as they were sent."""
    fields = GENUINE[name]()
    fetched: list[str] = []
    found, ours = taken(fields, fetched=fetched)
    assert (found.type, found.message, found.subject, ours.arn) == (
        fields["Type"],
        fields["Message"],
        fields.get("Subject"),
        TOPIC,
    )
    assert fetched == [CERTIFICATE_URL]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark(mark: bytes) -> None:
    """A byte order mark before the JSON is no reason to refuse it."""
    assert taken(mark + text(notification()).encode())[0].type == "Notification"


PINNED = parse_topic(FIXTURES.arn, signer().certificate.public_key())


@pytest.mark.parametrize(
    "name",
    [
        "sns_http_notification_sigv1.json",
        "sns_http_notification_sigv2.json",
        "sns_http_notification_no_subject.json",
        "sns_http_subscription_confirmation.json",
        "sns_http_unsubscribe_confirmation.json",
        "sns_http_validation_message.json",
        "sns_http_feedback_setup_message.json",
    ],
)
def test_payloads(name: str) -> None:
    """The payloads that came with valid signatures verify with their certificate and no other."""
    assert taken(raw(name), ours=FIXTURES, fetch=lambda _: raw("sns_test_cert.pem"))[1] == FIXTURES
    with pytest.raises(Untrusted, match="does not match"):
        taken(raw(name), ours=FIXTURES)


def test_downgrade() -> None:
    """A topic set to version 2 takes no version 1, however well it is signed."""
    only_2 = parse_topic(TOPIC, versions=frozenset({"2"}))
    assert taken(notification("2"), ours=only_2)[1] == only_2
    with pytest.raises(Untrusted) as refused:
        taken(notification("1"), ours=only_2)
    assert (refused.value.reason, refused.value.status) == ("signature-version", 403)


def test_pinned() -> None:
    """A pinned certificate needs no fetch, and its URL does not matter."""
    fields = notification(TopicArn=PINNED.arn, SigningCertURL="https://evil.example/")
    fetched: list[str] = []
    assert taken(fields, ours=PINNED, fetched=fetched)[1] == PINNED
    assert fetched == []
    with pytest.raises(Untrusted, match="does not match"):
        taken(notification(TopicArn=PINNED.arn, key=stranger()), ours=PINNED)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [(elliptic_pem, "certificate"), (weak_pem, "certificate"), (expired_pem, "certificate")],
    ids=["no RSA key", "RSA key of 1,024 bits", "out of date"],
)
def test_untrusted_certificates(pem: Callable[[], bytes], reason: str) -> None:
    """A certificate that holds no good key, or is out of date, proves nothing."""
    with pytest.raises(Untrusted) as refused:
        taken(notification(), fetch=lambda _: pem())
    assert refused.value.reason == reason


def unreachable(_: str) -> bytes:
    """Fail as a host does that cannot be reached."""
    raise URLError("timed out")


@pytest.mark.parametrize(
    "fetch",
    [unreachable, lambda _: b"no certificate", lambda _: b""],
    ids=["unreachable", "no certificate", "empty"],
)
def test_unavailable_certificates(fetch: Callable[[str], bytes]) -> None:
    """A certificate that cannot be had now is no reason to refuse for good: the sender tries again."""
    with pytest.raises(CertificateUnavailable):
        taken(notification(), fetch=fetch)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-amz-sns-rawdelivery": "true"}, "raw-delivery"),
        ({"x-amz-sns-rawdelivery": "True"}, "raw-delivery"),
        ({"x-amz-sns-message-type": "SubscriptionConfirmation"}, "header-mismatch"),
        ({"x-amz-sns-message-type": ""}, "header-mismatch"),
        ({"x-amz-sns-topic-arn": OTHERS_TOPIC}, "header-mismatch"),
        ({"x-amz-sns-message-id": "another"}, "header-mismatch"),
    ],
)
def test_headers(headers: dict[str, str], reason: str) -> None:
    """Raw delivery carries no signature, and headers that differ from the signed body are a lie."""
    with pytest.raises(Untrusted) as refused:
        taken(notification(), headers)
    assert (refused.value.reason, refused.value.status) == (reason, 400)


@pytest.mark.parametrize("raw_delivery", [{}, {"x-amz-sns-rawdelivery": "false"}])
def test_headers_that_agree(raw_delivery: dict[str, str]) -> None:
    """Headers that say what the body says do no harm."""
    fields = notification()
    headers = {
        "x-amz-sns-message-type": fields["Type"],
        "x-amz-sns-topic-arn": fields["TopicArn"],
        "x-amz-sns-message-id": fields["MessageId"],
        **raw_delivery,
    }
    assert taken(fields, headers)[0].type == "Notification"
