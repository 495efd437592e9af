"""Forged and malformed notifications over HTTP: refused, counted by reason and status, not stored."""

import json
import re
import time
from base64 import b64encode
from collections import Counter

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from sesight.ingest.http.refusals import advice
from sesight_simulator.sns import TOPIC_ARN, Signer
from tests.server.harness import EVENTS, Traffic, ask, post, request, running

DAY = 86_400_000


def now() -> int:
    """Return the time, epoch ms."""
    return time.time_ns() // 1_000_000


def altered(notification: bytes, **fields) -> bytes:
    """Return a notification with other fields, signed as it was; None leaves a field out."""
    found = json.loads(notification) | fields
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()


def signed(signer: Signer, **fields: str) -> bytes:
    """Return an SNS message of any fields with a signature that is right for its type."""
    names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{fields[name]}\n" for name in names)
    signature = signer.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return json.dumps(
        fields
        | {
            "SignatureVersion": "2",
            "Signature": b64encode(signature).decode(),
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        }
    ).encode()


SENTENCES = {
    "malformed": {
        "The body is not a JSON object.",
        "A field of an SNS message is missing or not a string.",
        "The signature or a signed field is not a string.",
    },
    "not-json": {"The body is not JSON."},
    "unknown-type": {"SNS sends no messages of this type."},
    "too-large": {"The body is larger than an SNS notification can be."},
    "signature": {"The signature does not match."},
    "signature-version": {"SignatureVersion is neither 1 nor 2."},
    "foreign-topic": {"The topic is not on the allow-list."},
    "stale-confirmation": {"The subscription confirmation is over an hour old."},
    "subscribe-url": {"SubscribeURL does not confirm this topic."},
}
"""All that a refusal may say, by its reason: nothing of what was posted."""


