"""The lenient parser of SES events and feedback notifications: SES JSON to events.

AWS adds fields and values without notice, so everything is read leniently: null counts as absent, values
of unexpected types are coerced or dropped, unknown fields are skipped. A body is refused only if nothing
that is left of it makes an event. With mail.py and fast_parser.py, this is the only reader of SES's field
names.

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
"""Milliseconds that a delivery may have taken; SES gives up much earlier."""

LAST_EVENT = 3_653 * DAY
"""Milliseconds after the send (ten years) beyond which an event's own time counts as unusable."""


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
    type_name = decoded.event_type if decoded.event_type is not None else decoded.notification_type
    if decoded.event_type is None and _fold_name(str(type_name)) == "received":
        return INBOUND
    if decoded.mail is None:
        if decoded.notification_type == "AmazonSnsSubscriptionSucceeded":
            return SETUP
        raise Unreadable("not-an-event", "The body has no `mail` object, so it is no SES event.")
    if type(type_name) is not str:
        raise Unreadable("not-an-event", "Neither eventType nor notificationType names an event.")
    reader = _READERS.get(type_name) or _READERS.get(_fold_name(type_name))
    if reader is None:
        raise Unreadable("unknown-type", f"SES event type {clean(type_name, 64)!r} is not known.")
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
"""SES's words for bounces, complaints and delays, by their letters in lower case."""


def _word(value: object, limit: int = SHORT) -> str | None:
    """Return a word in SES's own spelling, whatever its case and separators; unknown words unchanged."""
    text = clean(value, limit)
    return None if text is None else _WORDS.get(_fold_name(text), text)


def _status(value: object) -> str | None:
    """Return the enhanced status code (RFC 3463) in a text; the text itself if there is none."""
    text = clean(value, 32)
    match = None if text is None else _STATUS.search(text)
    return text if match is None else match[0]


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("no-body", f"The event has no `{name}` object.")
    return value


def _when(value: object, sent_at: int) -> tuple[int, str | None]:
    timestamp = parse_timestamp(value)
    if timestamp is None or timestamp[0] > sent_at + LAST_EVENT:
        return sent_at, "sent"
    return timestamp


def _millis(value: object) -> int | None:
    if isinstance(value, (int, float, str)):
        try:
            millis = int(float(value))
        except (ValueError, OverflowError):
            return None
        if 0 <= millis <= LONGEST_DELIVERY:
            return millis
    return None


def _send(_: _Body, mail: Mail) -> Event:
    sent_at = sent_at_of(mail)
    return event_of(mail, sent_at, to_all(mail, Send(sent_at)))


def _delivery(body: _Body, mail: Mail) -> Event:
    details = _object(body.delivery, "delivery")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    occurrence = Delivery(
        at,
        clock,
        clean(details.get("smtpResponse"), LONG),
        clean(details.get("reportingMTA")),
        _millis(details.get("processingTimeMillis")),
    )
    recipients = addressed(details.get("recipients"))
    return event_of(
        mail, sent_at, to_named(mail, recipients, lambda _recipient, _final: occurrence)
    )


def _bounce(body: _Body, mail: Mail) -> Event:
    details = _object(body.bounce, "bounce")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    kind, sub_type = _word(details.get("bounceType")), _word(details.get("bounceSubType"))
    mta = clean(details.get("reportingMTA"))

    def make(recipient: dict[str, Any], final: str | None) -> Bounce:
        return Bounce(
            at,
            clock,
            kind,
            sub_type,
            clean(recipient.get("diagnosticCode"), LONG),
            _status(recipient.get("status")),
            clean(recipient.get("action"), 32),
            mta,
            final,
        )

    recipients = addressed(details.get("bouncedRecipients"))
    return event_of(mail, sent_at, to_named(mail, recipients, make, unnamed_is_mailable=False))


def _complaint(body: _Body, mail: Mail) -> Event:
    details = _object(body.complaint, "complaint")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    kind = _word(details.get("complaintFeedbackType"), 64)
    sub_type = _word(details.get("complaintSubType"), 64)
    agent = clean(details.get("userAgent"), LONG)
    sent_to = {mailbox[0]: mailbox for mailbox in destinations(mail)}
    # an address the message did not go to may be a recipient of it that does not parse
    unread = not sent_to or has_unread(sent_to.values())
    recipients = addressed(details.get("complainedRecipients"))
    mailboxes = [
        (mailbox, recipient)
        for raw, recipient in recipients
        for mailbox in normalize_addresses(raw)
    ]
    candidates = {mailbox[0] for mailbox, _ in mailboxes if unread or mailbox[0] in sent_to}
    if len(candidates) > 1 and sub_type not in SUPPRESSION_SUB_TYPES:
        occurrence = Complaint(at, clock, kind, sub_type, agent, tuple(sorted(candidates)))
        return event_of(mail, sent_at, (Report(UNATTRIBUTED, occurrence),))

    def make(_recipient: dict[str, Any], final: str | None) -> Complaint:
        stranger = (final,) if unread and final is not None else None
        return Complaint(at, clock, kind, sub_type, agent, stranger)

    likely: list[tuple[object, dict[str, Any]]] = [
        (spelling or to, recipient)
        for (to, spelling, _), recipient in mailboxes
        if to in candidates
    ]
    return event_of(mail, sent_at, to_named(mail, likely or recipients, make))


