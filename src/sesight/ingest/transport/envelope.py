"""Envelopes: open whatever HTTP, SQS, Lambda, EventBridge, Firehose or a file hands over.

An opened envelope holds one SES body not yet read, or says that there is none, or why it cannot be
opened: one bad item of a batch never hides the others. Envelopes may be nested (SNS in SQS in a
Lambda record); the depth is bounded.
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
from sesight.ingest.ses.json_repair import mended

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY = 1_048_576
"""Bytes of one body; SQS and SNS allow no more."""

MAX_DEPTH = 4
"""Envelopes within envelopes."""

MAX_ITEMS = 10_000
"""Items of one envelope; SQS hands Lambda at most 10,000."""

MAX_UNPACKED = 16 * MAX_BODY
"""Bytes that a compressed record of Firehose or Kinesis may have when it is unpacked."""

VALIDATION = "Successfully validated SNS topic for Amazon SES event publishing."
"""What SES publishes, as plain text, when an event destination is made."""


INBOUND = "inbound-mail"
"""Why there is no event in what SES says of mail that it received for us."""

_RECEIVED = re.compile(rb'"notificationType\\*"\s*:\s*\\*"Received\\*"')
_NOT_RECEIVED = re.compile(rb'"notificationType\\*"\s*:\s*\\*"(?!Received\\*")')


def is_inbound(body: bytes) -> bool:
    """Return whether a body that cannot be read is one of mail received: it may hold that mail whole,
    and nothing else that is ours.
    """
    return (
        _RECEIVED.search(body) is not None
        and b'"receipt' in body
        and b"eventType" not in body
        and _NOT_RECEIVED.search(body) is None
    )


_GZIP = b"\x1f\x8b"


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
        yield from _no_object(data, origin, item, depth)
        return
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        yield from _no_json(data, origin, item, depth, error)
        return
    if depth == 0:
        raise _too_deep()
    yield from _sort(outer, data, origin, item, depth)


def _no_json(
    data: bytes, origin: str, item: str | None, depth: int, error: Exception
) -> Iterator[Envelope]:
    if data.strip().decode("utf-8", "replace") == VALIDATION:
        yield Envelope(origin, b"", item, "validation")
        return
    better = mended(data)
    if better is None:
        raise Unreadable("not-json", f"The body is not JSON: {error}")
    yield from _open(better, origin, item, depth)


def _too_deep() -> Unreadable:
    return Unreadable("too-deep", f"More than {MAX_DEPTH} envelopes within each other.")


def _no_object(data: bytes, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    """Open JSON that is no object: an array of bodies or records, or a body in a text of its own.

    An array with nothing to read in it is one body, however many elements it has.
    """
    try:
        value = msgspec.json.decode(data, type=list[msgspec.Raw] | str)
    except msgspec.ValidationError:
        raise Unreadable(
            "not-an-event", "The body is JSON, but neither an object nor events."
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        yield from _no_json(data, origin, item, depth, error)
        return
    if depth == 0:
        raise _too_deep()
    if isinstance(value, str):
        yield from _text(value, origin, item, depth)
        return
    found: list[Envelope] = []
    for element in map(bytes, _bounded(value)):
        opened = _element(element, origin, item, depth)
        found += _kept(opened, element, origin, item)
    if all(each.unreadable is not None for each in found):
        raise Unreadable("not-an-event", "The body is JSON, but neither an object nor events.")
    yield from found


_RECORD = ("Sns", "body", "eventSource", "kinesis")
"""Fields by which a record of an event source is known."""


def _element(element: bytes, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    """Open one element of an array: a record of an event source, as EventBridge Pipes hands them
    over, or a body.
    """
    try:
        record = msgspec.json.decode(element)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        record = None
    if isinstance(record, dict) and "mail" not in record and not record.keys().isdisjoint(_RECORD):
        yield from _records([record], origin, item, depth)
        return
    yield from _open(element, origin, item, depth - 1)


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
        yield from _eventbridge(outer, data, origin, item, depth)
    elif isinstance(outer.records, list):
        yield from _records(outer.records, origin, item, depth)
    elif isinstance(outer.messages, list):
        for message in _bounded(outer.messages):
            yield from _item(message, "Body", "sqs", "MessageId", depth)
    elif isinstance(outer.firehose, list):
        for record in _bounded(outer.firehose):
            firehose = record if isinstance(record, dict) else {"data": record}
            yield from _packed(firehose, "firehose", "recordId", depth)
    elif bytes(outer.given_up) != b"null":
        # what Lambda sends to a function's on-failure destination
        yield from _open(bytes(outer.given_up), origin, item, depth - 1)
    elif outer.alarm is not None:
        yield _foreign(data, origin, item)
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


_MAYBE_JSON = re.compile(r'[\s"\\]*[{\[]')
"""How an object or an array begins, by itself or in JSON texts within each other."""


def _notification(
    kind: str, message: str, origin: str, item: str | None, depth: int
) -> Iterator[Envelope]:
    if kind != "Notification":
        yield Envelope(origin, b"", item, "confirmation")
        return
    text = message.strip()
    if not _MAYBE_JSON.match(text):
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


def _packed(record: dict[str, Any], origin: str, name: str, depth: int) -> Iterator[Envelope]:
    """Open one record of Firehose or Kinesis, whose body is base64, often compressed as well."""
    packed, item = record.get("data"), _name(record, name)
    try:
        body = b64decode(packed, validate=True) if isinstance(packed, str) else None
    except ValueError:
        body = None
    if body is None:
        detail = f"A record of {origin} holds no base64."
        yield Envelope(origin, _encode(record), item, None, "malformed", detail)
    else:
        yield from _kept(_unpacked(body, origin, item, depth - 1), body, origin, item)


def _unpacked(body: bytes, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    """Open the body of a record: one document, or several on lines. Where one of those is no JSON
    the record is unreadable as a whole.
    """
    if body.startswith(_GZIP):
        try:
            with gzip.open(io.BytesIO(body)) as stream:
                body = stream.read(MAX_UNPACKED + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Unreadable("malformed", f"A record cannot be unpacked: {error}") from None
        if len(body) > MAX_UNPACKED:
            raise Unreadable("too-large", f"A record unpacks to over {MAX_UNPACKED} bytes.")
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > 1 and all(map(_is_json, lines)):
        for line in _bounded(lines):
            yield from _kept(_open(line, origin, item, depth), line, origin, item)
    else:
        yield from _open(body, origin, item, depth)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _text(value: object, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    if not isinstance(value, str):
        raise Unreadable("malformed", "An envelope holds no text where its body should be.")
    yield from _open(value.encode("utf-8", "replace"), origin, item, depth - 1)


def _eventbridge(
    outer: _Outer, data: bytes, origin: str, item: str | None, depth: int
) -> Iterator[Envelope]:
    """Open an event of EventBridge: what is in it says whether it is SES's, since a rule, a pipe or
    another bus may give it another source and another name.
    """
    detail = bytes(outer.detail)
    kind = str(outer.detail_type)
    # an item is what the transport reports failures by: EventBridge itself has none
    if outer.source == "aws.ses" and kind.startswith("Email "):
        if detail == b"null":
            raise Unreadable("malformed", "An EventBridge event has no `detail`.")
        yield from _open(detail, origin, item, depth - 1)
    elif kind.endswith(" via CloudTrail"):
        yield Envelope(origin, b"", item, "foreign")
    else:
        found = list(_kept(_open(detail, origin, item, depth - 1), detail, origin, item))
        if all(each.unreadable is not None or each.nothing == "foreign" for each in found):
            found = [_foreign(data, origin, item)]
        yield from found


_MAIL = re.compile(rb'"mail\\*"\s*:')


def _foreign(data: bytes, origin: str, item: str | None) -> Envelope:
    """Return what another service says: there is nothing of mail in it. Raises Unreadable if there
    seems to be, so that it is kept.
    """
    if _MAIL.search(data) is not None:
        raise Unreadable(
            "not-an-event", "It seems to hold an SES event in an envelope that is not known."
        )
    return Envelope(origin, b"", item, "foreign")


def _records(records: list[Any], origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    for record in _bounded(records):
        if isinstance(record, dict) and "body" in record:
            yield from _item(record, "body", "sqs", "messageId", depth)
        else:
            yield from _kept(_record(record, origin, item, depth), _encode(record), origin, item)


def _record(record: object, origin: str, item: str | None, depth: int) -> Iterator[Envelope]:
    if not isinstance(record, dict):
        raise Unreadable("malformed", "An event source's record is no object.")
    source = str(record.get("eventSource", ""))
    sns = record.get("Sns")
    if isinstance(sns, dict):
        kind, message = sns.get("Type"), sns.get("Message")
        if not isinstance(message, str):
            raise Unreadable("malformed", "An SNS record has no Message.")
        yield from open_notification(str(kind), message, "sns", _name(sns, "MessageId"), depth)
    elif isinstance(record.get("kinesis"), dict):
        yield from _packed(record["kinesis"], "kinesis", "sequenceNumber", depth)
    elif source == "aws:kinesis":
        yield from _packed(record, "kinesis", "sequenceNumber", depth)
    elif source == "aws:ses":
        yield Envelope(origin, b"", item, INBOUND)
    elif "s3" in record or source.startswith("aws:") or source.endswith(".amazonaws.com"):
        yield _foreign(_encode(record), origin, item)
    else:
        raise Unreadable("malformed", "A record of no event source that is known.")


def _name(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None
