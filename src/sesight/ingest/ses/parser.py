"""SES JSON -> events. With ses_mail.py, the only reader of SES's field names.

AWS adds fields and values without notice, so everything is read leniently: null is absent, odd
types are coerced or dropped, unknown fields are skipped. Only what leaves no event is refused.
Shapes: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from sesight.domain.address import normalize_addresses
from sesight.domain.errors import Unreadable
from sesight.domain.event import (
    UNATTRIBUTED,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Event,
    Open,
    Reject,
    RenderingFailure,
    Report,
    Send,
    Subscription,
)
from sesight.domain.link import link_key, tag_key
from sesight.domain.outcome import SUPPRESSION_SUB_TYPES
from sesight.domain.text import LONG, SHORT, clean, network
from sesight.domain.timestamps import DAY, parse_timestamp
from sesight.ingest.reading import INBOUND
from sesight.ingest.ses.mail import (
    Mail,
    addressed,
    destinations,
    event_of,
    first,
    has_unread,
    items,
    sent_at_of,
    to_all,
    to_named,
    to_the_one,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")

LONGEST_DELIVERY = 14 * DAY

LAST_EVENT = 3_653 * DAY
"""Milliseconds from the send beyond which an event's own time (ten years later) is no time."""


class _Body(Struct, rename="camel", gc=False):
    event_type: Any = None
    notification_type: Any = None
    mail: Mail | None = None
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


_decode = msgspec.json.Decoder(_Body).decode


SETUP = "setup-message"
"""The reason of an empty reading: SES's own message that notifications were set up."""


