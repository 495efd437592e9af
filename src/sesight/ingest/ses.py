"""SES JSON -> events. The only reader of SES's field names.

AWS adds fields and values without notice, so everything is read leniently: null is absent, odd
types are coerced or dropped, unknown fields are skipped. Only what leaves no event is refused.
Shapes: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from sesight.domain.errors import Unreadable
from sesight.domain.event import (
    EVERYBODY,
    TAGS_KEPT,
    AnyOccurrence,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Event,
    Identity,
    Open,
    Reject,
    RenderingFailure,
    Report,
    Send,
    Subscription,
)
from sesight.domain.text import DAY, LONG, address, clean, instant, link_key, network

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RECIPIENTS = 100
"""Recipients read from one event; SES allows 50 a message."""

_NONE: dict[str, Any] = {}
_LONGEST_DELIVERY = 14 * DAY


class _CommonHeaders(Struct, gc=False):
    subject: Any = None


class _Mail(Struct, rename="camel", gc=False):
    timestamp: Any = None
    source: Any = None
    message_id: Any = None
    destination: Any = None
    sending_account_id: Any = None
    common_headers: _CommonHeaders | None = None
    tags: Any = None


class _OddMail(_Mail, rename="camel", gc=False):
    """The same, for bodies whose commonHeaders are missing or of another shape."""

    common_headers: Raw = Raw(b"null")  # type: ignore[assignment]
    headers: Any = None


class _Body(Struct, rename="camel", gc=False):
    event_type: Any = None
    notification_type: Any = None
    mail: _Mail | None = None
    send: Any = None
    delivery: Any = None
    bounce: Any = None
    complaint: Any = None
    open: Any = None
    click: Any = None
    reject: Any = None
    failure: Any = None
    delivery_delay: Any = None
    subscription: Any = None


class _OddBody(_Body, rename="camel", gc=False):
    mail: _OddMail | None = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_odd = msgspec.json.Decoder(_OddBody).decode

Destination = tuple[str, str | None, bool]
"""A normalised mailbox: address, spelling where it differs, mailable."""


def read_event(body: bytes | str) -> Event | None:
    """Read one SES event or feedback notification.

    Returns None for SES's own set-up message, which says nothing about mail. Raises Unreadable,
    whose reason is the code the body is quarantined under.
    """
    try:
        decoded = _decode(body)
        if decoded.mail is not None and decoded.mail.common_headers is None:
            decoded = _decode_odd(body)
    except msgspec.ValidationError:
        return _read_odd(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Unreadable("not-json", f"The body is not JSON: {error}") from None
    return _read(decoded)


def _read_odd(body: bytes | str) -> Event | None:
    try:
        return _read(_decode_odd(body))
    except msgspec.ValidationError as error:
        raise Unreadable("malformed", f"The body has the wrong shape: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Unreadable("not-json", f"The body is not JSON: {error}") from None


def _read(decoded: _Body) -> Event | None:
    named = decoded.event_type if decoded.event_type is not None else decoded.notification_type
    if decoded.mail is None:
        if decoded.notification_type == "AmazonSnsSubscriptionSucceeded":
            return None
        raise Unreadable("not-an-event", "The body has no `mail` object, so it is no SES event.")
    if type(named) is not str:
        raise Unreadable("not-an-event", "Neither eventType nor notificationType names an event.")
    reader = _READERS.get(named) or _READERS.get(_fold_name(named))
    if reader is None:
        raise Unreadable("unknown-type", f"SES event type {clean(named, 64)!r} is not known.")
    return reader(decoded, decoded.mail)


def _fold_name(name: str) -> str:
    return name.replace(" ", "").replace("_", "").replace("-", "").casefold()


def _event(
    mail: _Mail,
    sent_at: int,
    reports: tuple[Report, ...],
    template: str | None = None,
) -> Event:
    tags: tuple[tuple[str, str], ...] = ()
    configuration_set = isp = send_id = None
    held = mail.tags
    if type(held) is dict:
        configuration_set = _first(held.get("ses:configuration-set"))
        isp = _first(held.get("ses:recipient-isp"))
        send_id = _first(held.get("send_id"))
        tags = _tags(held)
    source = mail.source
    identity = Identity(
        sent_at,
        _sender(source) if type(source) is str else None,
        _subject(mail),
        template,
        send_id,
        isp,
        tags,
    )
    account = mail.sending_account_id
    return Event(
        _message_id(mail),
        identity,
        reports,
        configuration_set,
        account if account is None else clean(account),
    )


@lru_cache(1_024)
def _sender(source: str) -> str:
    return address(source)[0]


def _tags(held: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the sender's own tags as sorted pairs; SES's own are kept apart, send_id has a field."""
    pairs: list[tuple[str, str]] = []
    for name, values in held.items():
        if name[:4] == "ses:" or name == "send_id":
            continue
        if type(values) is list and len(values) == 1 and type(values[0]) is str:
            pairs.append(_pair(name, values[0]))
        else:
            pairs.extend(_pair(name, value) for value in _strings(values))
    return tuple(sorted(set(pairs))[:TAGS_KEPT])