def _bot(value: object) -> str | None:
    """Return isBotEvent: Likely, Unlikely or None. SES documents strings; booleans are accepted, too."""
    if value in ("Likely", "Unlikely"):
        return str(value)
    if value is True:
        return "Likely"
    return "Unlikely" if value is False else None


def _network(value: object) -> str | None:
    return network(value) if isinstance(value, str) else None


def _open(body: _Body, mail: Mail) -> Event:
    details = _object(body.open, "open")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    occurrence = Open(
        at,
        clock,
        clean(details.get("userAgent"), LONG),
        _network(details.get("ipAddress")),
        _bot(details.get("isBotEvent")),
    )
    return event_of(mail, sent_at, to_the_one(mail, occurrence))


def _click(body: _Body, mail: Mail) -> Event:
    details = _object(body.click, "click")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    occurrence = Click(
        at,
        clock,
        clean(details.get("userAgent"), LONG),
        _network(details.get("ipAddress")),
        _bot(details.get("isBotEvent")),
        link_of(details.get("link"), details.get("linkTags")),
    )
    return event_of(mail, sent_at, to_the_one(mail, occurrence))


def link_of(link: object, tags: object) -> str:
    """Return the key of a link: its SES link tags, else its URL without personal parts."""
    if isinstance(tags, dict) and tags:
        pairs = [(clean(name) or "", first(values) or "") for name, values in tags.items()]
        return tag_key(tuple(sorted(pairs)))
    return link_key(clean(link, 8_192) or "")


def _reject(body: _Body, mail: Mail) -> Event:
    details = _object(body.reject, "reject")
    sent_at = sent_at_of(mail)
    return event_of(
        mail, sent_at, to_all(mail, Reject(sent_at, "sent", clean(details.get("reason"), LONG)))
    )


def _rendering_failure(body: _Body, mail: Mail) -> Event:
    details = _object(body.failure, "failure")
    sent_at = sent_at_of(mail)
    template = clean(details.get("templateName"))
    occurrence = RenderingFailure(
        sent_at, "sent", clean(details.get("errorMessage"), LONG), template
    )
    return event_of(mail, sent_at, to_all(mail, occurrence), template)


def _delivery_delay(body: _Body, mail: Mail) -> Event:
    details = _object(body.delivery_delay, "deliveryDelay")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    kind, mta = _word(details.get("delayType"), 64), clean(details.get("reportingMTA"))
    until = parse_timestamp(details.get("expirationTime"))

    def make(recipient: dict[str, Any], _final: str | None) -> DeliveryDelay:
        return DeliveryDelay(
            at,
            clock,
            kind,
            clean(recipient.get("diagnosticCode"), LONG),
            _status(recipient.get("status")),
            mta,
            until[0] if until else None,
        )

    return event_of(
        mail, sent_at, to_named(mail, addressed(details.get("delayedRecipients")), make)
    )


def _subscription(body: _Body, mail: Mail) -> Event:
    details = _object(body.subscription, "subscription")
    sent_at = sent_at_of(mail)
    at, clock = _when(details.get("timestamp"), sent_at)
    before = _Preferences(details.get("oldTopicPreferences"))
    now = _Preferences(details.get("newTopicPreferences"))
    occurrence = Subscription(
        at,
        clock,
        clean(details.get("contactList")),
        _left(before, now),
        clean(details.get("source"), 64),
        _joined(before, now),
    )
    return event_of(mail, sent_at, to_the_one(mail, occurrence))


class _Preferences:
    """A contact's preferences for a list at one time. Missing preferences opt out of nothing."""

    def __init__(self, preferences: object) -> None:
        self.known = isinstance(preferences, dict)
        values = preferences if isinstance(preferences, dict) else {}
        self.out_of_all = values.get("unsubscribeAll") in (True, "true")
        self.chosen = _statuses(values.get("topicSubscriptionStatus"))
        self._default = _statuses(values.get("topicDefaultSubscriptionStatus"))

    @property
    def topics(self) -> set[str]:
        """Return the topics that have a status, chosen or by default."""
        return {*self.chosen, *self._default}

    def is_out_of(self, topic: str) -> bool:
        """Return whether the contact opted out of a topic, by choice or else by the topic's default."""
        return self.out_of_all or self.chosen.get(topic, self._default.get(topic)) == _OPTED_OUT

    @property
    def is_out_of_any(self) -> bool:
        """Return whether the contact chose to opt out of anything."""
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
    """Return what the contact opted out of with this change: `*` for everything, else topics."""
    if now.out_of_all:
        return () if before.out_of_all else ("*",)
    chosen = [topic for topic, status in now.chosen.items() if status == _OPTED_OUT]
    return tuple(sorted(topic for topic in chosen if not before.is_out_of(topic)))


def _joined(before: _Preferences, now: _Preferences) -> tuple[str, ...]:
    """Return what the contact had opted out of before and joined again with this change."""
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
