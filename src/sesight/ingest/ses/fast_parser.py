"""The usual shape of the four commonest SES events, read in one go.

Nineteen of twenty bodies are a Send, Delivery, Open or Click to one recipient with every field of
its documented type. Typed decoding checks all that in C, so that little is left to do. Whatever
differs in anything is left to `ses.py`, which reads every shape; both give the same event
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
"""The tags SES adds as far as they are known: one set difference is quicker than looking at each."""
_SUBJECT = re.compile(rb'"subject"', re.IGNORECASE)
_BOTS = {"Likely": "Likely", "Unlikely": "Unlikely"}


def parse_common_event(body: bytes | str) -> Event | None:
    """Return the event of a body of the usual shape, None for any other."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    mail = found.mail
    sent_at = parse_usual_timestamp(mail.timestamp)
    message_id = clean(mail.message_id)
    if sent_at is None or not message_id:
        return None
    subject = clean(mail.common_headers.subject)
    if (subject is None and _in_headers(body)) or (subject is not None and "=?" in subject):
        return None
    to, spelling, mailable = normalize_address(mail.destination[0])
    if not mailable:  # nobody, or several in one text
        return None
    latest = sent_at + LAST_EVENT
    occurrence: Send | Delivery | Open | Click
    if type(found) is _SendBody:
        occurrence = Send(sent_at)
    elif type(found) is _DeliveryBody:
        said = found.delivery
        at = parse_usual_timestamp(said.timestamp)
        if at is None or at > latest or said.recipients != mail.destination:
            return None
        millis = said.processing_time_millis
        if millis is not None and not 0 <= millis <= LONGEST_DELIVERY:
            millis = None
        occurrence = Delivery(at, None, clean(said.smtp_response, LONG), clean(said.mta), millis)
    else:
        seen = found.open if type(found) is _OpenBody else found.click
        at = parse_usual_timestamp(seen.timestamp)
        if at is None or at > latest:
            return None
        agent = clean(seen.user_agent, LONG)
        ip = network(seen.ip_address) if seen.ip_address is not None else None
        bot = _BOTS.get(seen.is_bot_event or "")
        if isinstance(seen, _Click):
            tags = {name: list(values) for name, values in (seen.link_tags or {}).items()}
            occurrence = Click(at, None, agent, ip, bot, link_of(seen.link, tags))
        else:
            occurrence = Open(at, None, agent, ip, bot)
    tags_held = mail.tags
    configuration_set = tags_held.get("ses:configuration-set")
    isp = tags_held.get("ses:recipient-isp")
    send_id = tags_held.get("send_id")
    pairs = sorted(
        [
            own_pair(name, tags_held[name][0])
            for name in tags_held.keys() - _NOT_OWN
            if name[:4] != "ses:"
        ]
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
    """Return whether a subject stands anywhere in a body, as a header's name."""
    text = body.encode() if isinstance(body, str) else body
    return _SUBJECT.search(text) is not None


@lru_cache(64)
def _set(name: str) -> str | None:
    return clean(name)