@lru_cache(8_192)
def _pair(name: str, value: str) -> tuple[str, str]:
    return clean(name) or "", clean(value) or ""


def _message_id(mail: _Mail) -> str:
    found = clean(mail.message_id)
    if not found:
        raise Unreadable("no-message-id", "The event's `mail` names no messageId.")
    return found


def _sent_at(mail: _Mail) -> int:
    """Return the send time: `mail.timestamp`, else the one that SES writes into its message ids."""
    found = instant(mail.timestamp)
    if found is not None:
        return found[0]
    named = mail.message_id
    if isinstance(named, str) and len(named) > 16 and named[16] == "-":
        try:
            at = int(named[4:16], 16)
        except ValueError:
            at = 0
        if 946_684_800_000 < at < 4_102_444_800_000:
            return at
    raise Unreadable("no-send-time", "`mail.timestamp` is missing or no time.")


def _first(values: object) -> str | None:
    if type(values) is list and len(values) == 1:
        return clean(values[0])
    found = _strings(values)
    return min(found) if found else None


def _strings(values: object) -> list[str]:
    """Read a tag's values: SES sends a list; a bare text is a list of one, an empty list is absent."""
    if isinstance(values, list):
        return [text for text in map(clean, values) if text is not None]
    text = clean(values)
    return [] if text is None else [text]


def _subject(mail: _Mail) -> str | None:
    if not isinstance(mail, _OddMail):
        common = mail.common_headers
        return None if common is None else clean(common.subject)
    try:
        odd = msgspec.json.decode(bytes(mail.common_headers))
    except msgspec.DecodeError:
        odd = None
    subject = clean(odd.get("subject")) if isinstance(odd, dict) else None
    return subject if subject is not None else _header(mail.headers, "subject")


def _header(headers: object, wanted: str) -> str | None:
    """Return the first header of a name, whatever its case; names repeat."""
    for header in _items(headers):
        name = header.get("name")
        if isinstance(name, str) and name.lower() == wanted:
            return clean(header.get("value"))
    return None


