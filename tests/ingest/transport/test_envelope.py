"""Envelopes: what each transport hands over, opened item by item."""

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest

from sesight.ingest.reader import read
from sesight.ingest.reading import EmptyReading, EventReading, UnreadableReading
from sesight.ingest.transport.envelope import (
    MAX_BODY,
    MAX_ITEMS,
    MAX_UNPACKED,
    Envelope,
    OpenedEnvelope,
    open_envelope,
    open_notification,
)
from tests.payload import body, payload, raw

SEND = body("send")


def opened(data: bytes | dict[str, Any] | list[Any], origin: str = "file") -> list[OpenedEnvelope]:
    """Return what is in an envelope."""
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return list(open_envelope(data, origin))


def told(found: list[OpenedEnvelope]) -> list[tuple[str, str]]:
    """Return the origin of each, with "event" or the code of why there is none."""
    return [(each.origin, "event" if isinstance(each, Envelope) else each.reason) for each in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("send.json", [("file", "event")]),
        ("feedback_delivery.json", [("file", "event")]),
        ("sns_http_notification_sigv1.json", [("file", "event")]),
        ("sns_http_subscription_confirmation.json", [("file", "confirmation")]),
        ("sns_http_unsubscribe_confirmation.json", [("file", "confirmation")]),
        ("sns_http_validation_message.json", [("file", "validation")]),
        (
            "lambda_sns_event.json",
            [("sns", "event")],
        ),
        (
            "lambda_sns_event_no_subject.json",
            [("sns", "event")],
        ),
        (
            "lambda_sqs_event_sns_envelope.json",
            [
                ("sqs", "event"),
                ("sqs", "event"),
            ],
        ),
        (
            "lambda_sqs_event_raw_delivery.json",
            [
                ("sqs", "event"),
                ("sqs", "not-json"),
            ],
        ),
        (
            "lambda_sqs_event_eventbridge.json",
            [("sqs", "event")],
        ),
        (
            "sqs_receive_message.json",
            [("sqs", "event")],
        ),
        ("eventbridge_email_opened.json", [("file", "event")]),
        ("sendgrid_event_webhook_batch.json", [("file", "not-an-event")]),
    ],
)
def test_transports(name: str, expected: list[tuple[str, str | None, str]]) -> None:
    """Every transport's envelope gives its bodies, each under the id it is reported by."""
    assert told(opened(raw(name))) == expected


def test_the_body_is_the_event() -> None:
    """What comes out of an envelope is the event's own JSON, whatever it came in."""
    assert [
        json.loads(opened(raw(name))[0].body)
        for name in ("sns_http_notification_sigv1.json", "eventbridge_email_opened.json")
    ] == [payload("bounce_permanent_general"), payload("eventbridge_email_opened")["detail"]]


@pytest.mark.parametrize("first", ["eventType", "mail", "extra"])
def test_order_of_keys(first: str) -> None:
    """An event is one whatever its first key and however it is laid out."""
    event = payload("send")
    turned = {first: event.get(first, 1), **event}
    for text in (json.dumps(turned), json.dumps(turned, indent=2)):
        assert told(opened(text.encode())) == [("file", "event")]


def test_firehose_records() -> None:
    """Records of a Firehose transformation are base64 and keep their ids; a broken one hides no other."""
    records = [
        {"recordId": "1", "data": b64encode(SEND).decode()},
        {"recordId": "2", "data": "no base64!"},
        {"recordId": "3"},
        "no record",
        {"recordId": "5", "data": b64encode(b"{").decode()},
        {"recordId": "6", "data": b64encode(SEND).decode()},
    ]
    assert told(opened({"records": records})) == [
        ("firehose", "event"),
        ("firehose", "malformed"),
        ("firehose", "malformed"),
        ("firehose", "malformed"),
        ("firehose", "not-json"),
        ("firehose", "event"),
    ]


def packed(body: bytes) -> str:
    """Return a body as Firehose and Kinesis hand it over."""
    return b64encode(body).decode()


