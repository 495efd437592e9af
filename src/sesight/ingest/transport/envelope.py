"""Envelopes: the wrappers in which HTTP, SQS, Lambda, EventBridge, Firehose and files carry SES bodies.

Opening an envelope gives each SES body in it, not yet parsed, or says why there is none. One broken item
of a batch never hides the others. Envelopes may be nested (SNS in SQS in a Lambda record) to a bounded
depth.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from sesight.domain.errors import Unreadable
from sesight.ingest.reading import INBOUND, EmptyReading, UnreadableReading
from sesight.ingest.ses.json_repair import repaired

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY = 1_048_576
"""Bytes of one body; SQS and SNS allow no more."""

MAX_DEPTH = 4
"""Envelopes nested in each other."""

MAX_ITEMS = 10_000
"""Items of one envelope; SQS hands Lambda at most 10,000."""

MAX_UNPACKED = 16 * MAX_BODY
"""Bytes of a compressed Firehose or Kinesis record once it is decompressed."""

VALIDATION = "Successfully validated SNS topic for Amazon SES event publishing."
"""The plain text that SES publishes when an event destination is created."""

_RECEIVED = re.compile(rb'"notificationType\\*"\s*:\s*\\*"Received\\*"')
_NOT_RECEIVED = re.compile(rb'"notificationType\\*"\s*:\s*\\*"(?!Received\\*")')


def is_inbound(body: bytes) -> bool:
    """Return whether an unreadable body is SES's notice of a received message, and nothing else.

    Such a notice may contain that whole message, so it must not be quarantined.
    """
    return (
        _RECEIVED.search(body) is not None
        and b'"receipt' in body
        and b"eventType" not in body
        and _NOT_RECEIVED.search(body) is None
    )


class Envelope(Struct, frozen=True, gc=False):
    """One SES body, out of its envelopes. `origin` is the outermost transport."""

    origin: str
    body: bytes


OpenedEnvelope = Envelope | EmptyReading | UnreadableReading

_NULL = msgspec.Raw(b"null")


class _Outer(Struct):
    """The fields that tell envelopes apart."""

    mail: msgspec.Raw = _NULL  # msgspec accepts nothing but null for a `Raw | None`
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
    request_payload: msgspec.Raw = msgspec.field(default=_NULL, name="requestPayload")


_decode = msgspec.json.Decoder(_Outer).decode
_encode = msgspec.json.Encoder().encode
_EVENT_STARTS = (b'{"eventType":', b'{"notificationType":"B', b'{"notificationType":"C')


def is_bare_event(data: bytes) -> bool:
    """Return whether the bytes begin as SES writes its own events, with no envelope around them."""
    return data.startswith(_EVENT_STARTS) and len(data) <= MAX_BODY


def open_envelope(data: bytes, origin: str) -> Iterator[OpenedEnvelope]:
    """Yield the bodies in one delivery. Never raises for what the bytes hold."""
    yield from _or_unreadable(_open(data, origin, MAX_DEPTH), data, origin)


def _or_unreadable(
    opened: Iterator[OpenedEnvelope], body: bytes, origin: str
) -> Iterator[OpenedEnvelope]:
    """Yield what was opened; if it cannot be opened, the body with the reason."""
    try:
        yield from opened
    except Unreadable as error:
        yield UnreadableReading(origin, error.reason, str(error), body)


def _open(data: bytes, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    if len(data) > MAX_BODY and depth < MAX_DEPTH:
        raise Unreadable("too-large", f"The body is larger than {MAX_BODY} bytes.")
    if data.startswith(_EVENT_STARTS):
        yield Envelope(origin, data)
        return
    try:
        outer = _decode(data)
    except msgspec.ValidationError:
        yield from _open_array_or_text(data, origin, depth)
        return
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        yield from _open_broken_json(data, origin, depth, error)
        return
    if depth == 0:
        raise _too_deep()
    yield from _open_object(outer, data, origin, depth)


def _open_broken_json(
    data: bytes, origin: str, depth: int, error: Exception
) -> Iterator[OpenedEnvelope]:
    if data.strip().decode("utf-8", "replace") == VALIDATION:
        yield EmptyReading(origin, "validation")
        return
    better = repaired(data)
    if better is None:
        raise Unreadable("not-json", f"The body is not JSON: {error}")
    yield from _open(better, origin, depth)


def _too_deep() -> Unreadable:
    return Unreadable("too-deep", f"More than {MAX_DEPTH} envelopes are nested in each other.")


def _open_array_or_text(data: bytes, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    """Open JSON that is not an object: an array of bodies or records, or a body in a string.

    An array without any readable element is one unreadable body, whatever its length.
    """
    try:
        value = msgspec.json.decode(data, type=list[msgspec.Raw] | str)
    except msgspec.ValidationError:
        raise Unreadable(
            "not-an-event", "The body is JSON, but neither an object nor events."
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        yield from _open_broken_json(data, origin, depth, error)
        return
    if depth == 0:
        raise _too_deep()
    if isinstance(value, str):
        yield from _open_text(value, origin, depth)
        return
    bodies: list[OpenedEnvelope] = []
    for element in map(bytes, _bounded(value)):
        bodies += _or_unreadable(_open_element(element, origin, depth), element, origin)
    if all(isinstance(body, UnreadableReading) for body in bodies):
        raise Unreadable("not-an-event", "The body is JSON, but neither an object nor events.")
    yield from bodies


_RECORD_FIELDS = ("Sns", "body", "eventSource", "kinesis")
"""Fields that only records of a Lambda event source have."""


def _open_element(element: bytes, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    """Open an element of an array: a body, or a record as EventBridge Pipes passes them on."""
    try:
        record = msgspec.json.decode(element)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        record = None
    if (
        isinstance(record, dict)
        and "mail" not in record
        and not record.keys().isdisjoint(_RECORD_FIELDS)
    ):
        yield from _open_records([record], origin, depth)
        return
    yield from _open(element, origin, depth - 1)


def _open_object(outer: _Outer, data: bytes, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    if (
        bytes(outer.mail) != b"null"
        or outer.event_type is not None
        or outer.notification_type is not None
    ):
        yield Envelope(origin, data)
    elif outer.type is not None and isinstance(outer.message, str):
        yield from open_notification(str(outer.type), outer.message, origin, depth)
    elif outer.detail_type is not None:
        yield from _open_eventbridge(outer, data, origin, depth)
    elif isinstance(outer.records, list):
        yield from _open_records(outer.records, origin, depth)
    elif isinstance(outer.messages, list):
        for message in _bounded(outer.messages):
            yield from _open_sqs_message(message, "Body", depth)
    elif isinstance(outer.firehose, list):
        for record in _bounded(outer.firehose):
            firehose = record if isinstance(record, dict) else {"data": record}
            yield from _open_base64(firehose, "firehose", depth)
    elif bytes(outer.request_payload) != b"null":
        # Lambda wraps the event of a failed invocation for the function's on-failure destination
        yield from _open(bytes(outer.request_payload), origin, depth - 1)
    elif outer.alarm is not None:
        yield _foreign(data, origin)
    else:
        raise Unreadable("not-an-event", "The body is no SES event and no known envelope.")


def open_notification(
    kind: str, message: str, origin: str, depth: int = MAX_DEPTH
) -> Iterator[OpenedEnvelope]:
    """Yield the bodies in an SNS message. `kind` is its `Type`: Notification or one of the
    confirmations. Never raises for what the message holds.
    """
    opened = _open_notification(kind, message, origin, depth)
    yield from _or_unreadable(opened, message.encode("utf-8", "replace"), origin)


_MAYBE_JSON = re.compile(r'[\s"\\]*[{\[]')
"""How an object or array begins, also within JSON strings nested in each other."""


def _open_notification(
    kind: str, message: str, origin: str, depth: int
) -> Iterator[OpenedEnvelope]:
    if kind != "Notification":
        yield EmptyReading(origin, "confirmation")
        return
    text = message.strip()
    if not _MAYBE_JSON.match(text):
        # people publish to topics by hand, and SES announces itself in plain text
        yield EmptyReading(origin, "validation" if text == VALIDATION else "plain-text")
        return
    yield from _open_text(message, origin, depth)


def _bounded(items: list[Any]) -> list[Any]:
    if len(items) > MAX_ITEMS:
        raise Unreadable("too-many-items", f"The envelope holds more than {MAX_ITEMS} items.")
    return items


def _open_sqs_message(message: object, field: str, depth: int) -> Iterator[OpenedEnvelope]:
    """Open an SQS message, whose body is in a field: `Body` as polled, `body` as Lambda gets it."""
    text = message.get(field) if isinstance(message, dict) else message
    if isinstance(text, str):
        whole = text.encode("utf-8", "replace")
    else:
        whole = _encode(message if isinstance(message, dict) else {field: message})
    yield from _or_unreadable(_open_text(text, "sqs", depth), whole, "sqs")


def _open_base64(record: dict[str, Any], origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    """Open a Firehose or Kinesis record, whose `data` is base64 and often compressed as well."""
    data = record.get("data")
    try:
        body = b64decode(data, validate=True) if isinstance(data, str) else None
    except ValueError:
        body = None
    if body is None:
        detail = f"The data of a {origin} record is not base64."
        yield UnreadableReading(origin, "malformed", detail, _encode(record))
    else:
        yield from _or_unreadable(_open_lines(body, origin, depth - 1), body, origin)


_GZIP = b"\x1f\x8b"


def _open_lines(body: bytes, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    """Open one document or several on lines, perhaps gzipped. If any line is not JSON, the whole body
    is taken as one document.
    """
    if body.startswith(_GZIP):
        try:
            with gzip.open(io.BytesIO(body)) as stream:
                body = stream.read(MAX_UNPACKED + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Unreadable("malformed", f"A record cannot be decompressed: {error}") from None
        if len(body) > MAX_UNPACKED:
            raise Unreadable("too-large", f"A record decompresses to over {MAX_UNPACKED} bytes.")
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > 1 and all(map(_is_json, lines)):
        for line in _bounded(lines):
            yield from _or_unreadable(_open(line, origin, depth), line, origin)
    else:
        yield from _open(body, origin, depth)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _open_text(value: object, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    if not isinstance(value, str):
        raise Unreadable("malformed", "The body in an envelope is not a string.")
    yield from _open(value.encode("utf-8", "replace"), origin, depth - 1)


def _open_eventbridge(
    outer: _Outer, data: bytes, origin: str, depth: int
) -> Iterator[OpenedEnvelope]:
    """Open an EventBridge event. Whether it is SES's shows in its detail: a rule, a pipe or another
    bus may have changed its source and its detail type.
    """
    detail = bytes(outer.detail)
    kind = str(outer.detail_type)
    if outer.source == "aws.ses" and kind.startswith("Email "):
        if detail == b"null":
            raise Unreadable("malformed", "An EventBridge event has no `detail`.")
        yield from _open(detail, origin, depth - 1)
    elif kind.endswith(" via CloudTrail"):
        yield EmptyReading(origin, "foreign")
    else:
        bodies = list(_or_unreadable(_open(detail, origin, depth - 1), detail, origin))
        if all(
            isinstance(body, UnreadableReading)
            or (isinstance(body, EmptyReading) and body.reason == "foreign")
            for body in bodies
        ):
            bodies = [_foreign(data, origin)]
        yield from bodies


_MAIL = re.compile(rb'"mail\\*"\s*:')


def _foreign(data: bytes, origin: str) -> EmptyReading:
    """Return the reading of a body from another service. Raises Unreadable if it seems to hold an SES
    event all the same, so that it is quarantined.
    """
    if _MAIL.search(data) is not None:
        raise Unreadable("not-an-event", "It seems to hold an SES event in an unknown envelope.")
    return EmptyReading(origin, "foreign")


def _open_records(records: list[Any], origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    for record in _bounded(records):
        if isinstance(record, dict) and "body" in record:
            yield from _open_sqs_message(record, "body", depth)
        else:
            yield from _or_unreadable(_open_record(record, origin, depth), _encode(record), origin)


def _open_record(record: object, origin: str, depth: int) -> Iterator[OpenedEnvelope]:
    """Open a record of a Lambda event source other than SQS."""
    if not isinstance(record, dict):
        raise Unreadable("malformed", "A record of an event source is not an object.")
    source = str(record.get("eventSource", ""))
    sns = record.get("Sns")
    if isinstance(sns, dict):
        kind, message = sns.get("Type"), sns.get("Message")
        if not isinstance(message, str):
            raise Unreadable("malformed", "An SNS record has no Message.")
        yield from open_notification(str(kind), message, "sns", depth)
    elif isinstance(record.get("kinesis"), dict):
        yield from _open_base64(record["kinesis"], "kinesis", depth)
    elif source == "aws:kinesis":
        yield from _open_base64(record, "kinesis", depth)
    elif source == "aws:ses":
        yield EmptyReading(origin, INBOUND)
    elif "s3" in record or source.startswith("aws:") or source.endswith(".amazonaws.com"):
        yield _foreign(_encode(record), origin)
    else:
        raise Unreadable("malformed", "A record is of no known event source.")