def parse_event(body: bytes | str) -> Event | str:
    """Parse one SES event or feedback notification.

    Returns the code of an empty reading for SES's set-up message and for notices of received mail.
    Raises Unreadable, whose reason is the code that the body is quarantined under.
    """
    try:
        decoded = _decode(body)
    except msgspec.ValidationError as error:
        raise Unreadable("malformed", f"The body has the wrong shape: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Unreadable("not-json", f"The body is not JSON: {error}") from None
    return _event_of(decoded)


def _event_of(decoded: _Body) -> Event | str:
    named = decoded.event_type if decoded.event_type is not None else decoded.notification_type
    if decoded.event_type is None and _fold_name(str(named)) == "received":
        return INBOUND
    if decoded.mail is None:
        if decoded.notification_type == "AmazonSnsSubscriptionSucceeded":
            return SETUP
        raise Unreadable("not-an-event", "The body has no `mail` object, so it is no SES event.")
    if type(named) is not str:
        raise Unreadable("not-an-event", "Neither eventType nor notificationType names an event.")
    reader = _READERS.get(named) or _READERS.get(_fold_name(named))
    if reader is None:
        raise Unreadable("unknown-type", f"SES event type {clean(named, 64)!r} is not known.")
    return reader(decoded, decoded.mail)


def _fold_name(name: str) -> str:
    return name.replace(" ", "").replace("_", "").replace("-", "").casefold()


_WORDS = {
    _fold_name(word): word
    for word in (
        *("Permanent", "Transient", "Undetermined", "General", "NoEmail", "Suppressed"),
        *("OnAccountSuppressionList", "OnTenantSuppressionList", "EmailValidationSuppressed"),
        *("UnsubscribedRecipient", "MailboxFull", "MessageTooLarge", "ContentRejected"),
        *("AttachmentRejected", "CustomTimeoutExceeded", "InternalFailure", "SpamDetected"),
        *("RecipientServerError", "IPFailure", "TransientCommunicationFailure"),
        *("BYOIPHostNameLookupUnavailable", "SendingDeferral"),
        *("abuse", "auth-failure", "fraud", "not-spam", "other", "virus"),
    )
}
"""What SES calls bounces, complaints and delays, by the letters alone."""


def _word(value: object, limit: int = SHORT) -> str | None:
    """Return one of SES's words as SES writes it, however it is written; any other as it is."""
    text = clean(value, limit)
    return None if text is None else _WORDS.get(_fold_name(text), text)


def _status(value: object) -> str | None:
    """Return an enhanced status code (RFC 3463), whatever stands around it."""
    text = clean(value, 32)
    found = None if text is None else _STATUS.search(text)
    return text if found is None else found[0]


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("no-body", f"The event has no `{name}` object.")
    return value


def _when(value: object, sent_at: int) -> tuple[int, str | None]:
    found = parse_timestamp(value)
    if found is None or found[0] > sent_at + LAST_EVENT:
        return sent_at, "sent"
    return found


def _millis(value: object) -> int | None:
    if isinstance(value, (int, float, str)):
        try:
            found = int(float(value))
        except (ValueError, OverflowError):
            return None
        if 0 <= found <= LONGEST_DELIVERY:
            return found
    return None


def _send(_: _Body, mail: Mail) -> Event:
    sent_at = sent_at_of(mail)
    return event_of(mail, sent_at, to_all(mail, Send(sent_at)))


def _delivery(body: _Body, mail: Mail) -> Event:
    said = _object(body.delivery, "delivery")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Delivery(
        at,
        clock,
        clean(said.get("smtpResponse"), LONG),
        clean(said.get("reportingMTA")),
        _millis(said.get("processingTimeMillis")),
    )
    named = addressed(said.get("recipients"))
    return event_of(mail, sent_at, to_named(mail, named, lambda _details, _final: occurrence))


def _bounce(body: _Body, mail: Mail) -> Event:
    said = _object(body.bounce, "bounce")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    kind, sub_type = _word(said.get("bounceType")), _word(said.get("bounceSubType"))
    mta = clean(said.get("reportingMTA"))

    def make(details: dict[str, Any], final: str | None) -> Bounce:
        return Bounce(
            at,
            clock,
            kind,
            sub_type,
            clean(details.get("diagnosticCode"), LONG),
            _status(details.get("status")),
            clean(details.get("action"), 32),
            mta,
            final,
        )

    named = addressed(said.get("bouncedRecipients"))
    return event_of(mail, sent_at, to_named(mail, named, make, unnamed_is_mailable=False))


def _complaint(body: _Body, mail: Mail) -> Event:
    said = _object(body.complaint, "complaint")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    kind = _word(said.get("complaintFeedbackType"), 64)
    sub_type = _word(said.get("complaintSubType"), 64)
    agent = clean(said.get("userAgent"), LONG)
    sent_to = {found[0]: found for found in destinations(mail)}
    # whom the message did not go to may be a recipient of it that does not parse
    unread = not sent_to or has_unread(sent_to.values())
    named = addressed(said.get("complainedRecipients"))
    found = [(each, details) for raw, details in named for each in normalize_addresses(raw)]
    candidates = {each[0] for each, _ in found if unread or each[0] in sent_to}
    if len(candidates) > 1 and sub_type not in SUPPRESSION_SUB_TYPES:
        occurrence = Complaint(at, clock, kind, sub_type, agent, tuple(sorted(candidates)))
        return event_of(mail, sent_at, (Report(UNATTRIBUTED, occurrence),))

    def make(_details: dict[str, Any], final: str | None) -> Complaint:
        stranger = (final,) if unread and final is not None else None
        return Complaint(at, clock, kind, sub_type, agent, stranger)

    likely: list[tuple[object, dict[str, Any]]] = [
        (spelling or to, details) for (to, spelling, _), details in found if to in candidates
    ]
    return event_of(mail, sent_at, to_named(mail, likely or named, make))


def _bot(value: object) -> str | None:
    """Read isBotEvent, three-valued: exactly Likely or Unlikely; booleans are taken defensively."""
    if value in ("Likely", "Unlikely"):
        return str(value)
    if value is True:
        return "Likely"
    return "Unlikely" if value is False else None


def _network(value: object) -> str | None:
    return network(value) if isinstance(value, str) else None


def _open(body: _Body, mail: Mail) -> Event:
    said = _object(body.open, "open")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Open(
        at,
        clock,
        clean(said.get("userAgent"), LONG),
        _network(said.get("ipAddress")),
        _bot(said.get("isBotEvent")),
    )
    return event_of(mail, sent_at, to_the_one(mail, occurrence))


def _click(body: _Body, mail: Mail) -> Event:
    said = _object(body.click, "click")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    occurrence = Click(
        at,
        clock,
        clean(said.get("userAgent"), LONG),
        _network(said.get("ipAddress")),
        _bot(said.get("isBotEvent")),
        link_of(said.get("link"), said.get("linkTags")),
    )
    return event_of(mail, sent_at, to_the_one(mail, occurrence))


def link_of(link: object, tags: object) -> str:
    """Return the key of a link: its SES link tags, else its address without what is personal."""
    if isinstance(tags, dict) and tags:
        pairs = [(clean(name) or "", first(values) or "") for name, values in tags.items()]
        return tag_key(tuple(sorted(pairs)))
    return link_key(clean(link, 8_192) or "")


def _reject(body: _Body, mail: Mail) -> Event:
    said = _object(body.reject, "reject")
    sent_at = sent_at_of(mail)
    return event_of(
        mail, sent_at, to_all(mail, Reject(sent_at, "sent", clean(said.get("reason"), LONG)))
    )


def _rendering_failure(body: _Body, mail: Mail) -> Event:
    said = _object(body.failure, "failure")
    sent_at = sent_at_of(mail)
    template = clean(said.get("templateName"))
    occurrence = RenderingFailure(sent_at, "sent", clean(said.get("errorMessage"), LONG), template)
    return event_of(mail, sent_at, to_all(mail, occurrence), template)


def _delivery_delay(body: _Body, mail: Mail) -> Event:
    said = _object(body.delivery_delay, "deliveryDelay")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    kind, mta = _word(said.get("delayType"), 64), clean(said.get("reportingMTA"))
    until = parse_timestamp(said.get("expirationTime"))

    def make(details: dict[str, Any], _final: str | None) -> DeliveryDelay:
        return DeliveryDelay(
            at,
            clock,
            kind,
            clean(details.get("diagnosticCode"), LONG),
            _status(details.get("status")),
            mta,
            until[0] if until else None,
        )

    return event_of(mail, sent_at, to_named(mail, addressed(said.get("delayedRecipients")), make))


def _subscription(body: _Body, mail: Mail) -> Event:
    said = _object(body.subscription, "subscription")
    sent_at = sent_at_of(mail)
    at, clock = _when(said.get("timestamp"), sent_at)
    before = _Preferences(said.get("oldTopicPreferences"))
    now = _Preferences(said.get("newTopicPreferences"))
    occurrence = Subscription(
        at,
        clock,
        clean(said.get("contactList")),
        _left(before, now),
        clean(said.get("source"), 64),
        _joined(before, now),
    )
    return event_of(mail, sent_at, to_the_one(mail, occurrence))


class _Preferences:
    """What a contact wants of a list at one time. Preferences that are missing opt out of nothing."""

    def __init__(self, said: object) -> None:
        """Read the preferences as SES writes them."""
        self.known = isinstance(said, dict)
        given = said if isinstance(said, dict) else {}
        self.out_of_all = given.get("unsubscribeAll") in (True, "true")
        self.chosen = _statuses(given.get("topicSubscriptionStatus"))
        self._default = _statuses(given.get("topicDefaultSubscriptionStatus"))

    @property
    def topics(self) -> set[str]:
        """Return the topics that have a status."""
        return {*self.chosen, *self._default}

    def is_out_of(self, topic: str) -> bool:
        """Return whether mail of the topic is not wanted: by choice, else by the topic's default."""
        return self.out_of_all or self.chosen.get(topic, self._default.get(topic)) == _OPTED_OUT

    @property
    def is_out_of_any(self) -> bool:
        """Return whether the contact chose to be out of anything."""
        return self.out_of_all or _OPTED_OUT in self.chosen.values()


_OPTED_OUT = "optout"


def _statuses(value: object) -> dict[str, str]:
    return {
        clean(topic.get("topicName")) or "~unnamed": _fold_name(
            str(topic.get("subscriptionStatus"))
        )
        for topic in items(value)
    }


def _left(before: _Preferences, now: _Preferences) -> tuple[str, ...]:
    """Return what the contact left: `*` for everything, else the topics it opted out of; not what it
    was out of before.
    """
    if now.out_of_all:
        return () if before.out_of_all else ("*",)
    chosen = [topic for topic, status in now.chosen.items() if status == _OPTED_OUT]
    return tuple(sorted(topic for topic in chosen if not before.is_out_of(topic)))


def _joined(before: _Preferences, now: _Preferences) -> tuple[str, ...]:
    """Return what the contact was out of before and is back in now."""
    if not now.known:
        return ()
    joined = {topic for topic in now.topics if before.is_out_of(topic) and not now.is_out_of(topic)}
    if before.is_out_of_any and not now.is_out_of_any:
        joined.add("*")
    return tuple(sorted(joined))


_READERS: dict[str, Callable[[_Body, Mail], Event]] = {
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