def test_compressed_records() -> None:
    """A record that is compressed is unpacked, one of several lines is read line by line if all of
    them are JSON; what cannot be unpacked is unreadable as a whole.
    """
    records = [
        {"recordId": "1", "data": packed(gzip.compress(SEND))},
        {"recordId": "2", "data": packed(gzip.compress(SEND + b"\n" + SEND + b"\n"))},
        {"recordId": "3", "data": packed(SEND + b"\n")},
        {"recordId": "4", "data": packed(b"{half\n" + SEND + b"\n" + SEND)},
        {"recordId": "5", "data": packed(gzip.compress(SEND)[:-9])},
        {"recordId": "6", "data": packed(gzip.compress(bytes(MAX_UNPACKED + 1)))},
    ]
    assert told(opened({"records": records})) == [
        ("firehose", "event"),
        ("firehose", "event"),
        ("firehose", "event"),
        ("firehose", "event"),
        ("firehose", "not-json"),
        ("firehose", "malformed"),
        ("firehose", "too-large"),
    ]


def test_kinesis_records() -> None:
    """Records of a Kinesis stream are read as Lambda and as EventBridge Pipes hand them over."""
    event = json.dumps(
        {"detail-type": "Email Sent", "source": "aws.ses", "detail": payload("send")}
    )
    records = [
        {"kinesis": {"sequenceNumber": "495", "data": packed(SEND)}, "eventSource": "aws:kinesis"},
        {"kinesis": {"sequenceNumber": "496", "data": packed(event.encode())}},
        {"kinesis": {"sequenceNumber": "497"}, "eventSource": "aws:kinesis"},
    ]
    expected = [
        ("kinesis", "event"),
        ("kinesis", "event"),
        ("kinesis", "malformed"),
    ]
    assert told(opened({"Records": records})) == expected
    flat = [
        {"eventSource": "aws:kinesis", **each["kinesis"]}  # type: ignore[dict-item]
        for each in records
    ]
    assert told(opened(flat)) == expected


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("aws.ses", "Email Sent"),
        ("aws.ses", "SES Event"),
        ("mail.events", "Email Sent"),
        ("pipes.mail", "Event from aws:sqs"),
        (None, "x"),
        ("aws.events", 5),
    ],
)
def test_any_name_of_eventbridge(source: str | None, kind: object) -> None:
    """An SES event in EventBridge is read whatever a rule, a pipe or another bus calls it, also in an
    envelope of its own.
    """
    notified = {"Type": "Notification", "Message": SEND.decode()}
    for detail in (payload("send"), payload("feedback_bounce"), notified):
        data = {"version": "0", "detail-type": kind, "source": source, "detail": detail}
        if (source, kind) != ("aws.ses", "Email Sent") or detail is not notified:
            assert told(opened(data)) == [("file", "event")]


@pytest.mark.parametrize(
    "data",
    [
        {"detail-type": "Mail", "source": "x", "detail": {"event": payload("send")}},
        {"detail-type": "Mail", "source": "x", "detail": {"message": SEND.decode()}},
        {"detail-type": "Mail", "source": "x", "detail": {"payload": [payload("send")]}},
        {"AlarmName": "x", "event": payload("send")},
        {"Records": [{"eventSource": "aws:dynamodb", "dynamodb": payload("send")}]},
        {"Records": [{"eventSource": "aws:s3", "s3": json.dumps(payload("send"))}]},
    ],
    ids=range(6),
)
def test_an_event_in_what_is_foreign(data: dict[str, Any]) -> None:
    """What another service hands over is kept if an SES event seems to be in it."""
    assert [each.reason for each in opened(data)] == ["not-an-event"]


def test_arrays() -> None:
    """An array of bodies or records is read element by element; without any that can be read it is
    one unreadable body, however long.
    """
    bodies = [payload("send"), {"Type": "Notification", "Message": SEND.decode()}, 5, {"odd": 1}]
    assert told(opened(bodies)) == [
        ("file", "event"),
        ("file", "event"),
        ("file", "not-an-event"),
        ("file", "not-an-event"),
    ]
    records = [{"messageId": "1", "body": SEND.decode(), "eventSource": "aws:sqs"}]
    assert told(opened(records)) == [("sqs", "event")]
    for odd in ([], [1, 2], [{"odd": 1}] * 400, [[]], ["x"]):
        assert told(opened(odd)) == [("file", "not-an-event")]
    assert opened([{"odd": 1}] * 3)[0].body == b'[{"odd": 1}, {"odd": 1}, {"odd": 1}]'
    assert told(opened([{}] * (MAX_ITEMS + 1))) == [("file", "too-many-items")]
    assert told(opened(b'[{"a":"\\ud83d"}, ' + SEND + b"]"))[1] == ("file", "event")
    assert told(opened(b"[" + SEND)) == [("file", "not-json")]


