"""A fast parser of the common shapes of SES events.

Nineteen of twenty bodies are a Send, Delivery, Open or Click of one recipient in which every field has its
documented type. msgspec checks that in C while decoding, so little is left to do in Python. All other
bodies are left to `parser.py`, which accepts every shape. Both return the same event for the same body
(tests/ingest/ses/test_fast_parser.py).
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec
from msgspec import Struct, field

from sesight.domain.address import normalize_address
from sesight.domain.event import (
    TAGS_KEPT,
    Click,
    Delivery,
    Event,
    Identity,
    Open,
    Report,
    Send,
    kept_tags,
)
from sesight.domain.text import LONG, clean, network
from sesight.domain.timestamps import parse_usual_timestamp
from sesight.ingest.ses.mail import own_pair, sender_of
from sesight.ingest.ses.parser import LAST_EVENT, LONGEST_DELIVERY, link_of


class _TypedHeaders(Struct, gc=False):
    subject: str | None = None


class _TypedMail(Struct, rename="camel", gc=False):
    timestamp: str
    source: str
    message_id: str
    destination: tuple[str]
    common_headers: _TypedHeaders
    tags: dict[str, tuple[str]]
    sending_account_id: str | None = None


class _Delivery(Struct, rename="camel", gc=False):
    timestamp: str
    recipients: tuple[str]
    smtp_response: str | None = None
    processing_time_millis: int | None = None
    mta: str | None = field(default=None, name="reportingMTA")


class _Open(Struct, rename="camel", gc=False):
    timestamp: str
    user_agent: str | None = None
    ip_address: str | None = None
    is_bot_event: str | None = None


class _Click(_Open, rename="camel", gc=False):
    link: str | None = None
    link_tags: dict[str, tuple[str]] | None = None


class _SendBody(Struct, tag_field="eventType", tag="Send", gc=False):
    mail: _TypedMail


class _DeliveryBody(Struct, tag_field="eventType", tag="Delivery", gc=False):
    mail: _TypedMail
    delivery: _Delivery


class _OpenBody(Struct, tag_field="eventType", tag="Open", gc=False):
    mail: _TypedMail
    open: _Open


class _ClickBody(Struct, tag_field="eventType", tag="Click", gc=False):
    mail: _TypedMail
    click: _Click


_decode = msgspec.json.Decoder(_SendBody | _DeliveryBody | _OpenBody | _ClickBody).decode
_NOT_OWN = frozenset(
    {
        "ses:configuration-set",
        "ses:source-tls-version",
        "ses:source-ip",
        "ses:from-domain",
        "ses:caller-identity",
        "ses:operation",
        "ses:outgoing-ip",
        "ses:outgoing-tls-version",
        "ses:recipient-isp",
        "ses:sender-identity",
        "send_id",
    }
)
"""Tags that SES adds, as far as known: one set difference is faster than a test of each name."""
_SUBJECT = re.compile(rb'"subject"', re.IGNORECASE)
_BOTS = {"Likely": "Likely", "Unlikely": "Unlikely"}


def parse_common_event(body: bytes | str) -> Event | None:
    """Return the event of a body of a common shape, None for any other body."""
    try:
        decoded = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    mail = decoded.mail
    sent_at = parse_usual_timestamp(mail.timestamp)
    message_id = clean(mail.message_id)
    if sent_at is None or not message_id:
        return None
    subject = clean(mail.common_headers.subject)
    if (subject is None and _in_headers(body)) or (subject is not None and "=?" in subject):
        return None
    to, spelling, mailable = normalize_address(mail.destination[0])
    if not mailable:  # no address, or several in one string
        return None
    latest = sent_at + LAST_EVENT
    occurrence: Send | Delivery | Open | Click
    if type(decoded) is _SendBody:
        occurrence = Send(sent_at)
    elif type(decoded) is _DeliveryBody:
        delivery = decoded.delivery
        at = parse_usual_timestamp(delivery.timestamp)
        if at is None or at > latest or delivery.recipients != mail.destination:
            return None
        millis = delivery.processing_time_millis
        if millis is not None and not 0 <= millis <= LONGEST_DELIVERY:
            millis = None
        occurrence = Delivery(
            at, None, clean(delivery.smtp_response, LONG), clean(delivery.mta), millis
        )
    else:
        engagement = decoded.open if type(decoded) is _OpenBody else decoded.click
        at = parse_usual_timestamp(engagement.timestamp)
        if at is None or at > latest:
            return None
        agent = clean(engagement.user_agent, LONG)
        ip = network(engagement.ip_address) if engagement.ip_address is not None else None
        bot = _BOTS.get(engagement.is_bot_event or "")
        if isinstance(engagement, _Click):
            link_tags = {
                name: list(values) for name, values in (engagement.link_tags or {}).items()
            }
            occurrence = Click(at, None, agent, ip, bot, link_of(engagement.link, link_tags))
        else:
            occurrence = Open(at, None, agent, ip, bot)
    tags = mail.tags
    configuration_set = tags.get("ses:configuration-set")
    isp = tags.get("ses:recipient-isp")
    send_id = tags.get("send_id")
    pairs = sorted(
        [own_pair(name, tags[name][0]) for name in tags.keys() - _NOT_OWN if name[:4] != "ses:"]
    )
    identity = Identity(
        sent_at,
        sender_of(mail.source),
        subject,
        None,
        None if send_id is None else clean(send_id[0]),
        None if isp is None else clean(isp[0]),
        tuple(pairs) if len(pairs) <= TAGS_KEPT else kept_tags(pairs),
    )
    return Event(
        message_id,
        identity,
        (Report(to, occurrence, spelling),),
        None if configuration_set is None else _set(configuration_set[0]),
        clean(mail.sending_account_id),
    )


def _in_headers(body: bytes | str) -> bool:
    """Return whether a body has a Subject anywhere, such as among `mail.headers`."""
    text = body.encode() if isinstance(body, str) else body
    return _SUBJECT.search(text) is not None


@lru_cache(64)
def _set(name: str) -> str | None:
    return clean(name)