def _items(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _destinations(mail: _Mail) -> list[Destination]:
    raw = mail.destination
    if type(raw) is list and len(raw) == 1:
        return [address(raw[0])]
    if isinstance(raw, str):
        raw = [raw]
    if not isinstance(raw, list):
        return []
    if len(raw) > MAX_RECIPIENTS:
        raise Unreadable(
            "too-many-recipients", f"The message names more than {MAX_RECIPIENTS} recipients."
        )
    return list({found[0]: found for found in map(address, raw)}.values())


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("no-body", f"The event has no `{name}` object.")
    return value


def _when(value: object, sent_at: int) -> tuple[int, str | None]:
    return instant(value) or (sent_at, "sent")


def _millis(value: object) -> int | None:
    if isinstance(value, (int, float, str)):
        try:
            found = int(float(value))
        except (ValueError, OverflowError):
            return None
        if 0 <= found <= _LONGEST_DELIVERY:
            return found
    return None


def _to_all(mail: _Mail, occurrence: AnyOccurrence) -> tuple[Report, ...]:
    """Report to every recipient of the message; to `*` where none is named."""
    found = _destinations(mail)
    if not found:
        return (Report(EVERYBODY, occurrence, None, False),)
    return tuple([Report(to, occurrence, spelling, ok) for to, spelling, ok in found])


def _to_the_one(mail: _Mail, occurrence: AnyOccurrence) -> tuple[Report, ...]:
    """Report to the message's only recipient; with several nobody knows whose it is."""
    found = _destinations(mail)
    if len(found) == 1:
        to, spelling, ok = found[0]
        return (Report(to, occurrence, spelling, ok),)
    return (Report(EVERYBODY, occurrence, None, False),)


def _to_named(
    mail: _Mail,
    named: list[tuple[object, dict[str, Any]]],
    make: Callable[[dict[str, Any], str | None], AnyOccurrence],
    *,
    unnamed_is_mailable: bool = True,
) -> tuple[Report, ...]:
    """Report to the recipients an event names.

    A name that the message did not go to stands for its only recipient (forwarded mail), or for
    nobody known where there are several; an event that names nobody likewise.
    """
    if len(named) == 1 and mail.destination == [named[0][0]]:
        to, spelling, ok = address(named[0][0])
        return (Report(to, make(named[0][1], None), spelling, ok),)
    sent_to = {found[0]: found for found in _destinations(mail)}
    only = next(iter(sent_to.values())) if len(sent_to) == 1 else None
    if not named:
        to, spelling, ok = only or (EVERYBODY, None, False)
        return (Report(to, make(_NONE, None), spelling, ok and unnamed_is_mailable),)
    reports = []
    for raw, details in named[:MAX_RECIPIENTS]:
        found = address(raw)
        match = sent_to.get(found[0]) or (found if not sent_to else None)
        if match is not None:
            reports.append(Report(match[0], make(details, None), match[1], match[2]))
        elif only is not None:
            reports.append(Report(only[0], make(details, found[0]), only[1], only[2]))
        else:
            reports.append(Report(EVERYBODY, make(details, found[0]), None, False))
    return tuple(reports)


def _addressed(value: object) -> list[tuple[object, dict[str, Any]]]:
    """Read a list of recipients: texts, or objects with an emailAddress."""
    if not isinstance(value, list):
        return []
    return [
        (item.get("emailAddress"), item) if isinstance(item, dict) else (item, _NONE)
        for item in value
        if item
    ]


def _send(_: _Body, mail: _Mail) -> Event:
    sent_at = _sent_at(mail)
    return _event(mail, sent_at, _to_all(mail, Send(sent_at)))


def _delivery(body: _Body, mail: _Mail) -> Event:
    said = _object(body.delivery, "delivery")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Delivery(
        at,
        clock,
        clean(said.get("smtpResponse"), LONG),
        clean(said.get("reportingMTA")),
        _millis(said.get("processingTimeMillis")),
    )
    named = _addressed(said.get("recipients"))
    return _event(mail, sent_at, _to_named(mail, named, lambda _details, _final: occurrence))


def _bounce(body: _Body, mail: _Mail) -> Event:
    said = _object(body.bounce, "bounce")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    kind, sub_type = clean(said.get("bounceType")), clean(said.get("bounceSubType"))
    mta = clean(said.get("reportingMTA"))

    def make(details: dict[str, Any], final: str | None) -> Bounce:
        return Bounce(
            at,
            clock,
            kind,
            sub_type,
            clean(details.get("diagnosticCode"), LONG),
            clean(details.get("status"), 32),
            clean(details.get("action"), 32),
            mta,
            final,
        )

    named = _addressed(said.get("bouncedRecipients"))
    return _event(mail, sent_at, _to_named(mail, named, make, unnamed_is_mailable=False))


def _complaint(body: _Body, mail: _Mail) -> Event:
    said = _object(body.complaint, "complaint")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    kind = clean(said.get("complaintFeedbackType"), 64)
    sub_type = clean(said.get("complaintSubType"), 64)
    agent = clean(said.get("userAgent"), LONG)
    named = _addressed(said.get("complainedRecipients"))
    sent_to = {found[0] for found in _destinations(mail)}
    candidates = sorted({address(raw)[0] for raw, _ in named} & sent_to)
    if len(candidates) > 1:
        occurrence = Complaint(at, clock, kind, sub_type, agent, tuple(candidates))
        return _event(mail, sent_at, (Report(EVERYBODY, occurrence),))
    occurrence = Complaint(at, clock, kind, sub_type, agent)
    return _event(mail, sent_at, _to_named(mail, named, lambda _details, _final: occurrence))


def _bot(value: object) -> str | None:
    """Read isBotEvent, three-valued: exactly Likely or Unlikely; booleans are taken defensively."""
    if value in ("Likely", "Unlikely"):
        return str(value)
    if value is True:
        return "Likely"
    return "Unlikely" if value is False else None


def _network(value: object) -> str | None:
    return network(value) if isinstance(value, str) else None


def _open(body: _Body, mail: _Mail) -> Event:
    said = _object(body.open, "open")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Open(
        at,
        clock,
        clean(said.get("userAgent"), LONG),
        _network(said.get("ipAddress")),
        _bot(said.get("isBotEvent")),
    )
    return _event(mail, sent_at, _to_the_one(mail, occurrence))


def _click(body: _Body, mail: _Mail) -> Event:
    said = _object(body.click, "click")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Click(
        at,
        clock,
        clean(said.get("userAgent"), LONG),
        _network(said.get("ipAddress")),
        _bot(said.get("isBotEvent")),
        _link(said.get("link"), said.get("linkTags")),
    )
    return _event(mail, sent_at, _to_the_one(mail, occurrence))


def _link(link: object, tags: object) -> str:
    """Return the key of a link: its SES link tags, else its address without what is personal."""
    if isinstance(tags, dict) and tags:
        pairs = sorted((clean(name) or "", _first(values) or "") for name, values in tags.items())
        return clean(";".join(f"{name}:{value}" for name, value in pairs), LONG) or "~unreadable"
    return link_key(clean(link, 8_192) or "")


def _reject(body: _Body, mail: _Mail) -> Event:
    said = _object(body.reject, "reject")
    sent_at = _sent_at(mail)
    return _event(
        mail, sent_at, _to_all(mail, Reject(sent_at, "sent", clean(said.get("reason"), LONG)))
    )


def _rendering_failure(body: _Body, mail: _Mail) -> Event:
    said = _object(body.failure, "failure")
    sent_at = _sent_at(mail)
    template = clean(said.get("templateName"))
    occurrence = RenderingFailure(sent_at, "sent", clean(said.get("errorMessage"), LONG), template)
    return _event(mail, sent_at, _to_all(mail, occurrence), template)


def _delivery_delay(body: _Body, mail: _Mail) -> Event:
    said = _object(body.delivery_delay, "deliveryDelay")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    kind, mta = clean(said.get("delayType"), 64), clean(said.get("reportingMTA"))
    until = instant(said.get("expirationTime"))

    def make(details: dict[str, Any], _final: str | None) -> DeliveryDelay:
        return DeliveryDelay(
            at,
            clock,
            kind,
            clean(details.get("diagnosticCode"), LONG),
            clean(details.get("status"), 32),
            mta,
            until[0] if until else None,
        )

    return _event(mail, sent_at, _to_named(mail, _addressed(said.get("delayedRecipients")), make))


def _subscription(body: _Body, mail: _Mail) -> Event:
    said = _object(body.subscription, "subscription")
    sent_at = _sent_at(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Subscription(
        at,
        clock,
        clean(said.get("contactList")),
        _left(said.get("newTopicPreferences")),
        clean(said.get("source"), 64),
    )
    return _event(mail, sent_at, _to_the_one(mail, occurrence))


def _left(preferences: object) -> tuple[str, ...]:
    """Return what the contact left: `*` for everything, else the topics now opted out of."""
    if not isinstance(preferences, dict):
        return ()
    if preferences.get("unsubscribeAll") is True or preferences.get("unsubscribeAll") == "true":
        return ("*",)
    left = {
        clean(topic.get("topicName")) or "~unnamed"
        for topic in _items(preferences.get("topicSubscriptionStatus"))
        if _fold_name(str(topic.get("subscriptionStatus"))) == "optout"
    }
    return tuple(sorted(left))


_READERS: dict[str, Callable[[_Body, _Mail], Event]] = {
    "Send": _send,
    "send": _send,
    "Delivery": _delivery,
    "delivery": _delivery,
    "Bounce": _bounce,
    "bounce": _bounce,
    "Complaint": _complaint,
    "complaint": _complaint,
    "Open": _open,
    "open": _open,
    "Click": _click,
    "click": _click,
    "reject": _reject,
    "renderingfailure": _rendering_failure,
    "deliverydelay": _delivery_delay,
    "subscription": _subscription,
}
