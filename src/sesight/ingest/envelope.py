"""Envelopes: open whatever HTTP, SQS, Lambda, EventBridge, Firehose or a file hands over.

An opened envelope holds one SES body not yet read, or says that there is none, or why it cannot be
opened: one bad item of a batch never hides the others. Envelopes may be nested (SNS in SQS in a
Lambda record); the depth is bounded.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from sesight.domain.errors import Unreadable
from sesight.ingest.mending import mended

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY = 1_048_576
"""Bytes of one body; SQS and SNS allow no more."""

MAX_DEPTH = 4
"""Envelopes within envelopes."""

MAX_ITEMS = 10_000
"""Items of one envelope; SQS hands Lambda at most 10,000."""

VALIDATION = "Successfully validated SNS topic for Amazon SES event publishing."
"""What SES publishes, as plain text, when an event destination is made."""


class Envelope(Struct, frozen=True, gc=False):
    """One body of one delivery. `origin` is the outermost transport; `item` its id there (an SQS
    message id, a stream record's), by which a failure is reported. `nothing` says, as a code, why
    there is no event in it; then `body` is empty. `unreadable` is the code of why it could not be
    opened, `detail` the sentence; then `body` is all there is.
    """

    origin: str
    body: bytes
    item: str | None = None
    nothing: str | None = None
    unreadable: str | None = None
    detail: str = ""


_NULL = msgspec.Raw(b"null")


class _Outer(Struct):
    """The fields that tell envelopes apart."""

    mail: msgspec.Raw = _NULL  # msgspec reads nothing but null for a `Raw | None`
    event_type: Any = msgspec.field(default=None, name="eventType")
    notification_type: Any = msgspec.field(default=None, name="notificationType")
    type: Any = msgspec.field(default=None, name="Type")
    message: Any = msgspec.field(default=None, name="Message")
    records: Any = msgspec.field(default=None, name="Records")
    firehose: Any = msgspec.field(default=None, name="records")
    messages: Any = msgspec.field(default=None, name="Messages")
    detail_type: Any = msgspec.field(default=None, name="detail-type")
    detail: msgspec.Raw = _NULL
    source: Any = None
    alarm: Any = msgspec.field(default=None, name="AlarmName")
    given_up: msgspec.Raw = msgspec.field(default=_NULL, name="requestPayload")


_decode = msgspec.json.Decoder(_Outer).decode
_encode = msgspec.json.Encoder().encode
_EVENT_STARTS = (b'{"eventType":', b'{"notificationType":"B', b'{"notificationType":"C')


def is_plain(data: bytes) -> bool:
    """Return whether the bytes begin as SES's own events do, with no envelope around them."""
    return data.startswith(_EVENT_STARTS) and len(data) <= MAX_BODY


def open_envelope(data: bytes, origin: str, item: str | None = None) -> Iterator[Envelope]:
    """Yield the bodies in one delivery. Never raises for what the bytes hold."""
    yield from _kept(_open(data, origin, item, MAX_DEPTH), data, origin, item)


def _kept(
    opened: Iterator[Envelope], body: bytes, origin: str, item: str | None
) -> Iterator[Envelope]:
    """Yield what was opened; where it cannot be, the body with the reason why."""
    try:
        yield from opened
    except Unreadable as error:
        yield Envelope(origin, body, item, None, error.reason, str(error))


def _open(data: bytes, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    if len(data) > MAX_BODY and depth < MAX_DEPTH:
        raise Unreadable("too-large", f"The body is larger than {MAX_BODY} bytes.")
    if data.startswith(_EVENT_STARTS):
        yield Envelope(origin, data, item)
        return
    try:
        outer = _decode(data)
    except msgspec.ValidationError:
        raise Unreadable("not-an-event", "The body is JSON, but no object.") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        if data.strip().decode("utf-8", "replace") == VALIDATION:
            yield Envelope(origin, b"", item, "validation")
            return
        better = mended(data)
        if better is None:
            raise Unreadable("not-json", f"The body is not JSON: {error}") from None
        yield from _open(better, origin, item, depth)
        return
    if depth == 0:
        raise Unreadable("too-deep", f"More than {MAX_DEPTH} envelopes within each other.")
    yield from _sort(outer, data, origin, item, depth)


def _sort(
    outer: _Outer, data: bytes, origin: str, item: str | None, depth: int
) -> Iterator[Envelope]:
    if (
        bytes(outer.mail) != b"null"
        or outer.event_type is not None
        or outer.notification_type is not None
    ):
        yield Envelope(origin, data, item)
    elif outer.type is not None and isinstance(outer.message, str):
        yield from open_notification(str(outer.type), outer.message, origin, item, depth)
    elif outer.detail_type is not None:
        yield from _eventbridge(outer, origin, item, depth)
    elif isinstance(outer.records, list):
        yield from _records(outer.records, origin, item, depth)
    elif isinstance(outer.messages, list):
        for message in _bounded(outer.messages):
            yield from _item(message, "Body", "sqs", "MessageId", depth)
    elif isinstance(outer.firehose, list):
        for record in _bounded(outer.firehose):
            yield from _packed(record, depth)
    elif bytes(outer.given_up) != b"null":
        # what Lambda sends to a function's on-failure destination
        yield from _open(bytes(outer.given_up), origin, item, depth - 1)
    elif outer.alarm is not None:
        yield Envelope(origin, b"", item, "foreign")
    else:
        raise Unreadable("not-an-event", "The body is no SES event and no envelope of one.")


def open_notification(
    kind: str, message: str, origin: str, item: str | None = None, depth: int = MAX_DEPTH
) -> Iterator[Envelope]:
    """Yield the bodies in an SNS message of a kind: Notification or one of the confirmations.
    Never raises for what the message holds.
    """
    opened = _notification(kind, message, origin, item, depth)
    yield from _kept(opened, message.encode("utf-8", "replace"), origin, item)


def _notification(
    kind: str, message: str, origin: str, item: str | None, depth: int
) -> Iterator[Envelope]:
    if kind != "Notification":
        yield Envelope(origin, b"", item, "confirmation")
        return
    text = message.strip()
    if not text.startswith(("{", "[")):
        # people publish to topics by hand, and SES says hello in plain text
        yield Envelope(origin, b"", item, "validation" if text == VALIDATION else "plain-text")
        return
    yield from _text(message, origin, item, depth)


def _bounded(items: list[Any]) -> list[Any]:
    if len(items) > MAX_ITEMS:
        raise Unreadable("too-many-items", f"The envelope holds more than {MAX_ITEMS} items.")
    return items


def _item(record: object, text: str, origin: str, name: str, depth: int) -> Iterator[Envelope]:
    """Open one item of a batch, whose body is its field `text` and whose id its field `name`."""
    if not isinstance(record, dict):
        record = {text: record}
    body = record.get(text)
    whole = body.encode("utf-8", "replace") if isinstance(body, str) else _encode(record)
    item = _name(record, name)
    yield from _kept(_text(body, origin, item, depth), whole, origin, item)


def _packed(record: object, depth: int) -> Iterator[Envelope]:
    """Open one record of Firehose, whose body is base64."""
    packed = record.get("data") if isinstance(record, dict) else None
    item = _name(record, "recordId") if isinstance(record, dict) else None
    try:
        body = b64decode(packed, validate=True) if isinstance(packed, str) else None
    except ValueError:
        body = None
    if body is None:
        detail = "A Firehose record holds no base64."
        yield Envelope("firehose", _encode(record), item, None, "malformed", detail)
    else:
        yield from _kept(_open(body, "firehose", item, depth - 1), body, "firehose", item)


def _text(value: object, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    if not isinstance(value, str):
        raise Unreadable("malformed", "An envelope holds no text where its body should be.")
    yield from _open(value.encode("utf-8", "replace"), origin, item, depth - 1)


def _eventbridge(outer: _Outer, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    ours = (
        outer.source == "aws.ses"
        and isinstance(outer.detail_type, str)
        and outer.detail_type.startswith("Email ")
    )
    if not ours:
        yield Envelope(origin, b"", item, "foreign")
    elif bytes(outer.detail) == b"null":
        raise Unreadable("malformed", "An EventBridge event has no `detail`.")
    else:
        # an item is what the transport reports failures by: EventBridge itself has none
        yield from _open(bytes(outer.detail), origin, item, depth - 1)


def _records(records: list[Any], origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    for record in _bounded(records):
        if isinstance(record, dict) and "body" in record:
            yield from _item(record, "body", "sqs", "messageId", depth)
        else:
            yield from _kept(_record(record, origin, item, depth), _encode(record), origin, item)


def _record(record: object, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    if not isinstance(record, dict):
        raise Unreadable("malformed", "An event source's record is no object.")
    sns = record.get("Sns")
    if isinstance(sns, dict):
        kind, message = sns.get("Type"), sns.get("Message")
        if not isinstance(message, str):
            raise Unreadable("malformed", "An SNS record has no Message.")
        yield from open_notification(str(kind), message, "sns", _name(sns, "MessageId"), depth)
    elif "s3" in record or str(record.get("eventSource", "")).startswith("aws:"):
        yield Envelope(origin, b"", item, "foreign")
    else:
        raise Unreadable("malformed", "A record of no event source that is known.")


def _name(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None