def test_a_body_in_a_text() -> None:
    """A body that was written as JSON twice is read."""
    assert told(opened(json.dumps(SEND.decode()).encode())) == [("file", "event")]
    assert told(opened(b'"hello"')) == [("file", "not-json")]


RECEIVED = {
    "notificationType": "Received",
    "mail": {"messageId": "d6iitobk75ur44p8kdnnp7g2n800", "source": "ana@example.org"},
    "receipt": {"recipients": ["in@example.com"], "action": {"type": "SNS"}},
    "content": "From: ana@example.org\r\nSubject: hello\r\n\r\nA secret.",
}


@pytest.mark.parametrize(
    "data",
    [
        RECEIVED,
        {**RECEIVED, "mail": "?"},
        {**RECEIVED, "notificationType": "received"},
        {"Type": "Notification", "Message": json.dumps(RECEIVED)},
        {"Records": [{"messageId": "1", "body": json.dumps(RECEIVED)}]},
        {"Records": [{"eventSource": "aws:ses", "ses": RECEIVED}]},
        {"Records": [{"messageId": "1", "body": json.dumps(RECEIVED)[:-40]}]},
        {"Records": [{"messageId": "1", "body": json.dumps(RECEIVED | {"content": "x" * 2**20})}]},
        {"Type": "Notification", "Message": json.dumps(RECEIVED)[:-40]},
        {"Type": "Notification", "Message": json.dumps(json.dumps(RECEIVED))},
    ],
    ids=range(10),
)
def test_mail_that_was_received(data: dict[str, Any]) -> None:
    """Mail that SES received for us is ignored under a reason of its own, even if it cannot be read,
    and nothing of it is kept.
    """
    found = read(json.dumps(data).encode(), "file")
    assert found == [EmptyReading(found[0].origin, "inbound-mail")]


def test_a_bad_item_hides_no_other() -> None:
    """Each item of a batch is opened by itself, and what is unreadable is kept whole."""
    records = [
        {"messageId": "1", "body": "{"},
        {"messageId": "2", "body": 5},
        {"messageId": "3", "body": SEND.decode()},
        "no record",
        {"eventSource": "aws:s3", "s3": {}},
        {"EventSource": "aws:sns", "Sns": {"Type": "Notification"}},
        {"something": "else"},
    ]
    found = opened({"Records": records})
    assert told(found) == [
        ("sqs", "not-json"),
        ("sqs", "malformed"),
        ("sqs", "event"),
        ("file", "malformed"),
        ("file", "foreign"),
        ("file", "malformed"),
        ("file", "malformed"),
    ]
    assert [each.body for each in found if not isinstance(each, EmptyReading)] == [
        b"{",
        b'{"messageId":"2","body":5}',
        SEND,
        b'"no record"',
        b'{"EventSource":"aws:sns","Sns":{"Type":"Notification"}}',
        b'{"something":"else"}',
    ]


def test_polled_messages() -> None:
    """A message that is no object, or has no text, is unreadable by itself."""
    messages = [{"MessageId": "1", "Body": SEND.decode()}, 7, {"MessageId": "3"}]
    assert told(opened({"Messages": messages})) == [
        ("sqs", "event"),
        ("sqs", "malformed"),
        ("sqs", "malformed"),
    ]


def test_too_many_items() -> None:
    """More items than a transport hands over are refused as a whole, never cut off."""
    one = {"messageId": "1", "body": SEND.decode()}
    assert len(opened({"Records": [one] * MAX_ITEMS})) == MAX_ITEMS
    for name in ("Records", "Messages", "records"):
        whole = {name: [{}] * (MAX_ITEMS + 1)}
        assert told(opened(whole)) == [("file", "too-many-items")]


def nested(depth: int) -> bytes:
    """Return an event in so many notifications, each the message of the next."""
    found = SEND
    for _ in range(depth):
        found = json.dumps({"Type": "Notification", "Message": found.decode()}).encode()
    return found


