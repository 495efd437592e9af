"""Shapes in which public projects, SES's documents and SES-like services hand events over, each with what
becomes of it. The shapes are theirs; all data is ours.
"""

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest

from tests.payload import GONE, payload
from tests.reception import Reception

SET = "outreach-tracking"
TAGGED = {"mail.tags": {"ses:configuration-set": [SET]}}
MINIMAL = {"mail.sourceArn": GONE, "mail.sendingAccountId": GONE, "mail.headersTruncated": GONE} | {
    "mail.headers": GONE,
    "mail.commonHeaders": GONE,
}
BOUNCED = {"emailAddress": "gone@example.org"}


def event(name: str, **changes: Any) -> dict[str, Any]:
    """Return a payload, its fields named with `__` for a dot changed."""
    return payload(name, {key.replace("__", "."): value for key, value in changes.items()})


def bare(name: str, *left_out: str, **changes: Any) -> dict[str, Any]:
    """Return a payload with no more of `mail` than most handlers look at."""
    gone = {f"mail__{key}": GONE for key in left_out}
    return payload(
        name,
        MINIMAL | TAGGED | {k.replace("__", "."): v for k, v in (gone | changes).items()},
    )


def text(value: Any) -> str:
    """Return a value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def sns(message: Any, **more: Any) -> dict[str, Any]:
    """Return an SNS notification over HTTP."""
    return {
        "Type": "Notification",
        "MessageId": "6f1a2b3c-0000-56f7-8a9b-0c1d2e3f0001",
        "TopicArn": "arn:aws:sns:eu-west-1:000000000000:mail",
        "Message": text(message),
        "Timestamp": "2026-11-14T08:15:31.000Z",
        "SignatureVersion": "1",
        "Signature": "QUJD",
        **more,
    }


def lambda_sns(*messages: Any, **more: Any) -> dict[str, Any]:
    """Return what SNS hands to a Lambda function."""
    sent = [{**sns(each), "SigningCertUrl": "x", "Subject": None, **more} for each in messages]
    return {
        "Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": one} for one in sent]
    }


def lambda_sqs(*bodies: Any) -> dict[str, Any]:
    """Return what SQS hands to a Lambda function."""
    return {
        "Records": [
            {"messageId": f"m-{n}", "body": text(each), "eventSource": "aws:sqs"}
            for n, each in enumerate(bodies)
        ]
    }


def bridged(detail: Any, kind: str = "Email Sent", source: str = "aws.ses") -> dict[str, Any]:
    """Return an EventBridge event."""
    return {"version": "0", "id": "1", "detail-type": kind, "source": source, "detail": detail}


def packed(*bodies: Any, end: str = "", pack: bool = False) -> str:
    """Return bodies as one record of Firehose or Kinesis."""
    data = "".join(text(each) + end for each in bodies).encode()
    return b64encode(gzip.compress(data) if pack else data).decode()


SEND, OPEN, CLICK = event("send"), event("open"), event("click")
BOUNCE, COMPLAINT = event("bounce_permanent_general"), event("complaint")
SETUP = {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have subscribed."}
RECEIVED = {
    "notificationType": "Received",
    "mail": {"messageId": "in-1", "source": "ana@example.org", "destination": ["in@example.com"]},
    "receipt": {"recipients": ["in@example.com"], "action": {"type": "SNS"}},
    "content": "Subject: hello",
}
TIME = {"mail__timestamp": "2026-11-14T11:15:30.41208+03:00"}

SHAPES: dict[str, tuple[Any, list[str]]] = {
    # an event by itself: what handlers and their fixtures put into it, and leave out
    **{
        f"only what is looked at: {name}": (bare(name), ["created"])
        for name in (
            *("send", "delivery", "open", "click", "reject", "subscription"),
            *("bounce_permanent_general", "bounce_undetermined", "complaint", "delivery_delay"),
            *("bounce_transient_auto_reply_no_dsn", "bounce_transient_custom_timeout"),
        )
    },
    "rendering failure without a send object": (bare("rendering_failure"), ["created"]),
    "type in lower case": (bare("open", eventType="open"), ["created"]),
    "type as the API spells it": (
        bare("rendering_failure", eventType="RENDERING_FAILURE"),
        ["created"],
    ),
    "type in camel case": (bare("rendering_failure", eventType="renderingFailure"), ["created"]),
    "both type fields": (bare("complaint", notificationType="Complaint"), ["created"]),
    "a Send as a notification": (
        bare("send", eventType=GONE, notificationType="Send"),
        ["created"],
    ),
    "no destination": (bare("complaint", "destination"), ["created"]),
    "destination is a text": (bare("delivery", mail__destination="ana@example.org"), ["created"]),
    "destination with a name": (
        bare("send", mail__destination=["Ana <ana@example.org>"]),
        ["created"],
    ),
    "source in quotes": (bare("send", mail__source='"The News" <news@example.com>'), ["created"]),
    "source without an address": (bare("send", mail__source="news"), ["created"]),
    "tags as texts": (bare("send", mail__tags={"ses:configuration-set": SET}), ["created"]),
    "subtype missing": (bare("bounce_permanent_general", bounce__bounceSubType=GONE), ["created"]),
    "bounce suppressed": (
        bare("bounce_permanent_general", bounce__bounceSubType="Suppressed"),
        ["created"],
    ),
    "bounce with addresses alone": (
        bare("bounce_permanent_general", bounce__bouncedRecipients=[BOUNCED]),
        ["created"],
    ),
    "bounced addresses as texts": (
        bare("bounce_permanent_general", bounce__bouncedRecipients=["gone@example.org"]),
        ["created"],
    ),
    "two bounced of two": (
        bare(
            "bounce_permanent_general",
            mail__destination=["gone@example.org", "bo@example.org"],
            bounce__bouncedRecipients=[BOUNCED, {"emailAddress": "bo@example.org"}],
        ),
        ["created"],
    ),
    "nobody bounced": (bare("bounce_permanent_general", bounce__bouncedRecipients=[]), ["created"]),
    "feedback id alone": (bare("complaint", complaint__complaintFeedbackType=GONE), ["created"]),
    "complaint without a subtype": (
        bare("complaint", complaint__complaintSubType=GONE),
        ["created"],
    ),
    "click without link tags": (bare("click", click__linkTags=GONE), ["created"]),
    "open of a bot": (bare("open", open__isBotEvent="Likely"), ["created"]),
    "five digits of a second and an offset": (bare("delivery", **TIME), ["created"]),
    "offset with a space": (
        bare("complaint", complaint__arrivalDate="2026-11-14T08:15:30 +0000"),
        ["created"],
    ),
    "event id of an SES-like service": (
        bare("send", eventId="x:0", mail__identityId="y"),
        ["created"],
    ),
    "common headers without a subject": (
        bare("send", mail__commonHeaders={"from": ["news@example.com"], "messageId": "x"}),
        ["created"],
    ),
    "bounce without a body": (
        bare("bounce_permanent_general", bounce=GONE),
        ["quarantined no-body"],
    ),
    "mail without an id": (bare("send", "messageId"), ["quarantined no-message-id"]),
    "mail without a time, id of a test": (
        bare("send", "timestamp", mail__messageId="ses-1"),
        ["quarantined no-send-time"],
    ),
    "mail without a time": (bare("send", "timestamp"), ["expired"]),  # its id tells of July
    "no mail": (event("complaint", mail=GONE), ["quarantined not-an-event"]),
    "no type": (event("complaint", eventType=GONE), ["quarantined not-an-event"]),
    "a type of tomorrow": (event("send", eventType="Forward"), ["quarantined unknown-type"]),
    "another project's set": (
        bare("send", mail__tags={"ses:configuration-set": ["theirs"]}),
        ["quarantined unknown-set"],
    ),
    # feedback notifications
    "feedback bounce": (event("feedback_bounce"), ["quarantined unrouted"]),
    "feedback complaint": (event("feedback_complaint"), ["quarantined unrouted"]),
    "feedback delivery": (event("feedback_delivery"), ["quarantined unrouted"]),
    "feedback set-up": (SETUP, ["ignored setup-message"]),
    "feedback set-up over SNS": (sns(text(SETUP) + "\n"), ["ignored setup-message"]),
    # SNS
    "SNS": (sns(BOUNCE), ["created"]),
    "SNS with a line's end": (sns(text(CLICK) + "\n"), ["created"]),
    "SNS indented": (sns(json.dumps(OPEN, indent=2)), ["created"]),
    "SNS with a subject": (
        sns(SEND, Subject="Amazon SES Email Event Notification", UnsubscribeURL="x"),
        ["created"],
    ),
    "SNS with attributes": (
        sns(SEND, MessageAttributes={"a": {"Type": "String", "Value": "b"}}),
        ["created"],
    ),
    "SNS no more than is looked at": (
        {"Type": "Notification", "Message": text(COMPLAINT)},
        ["created"],
    ),
    "SNS message written twice": (sns(json.dumps(text(SEND))), ["created"]),
    "SNS message as an object": (sns("") | {"Message": SEND}, ["quarantined not-an-event"]),
    "SNS without a type": ({"Message": text(SEND)}, ["quarantined not-an-event"]),
    "SNS of the console": (sns("Hello from the console"), ["ignored plain-text"]),
    "SNS with nothing": (sns(""), ["ignored plain-text"]),
    "SNS of another service": (
        sns({"AlarmName": "high", "NewStateValue": "ALARM"}),
        ["ignored foreign"],
    ),
    "SNS of somebody's own JSON": (sns({"hello": "world"}), ["quarantined not-an-event"]),
    "SNS confirmation": (
        {
            "Type": "SubscriptionConfirmation",
            "Token": "t",
            "Message": "Confirm.",
            "SubscribeURL": "x",
        },
        ["ignored confirmation"],
    ),
    "SNS validation": (
        sns("Successfully validated SNS topic for Amazon SES event publishing."),
        ["ignored validation"],
    ),
    "SNS cut off": (sns(text(SEND)[:300]), ["quarantined not-json"]),
    "SNS to Lambda": (lambda_sns(SEND), ["created"]),
    "SNS to Lambda, several": (lambda_sns(SEND, CLICK, SEND), ["created", "created", "duplicate"]),
    "SNS to Lambda, a test": (lambda_sns("KILL", Type="Notification"), ["ignored plain-text"]),
    "SNS to Lambda, no source named": ({"Records": [{"Sns": sns(SEND)}]}, ["created"]),
    "SNS to Lambda, invented source": (
        {"Records": [{"eventSource": "mail:imap", "Sns": sns(RECEIVED)}]},
        ["ignored inbound-mail"],
    ),
    # SQS
    "SNS to SQS to Lambda": (lambda_sqs(sns(SEND), sns(OPEN)), ["created", "created"]),
    "raw to SQS to Lambda": (lambda_sqs(SEND, "poison"), ["created", "quarantined not-json"]),
    "EventBridge to SQS to Lambda": (lambda_sqs(bridged(SEND)), ["created"]),
    "S3 to SQS to Lambda": (
        lambda_sqs({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "k"}}}]}),
        ["ignored foreign"],
    ),
    "S3's test event in SQS": (
        lambda_sqs({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
        ["quarantined not-an-event"],
    ),
    "array in SQS": (lambda_sqs([SEND, OPEN]), ["created", "created"]),
    "polled": ({"Messages": [{"MessageId": "1", "Body": text(sns(SEND))}]}, ["created"]),
    "polled, nothing there": ({"Messages": []}, []),
    "dead letter of Lambda": ({"requestPayload": lambda_sns(SEND), "version": "1.0"}, ["created"]),
    # EventBridge
    "EventBridge": (bridged(SEND), ["created"]),
    "EventBridge, replayed": (bridged(OPEN, "Email Opened") | {"replay-name": "r"}, ["created"]),
    "EventBridge, own bus": (bridged(CLICK, "Click", "example.mail"), ["created"]),
    "EventBridge, a pipe": (bridged(sns(SEND), "Event from aws:sqs", "Pipe mail"), ["created"]),
    "EventBridge without an event type": (
        bridged(event("bounce_permanent_general", eventType=GONE), "Email Bounced"),
        ["quarantined not-an-event"],
    ),
    "EventBridge advice": (
        bridged({"version": "1.0"}, "Advisor Recommendation Status Open"),
        ["ignored foreign"],
    ),
    "EventBridge, calls of the API": (
        bridged({"eventSource": "ses.amazonaws.com"}, "AWS API Call via CloudTrail"),
        ["ignored foreign"],
    ),
    "EventBridge, a schedule": (bridged({}, "Scheduled Event", "aws.events"), ["ignored foreign"]),
    "Pipes to Lambda": (
        [{"messageId": "1", "body": text(SEND), "eventSource": "aws:sqs"}],
        ["created"],
    ),
    # Firehose and Kinesis
    "Firehose to Lambda": ({"records": [{"recordId": "1", "data": packed(SEND)}]}, ["created"]),
    "Firehose, lines": (
        {"records": [{"recordId": "1", "data": packed(SEND, OPEN, end="\n")}]},
        ["created", "created"],
    ),
    "Firehose, compressed": (
        {"records": [{"recordId": "1", "data": packed(SEND, end="\n", pack=True)}]},
        ["created"],
    ),
    "Kinesis to Lambda": (
        {
            "Records": [
                {
                    "eventSource": "aws:kinesis",
                    "kinesis": {"sequenceNumber": "1", "data": packed(SEND)},
                }
            ]
        },
        ["created"],
    ),
    "Kinesis, EventBridge inside": (
        {"Records": [{"kinesis": {"sequenceNumber": "1", "data": packed(bridged(SEND))}}]},
        ["created"],
    ),
    # mail received
    "mail received": (RECEIVED, ["ignored inbound-mail"]),
    "mail received over SNS": (sns(RECEIVED), ["ignored inbound-mail"]),
    "mail received, to Lambda": (
        {"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": RECEIVED}]},
        ["ignored inbound-mail"],
    ),
    # other things at the same door
    "array of events": ([SEND, OPEN, CLICK], ["created", "created", "updated"]),
    "array of somebody's own": ([{"event": "processed"}] * 9, ["quarantined not-an-event"]),
    "body of a proxied request": (
        {"httpMethod": "POST", "body": text(sns(SEND)), "isBase64Encoded": False},
        ["quarantined not-an-event"],
    ),
    "logs by subscription": (
        {"awslogs": {"data": packed(SEND, pack=True)}},
        ["quarantined not-an-event"],
    ),
    "trail of calls": (
        {"Records": [{"eventVersion": "1.08", "eventSource": "ses.amazonaws.com"}]},
        ["ignored foreign"],
    ),
    "written twice": (text(text(SEND)), ["created"]),
    "nothing": ({}, ["quarantined not-an-event"]),
}


def test_number_of_shapes() -> None:
    """There are over a hundred shapes, no two alike."""
    written = {json.dumps(shape, sort_keys=True) for shape, _ in SHAPES.values()}
    assert len(written) == len(SHAPES) > 100


@pytest.mark.parametrize("name", SHAPES)
def test_shape(reception: Reception, name: str) -> None:
    """Every shape has the disposition it must have, and none is a surprise; a second time nothing is
    new, and nothing but whole bodies is in the quarantine.
    """
    shape, expected = SHAPES[name]
    data = shape.encode() if isinstance(shape, str) else json.dumps(shape).encode()
    assert reception.take(data) == expected
    again = reception.take(data)
    known = {"created": "duplicate", "updated": "duplicate"}
    assert [known.get(each, each) for each in expected] == again
    kept = [each for each in expected if each.startswith("quarantined")]
    assert len(reception.quarantine()) == len(kept)
    assert not any(b"Subject: hello" in held for _, held in reception.quarantine())


def test_all_shapes_at_once(reception: Reception) -> None:
    """All shapes in one file are read as each by itself: no two disturb each other."""
    bodies = [
        shape.encode() if isinstance(shape, str) else json.dumps(shape).encode()
        for shape, _ in SHAPES.values()
    ]
    told = reception.take(*bodies)
    expected = [each.split()[0] for _, some in SHAPES.values() for each in some]
    same = {"created": "taken", "updated": "taken", "duplicate": "taken"}
    assert [same.get(each.split()[0], each.split()[0]) for each in told] == [
        same.get(each, each) for each in expected
    ]