def forgeries(body: bytes, signer: Signer) -> dict[str, tuple[bytes, int, str]]:
    """Return kinds of what is not ours: (what is posted, status, reason)."""
    good = signer.sign(body)
    other = Signer.generate()
    message = json.loads(good)["Message"]
    return {
        "unsigned": (altered(good, Signature=None), 400, "malformed"),
        "signature of another key": (other.sign(body), 403, "signature"),
        "signature cut": (altered(good, Signature="AAAA"), 403, "signature"),
        "signature no base64": (altered(good, Signature="%%%"), 400, "malformed"),
        "message altered": (altered(good, Message=message.replace("a", "b", 1)), 403, "signature"),
        "message stripped": (altered(good, Message=message.strip()), 403, "signature"),
        "subject taken away": (altered(good, Subject=None), 403, "signature"),
        "subject emptied": (altered(good, Subject=""), 403, "signature"),
        "time altered": (altered(good, Timestamp="2026-01-01T00:00:00.000Z"), 403, "signature"),
        "id altered": (altered(good, MessageId="0" * 36), 403, "signature"),
        "version 1 for 2": (altered(good, SignatureVersion="1"), 403, "signature"),
        "version 3": (altered(good, SignatureVersion="3"), 403, "signature-version"),
        "version a number": (altered(good, SignatureVersion=2), 403, "signature-version"),
        "topic of somebody else": (
            signer.sign(body, TOPIC_ARN.replace("ses-", "their-")),
            403,
            "foreign-topic",
        ),
        "topic of another region": (
            altered(good, TopicArn=TOPIC_ARN.replace("eu-west-1", "eu-west-2")),
            403,
            "foreign-topic",
        ),
        "type of no SNS message": (altered(good, Type="Alarm"), 400, "unknown-type"),
        "type in other letters": (altered(good, Type="notification"), 400, "unknown-type"),
        "message an object": (altered(good, Message={"a": 1}), 400, "malformed"),
        "an array": (b"[%b]" % good, 400, "malformed"),
        "nothing": (b"", 400, "not-json"),
        "half of it": (good[: len(good) // 2], 400, "not-json"),
        "a form": (b"Type=Notification&Message=x", 400, "not-json"),
        "deep nesting": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "not-json"),
        "not UTF-8": (good.replace(b"Amazon", b"\xff\xfe", 1), 400, "not-json"),
        "a NUL": (good.replace(b"Amazon", b"\x00", 1), 400, "not-json"),
        "too large": (altered(good, More="x" * 400_000), 413, "too-large"),
        "a bare SES event": (body, 400, "malformed"),
        "a stale subscription confirmation": (
            signer.confirmation(at=now() - 2 * 3_600_000),
            403,
            "stale-confirmation",
        ),
        "a confirmation of somebody else's URL": (
            signed(
                signer,
                Message="You have chosen to subscribe",
                MessageId="m",
                SubscribeURL="https://sns.eu-west-1.amazonaws.com.evil.example/?Action=Confirm",
                Timestamp=msgspec.json.decode(signer.confirmation())["Timestamp"],
                Token="t",
                TopicArn=TOPIC_ARN,
                Type="SubscriptionConfirmation",
            ),
            403,
            "subscribe-url",
        ),
    }


@pytest.fixture(scope="module")
def bodies(signer) -> list[bytes]:
    """Some SES events."""
    return Traffic.made(signer, seed=12, messages=10, campaigns=2).bodies


def test_forgeries_are_refused_counted_and_not_stored(server, signer, bodies) -> None:
    """Each kind by its reason and status, on both listeners; the good one after them is taken."""
    kinds = forgeries(bodies[0], signer)
    for port in (server.port, server.public):
        posted = post(port, [what for what, _, _ in kinds.values()], connections=1)
        assert posted.taken == set()
        for at, (name, (_, status, reason)) in enumerate(kinds.items()):
            answer = posted.refused[at]
            assert (name, answer.status, answer.reason) == (name, status, reason)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["cache-control"] == "no-store"
            assert "retry-after" not in answer.headers
            assert answer.problem.keys() == {
                "type",
                "title",
                "status",
                "detail",
                "requestId",
                "reason",
            }
            assert answer.problem["detail"] in SENTENCES[reason]
    counted = Counter((reason, status) for _, status, reason in kinds.values())
    assert server.refusals() == {key: 2 * n for key, n in counted.items()}
    held = server.holds()
    assert (held.records, held.rollups, held.quarantined) == ({}, {}, {})
    assert server.post([signer.sign(bodies[0])]).statuses == {200: 1}
    server.stop()
    assert [line["disposition"] for line in server.journal] == ["created"]
    # the first at once, the others together; no word that is not ours
    told: Counter[tuple[str, int]] = Counter()
    for line in server.errors.splitlines():
        found = re.fullmatch(r"INTAKE_REFUSED (\S+) (\d+) (?:once|(\d+) times)\. (.*)", line)
        told[found[1], int(found[2])] += int(found[3] or 1)
        assert found[4] == advice(found[1])
    assert told == {key: 2 * n for key, n in counted.items()}
    assert len(server.errors.splitlines()) <= 2 * len(counted)


def test_headers_that_differ_from_the_body_are_refused(server, signer, bodies) -> None:
    """SNS says type, topic and id twice; raw delivery has no signature at all."""
    good = signer.sign(bodies[0])
    cases = [
        ({"x_amz_sns_message_type": "SubscriptionConfirmation"}, "header-mismatch"),
        ({"x_amz_sns_topic_arn": TOPIC_ARN + "2"}, "header-mismatch"),
        ({"x_amz_sns_message_id": "another"}, "header-mismatch"),
        ({"x_amz_sns_rawdelivery": "true"}, "raw-delivery"),
    ]
    for headers, reason in cases:
        answer = ask(server.port, request(good, **headers))
        assert (answer.status, answer.reason) == (400, reason)
        assert answer.problem["detail"] in (
            "Raw message delivery carries no signature: turn it off for this subscription.",
            *(f"{header.replace('_', '-')} differs from the body." for header in headers),
        )
    assert server.refusals() == {("header-mismatch", 400): 3, ("raw-delivery", 400): 1}
    matching = {"x_amz_sns_message_type": "Notification", "x_amz_sns_topic_arn": TOPIC_ARN}
    assert ask(server.port, request(good, **matching)).status == 200


def test_a_signature_version_that_the_topic_does_not_use_is_refused(
    tmp_path, signer, bodies
) -> None:
    """A topic set to version 2 takes no version 1, though its signature is right."""
    topics = 'signature_versions = ["2"]\n'
    with running(tmp_path, signer) as server:
        assert server.post([signer.sign(bodies[0], version="1")]).statuses == {200: 1}
        server.stop()
        text = server.settings.read_text()
        server.settings.write_text(text.replace("[server]", f"{topics}[server]"))
        server.start()
        refused = server.post([signer.sign(bodies[1], version="1")]).refused
        assert (refused[0].status, refused[0].reason) == (403, "signature-version")
        assert server.post([signer.sign(bodies[1])]).statuses == {200: 1}


def test_a_genuine_notification_ten_days_old_is_applied(server, signer) -> None:
    """SNS may be late, or its dead-letter queue emptied by hand: late is no forgery."""
    old = Traffic.made(signer, seed=13, messages=10, campaigns=2, end=now() - 10 * DAY)
    late = [signer.sign(body, at=now() - 10 * DAY) for body in old.bodies]
    assert server.post(late).statuses == {200: len(late)}
    held = server.holds()
    assert all(held.has(body) for body in old.bodies)


def test_a_subscription_to_the_pinned_topic_is_confirmed(server, signer) -> None:
    """Without a call to AWS: the account is one that AWS never issues."""
    assert server.post([signer.confirmation()]).statuses == {200: 1}
    assert server.metrics()["sesight_events_total", "confirmed", "none", "none"] == 1
    server.stop()
    assert [line["disposition"] for line in server.journal] == ["confirmed"]
    assert server.holds().quarantined == {}


def test_the_end_of_a_subscription_is_ignored_and_never_undone(server, signer) -> None:
    """Somebody unsubscribed us: an alarm's business, and SubscribeURL is not visited."""
    gone = signed(
        signer,
        Message="You have chosen to deactivate subscription",
        MessageId="m-1",
        SubscribeURL="https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        Timestamp="2026-01-01T00:00:00.000Z",
        Token="t",
        TopicArn=TOPIC_ARN,
        Type="UnsubscribeConfirmation",
    )
    assert server.post([gone]).statuses == {200: 1}
    assert server.metrics()["sesight_events_total", "ignored", "none", "none"] == 1

    def told() -> bool:
        health = json.loads(server.get("/api/health/intake").body)
        return any(
            "a subscription to this server has ended" in each for each in health["sentences"]
        )

    assert told()
    assert server.post([signer.confirmation()]).statuses == {200: 1}
    assert not told()


def test_what_is_ours_but_not_understood_is_quarantined_and_answered_200(server, signer) -> None:
    """It came from our topic: it is kept, with its reason, and once however often it comes."""
    strange = [
        b'{"eventType":"Sent by hand"}',
        b'{"eventType":"Delivery","mail":{}}',
        b'{"notificationType":"Delivery","mail"',
    ]
    for _ in range(2):
        assert server.post([signer.sign(body) for body in strange]).statuses == {200: 3}
    held = server.holds()
    assert (sum(held.quarantined.values()), held.records) == (3, {})
    metrics = server.metrics()
    assert metrics["sesight_events_total", "quarantined", "none", "none"] == 6
    assert sum(n for key, n in metrics.items() if key[0] == "sesight_quarantined_total") == 6


def test_the_same_path_on_the_public_listener_takes_a_genuine_one(server, signer, bodies) -> None:
    """With or without /api before it."""
    for n, path in enumerate((EVENTS, "/ses/events")):
        assert ask(server.public, request(signer.sign(bodies[n]), path)).status == 200
    held = server.holds()
    assert held.has(bodies[0])
    assert held.has(bodies[1])