@pytest.mark.parametrize(
    ("depth", "expected"), [(0, "event"), (1, "event"), (3, "event"), (5, "too-deep")]
)
def test_depth(depth: int, expected: str) -> None:
    """Envelopes may be within each other, but not without end."""
    assert told(opened(nested(depth))) == [("file", expected)]


def test_too_large() -> None:
    """A body in an envelope is at most what SQS takes."""
    fill = {"messageId": "1", "body": " " * (MAX_BODY + 1)}
    assert told(opened({"Records": [fill]})) == [("sqs", "too-large")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not-json"),
        (b"null", "not-an-event"),
        (b"5", "not-an-event"),
        (b"[]", "not-an-event"),
        (b"{}", "not-an-event"),
        (b'{"mail":null}', "not-an-event"),
        (b'{"Records":5}', "not-an-event"),
        (b'{"Type":"Notification"}', "not-an-event"),
        (b'{"Type":"Notification","Message":5}', "not-an-event"),
        (b"{" + b"[" * 100_000, "not-json"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not-json"),
        (b'{"a":"\xff"}', "not-an-event"),
        (b"\xff\xfe", "not-json"),
        (SEND[:-9], "event"),
        (b" " + SEND[:-9], "not-json"),
        (SEND + SEND, "event"),
        (b'{"AlarmName":"x"}', "foreign"),
        (b'{"detail-type":"Scheduled Event","source":"aws.events","detail":{}}', "foreign"),
        (
            b'{"detail-type":"AWS API Call via CloudTrail","source":"aws.ses","detail":{}}',
            "foreign",
        ),
        (
            b'{"detail-type":"Advisor Recommendation Status Open","source":"aws.ses"}',
            "foreign",
        ),
        (b'{"detail-type":"Email Sent","source":"aws.ses"}', "malformed"),
        (b'{"detail-type":"Email Sent","source":"aws.ses","detail":null}', "malformed"),
        (b'{"detail-type":"Email Sent","source":"aws.ses","detail":5}', "not-an-event"),
        (b"Successfully validated SNS topic for Amazon SES event publishing.\n", "validation"),
    ],
    ids=lambda value: value[:60].decode("ascii", "replace") if isinstance(value, bytes) else None,
)
def test_other_things(data: bytes, expected: str) -> None:
    """What is no event and no envelope of one is told apart by why."""
    assert told(opened(data)) == [("file", expected)]


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("Notification", SEND.decode() + "\n", "event"),
        ("Notification", "hello", "plain-text"),
        ("Notification", "", "plain-text"),
        ("Notification", "{", "not-json"),
        ("Notification", "[]", "not-an-event"),
        ("SubscriptionConfirmation", "You have chosen", "confirmation"),
        ("UnsubscribeConfirmation", "You have chosen", "confirmation"),
        ("Whatever", SEND.decode(), "confirmation"),
    ],
)
def test_notifications(kind: str, message: str, expected: str) -> None:
    """An SNS message is an event, a confirmation, words that people typed, or unreadable."""
    assert told(list(open_notification(kind, message, "http"))) == [("http", expected)]


def test_what_is_glued_to_mail_that_was_received() -> None:
    """A bounce that stands behind mail received, with nothing between, is kept."""
    received = b'{"notificationType":"Received","mail":{},"receipt":{}}'
    bounce = b'{"notificationType":"Bounce","mail":{},"bounce":{}}'
    [reading] = read(received + bounce, "firehose")
    assert isinstance(reading, UnreadableReading)
    assert (reading.reason, reading.body) == ("not-json", received + bounce)


def test_byte_order_marks() -> None:
    """However many byte order marks there are, a body is read."""
    [reading] = read(b"\xef\xbb\xbf" * 2_000 + raw("send.json"), "sqs")
    assert isinstance(reading, EventReading)


@pytest.mark.parametrize(
    ("data", "better"),
    [
        (b"\xef\xbb\xbf" + b" " + SEND, SEND),
        (b' {"mail":{},"x":"\\ud83d"}', b'{"mail":{},"x":" "}'),
        (b' {"mail":{},"x":"\\ud83d\\ude00"}', b'{"mail":{},"x":"\\ud83d\\ude00"}'),
    ],
)
def test_repaired(data: bytes, better: bytes) -> None:
    """A byte order mark and lone surrogates do not make an event unreadable."""
    [found] = opened(data)
    assert json.loads(found.body) == json.loads(better)
