"""One record as the API answers it: the timeline as kept, all else derived."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from sesight.domain.counting import tally_of
from sesight.domain.engagement import Actor, Classification
from sesight.domain.event import (
    AnyOccurrence,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Open,
    Reject,
    RenderingFailure,
    Subscription,
)
from sesight.domain.link import UNREADABLE, is_tag_key
from sesight.domain.mailbox import mailbox_of
from sesight.domain.outcome import Facts, bounce_outcome, derive_facts
from sesight.domain.reason import REASONS, reason_of
from sesight.domain.record import TYPES, Record
from sesight.domain.timestamps import DAY, iso, month_name
from sesight.services import Services
from sesight.services.recipient_id import encode

_WEB = re.compile(r"https?://", re.IGNORECASE)
_RANK = {kind: n for n, kind in enumerate(TYPES)}


class TimelineEntry(Struct, frozen=True, rename="camel", kw_only=True):
    """One thing that happened. `who` (human, machine, unknown), the `rule` that said so and the
    `client` are of opens and clicks; `reply` is what the server or SES answered; `type` and `subType`
    are SES's words. `clock` is null unless the time is not SES's own: `sent` (the send time stands
    in) or `zoneless` (UTC assumed).
    """

    event: str
    at: str
    who: str | None = None
    rule: str | None = None
    client: str | None = None
    link: str | None = None
    reply: str | None = None
    type: str | None = None
    sub_type: str | None = None
    clock: str | None = None


class LinkClicks(Struct, frozen=True):
    """A link (scheme, host and path only) and how often it was fetched."""

    url: str
    clicks: int


class MessageRecord(Struct, frozen=True, rename="camel", kw_only=True):
    """One message to one recipient. The recipient `*` holds what belongs to a message and can be
    attributed to nobody: it has no outcome, and `attributedTo` and `recipientId` are null.

    Opens and clicks count all, machines' included; `openedAt` and `clickedAt` are of people and of
    who cannot be told, never of machines. `capped` names the event types of which only the first and
    last 16 are kept.
    """

    message_id: str
    recipient: str
    recipient_id: str | None
    attributed_to: str | None
    stream: str
    provider: str
    mailbox: str | None
    campaign: str
    month: str | None
    attempt: str | None
    subject: str | None
    sender: str | None
    template: str | None
    tags: dict[str, list[str]]
    sent_at: str
    outcome: str | None
    reason: str | None
    reason_text: str | None
    last_event: str
    last_event_at: str
    delivered_at: str | None
    delivery_millis: int | None
    opened_at: str | None
    last_opened_at: str | None
    opens: int
    machine_opens: int
    clicked_at: str | None
    last_clicked_at: str | None
    clicks: int
    machine_clicks: int
    links: list[LinkClicks]
    bounced_at: str | None
    bounce_type: str | None
    bounce_sub_type: str | None
    diagnostic: str | None
    complained_at: str | None
    complaint_type: str | None
    unsubscribed_at: str | None
    delayed_at: str | None
    expires_at: str | None
    capped: list[str]
    timeline: list[TimelineEntry]


def message_record(record: Record, services: Services) -> MessageRecord:
    """Return a record as the API answers it."""
    said = derive_facts(record.timeline)
    identity = record.identity
    tally = record.tally or tally_of(record, services.counting)
    place = tally.dimensions
    verdicts = {id(held): verdict for held, verdict in said.engagements}
    opens = _engagements(said, Open)
    clicks = _engagements(said, Click)
    bounce = _bounce(record, said)
    complaint = _first(record, Complaint) if said.complained_at is not None else None
    first_delivery = _first(record, Delivery)
    last = max(record.timeline, key=lambda held: (held.at, _RANK[held.type]))
    reason = None if record.is_unattributed else reason_of(said)
    return MessageRecord(
        message_id=record.message_id,
        recipient=record.recipient,
        recipient_id=None
        if record.is_unattributed
        else encode(record.recipient, services.recipient_key),
        attributed_to=None if record.is_unattributed else record.recipient,
        stream=record.stream,
        provider=identity.provider,
        mailbox=None if record.is_unattributed else mailbox_of(record),
        campaign=record.campaign,
        month=month_name(place.month) if place is not None and place.month is not None else None,
        attempt=place.attempt if place is not None else None,
        subject=identity.subject,
        sender=identity.sender,
        template=identity.template,
        tags=_tags(identity.tags),
        sent_at=_at(identity.sent_at),
        outcome=None if record.is_unattributed else said.outcome.word,
        reason=reason,
        reason_text=REASONS.get(reason) if reason is not None else None,
        last_event=last.type.value,
        last_event_at=_at(last.at),
        delivered_at=iso(said.delivered_at),
        delivery_millis=first_delivery.millis if isinstance(first_delivery, Delivery) else None,
        opened_at=opens.first,
        last_opened_at=opens.last,
        opens=opens.count,
        machine_opens=opens.machine,
        clicked_at=clicks.first,
        last_clicked_at=clicks.last,
        clicks=clicks.count,
        machine_clicks=clicks.machine,
        links=_links(record),
        bounced_at=iso(bounce.at) if bounce is not None else None,
        bounce_type=bounce.kind if bounce is not None else None,
        bounce_sub_type=bounce.sub_type if bounce is not None else None,
        diagnostic=_diagnostic(record, said, bounce),
        complained_at=iso(said.complained_at),
        complaint_type=complaint.kind if isinstance(complaint, Complaint) else None,
        unsubscribed_at=iso(said.unsubscribed_at),
        delayed_at=iso(said.delayed_at),
        expires_at=iso(services.store.expires_at(identity.sent_at // DAY)),
        capped=[kind.value for kind in TYPES if record.has_cut(kind)],
        timeline=[
            _entry(held, verdicts.get(id(held)))
            for held in sorted(record.timeline, key=lambda held: (held.at, _RANK[held.type]))
        ],
    )


def _at(millis: int) -> str:
    return iso(millis) or ""


def _tags(pairs: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for name, value in pairs:
        tags.setdefault(name, []).append(value)
    return tags


class _Engagements(Struct):
    """Opens or clicks of one record, counted: of all, of machines; first and last of the others."""

    count: int
    machine: int
    first: str | None
    last: str | None


def _engagements(said: Facts, kind: type[Open | Click]) -> _Engagements:
    of_kind = [(held.at, verdict.actor) for held, verdict in said.engagements if type(held) is kind]
    others = [at for at, who in of_kind if who is not Actor.MACHINE]
    return _Engagements(
        len(of_kind),
        len(of_kind) - len(others),
        iso(min(others)) if others else None,
        iso(max(others)) if others else None,
    )


def _first(record: Record, kind: type[AnyOccurrence]) -> AnyOccurrence | None:
    return next((held for held in record.timeline if type(held) is kind), None)


def _bounce(record: Record, said: Facts) -> Bounce | None:
    """Return the bounce that decided, else the first that is no auto-reply."""
    if isinstance(said.decisive, Bounce) and bounce_outcome(said.decisive) is not None:
        return said.decisive
    bounces = [held for held in record.timeline if isinstance(held, Bounce)]
    return next((held for held in bounces if bounce_outcome(held) is not None), None)


def _diagnostic(record: Record, said: Facts, bounce: Bounce | None) -> str | None:
    """Return what the server or SES gave as the cause of what went wrong last."""
    if isinstance(said.decisive, Reject):
        return said.decisive.reason
    if isinstance(said.decisive, RenderingFailure):
        return said.decisive.error
    if bounce is not None:
        return bounce.reply
    delays = [held for held in record.timeline if isinstance(held, DeliveryDelay)]
    return delays[-1].reply if delays and said.delivered_at is None else None


def safe_link(link: str | None) -> str:
    """Return a link's key if it is a web address or made of link tags, else no more than its scheme or
    plain text.
    """
    if link is None:
        return UNREADABLE
    if ":" not in link or _WEB.match(link) or is_tag_key(link):
        return link
    return link.partition(":")[0] + ":"


def _links(record: Record) -> list[LinkClicks]:
    counts: dict[str, int] = {}
    for held in record.timeline:
        if isinstance(held, Click):
            url = safe_link(held.link)
            counts[url] = counts.get(url, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [LinkClicks(url, clicks) for url, clicks in ordered]


def _entry(held: AnyOccurrence, verdict: Classification | None) -> TimelineEntry:
    about: dict[str, Any] = {}
    if isinstance(held, (Open, Click)) and verdict is not None:
        about = {"who": verdict.actor.value, "rule": verdict.rule, "client": verdict.client}
        if isinstance(held, Click):
            about["link"] = safe_link(held.link)
    elif isinstance(held, Bounce):
        about = {"reply": held.reply, "type": held.kind, "sub_type": held.sub_type}
    elif isinstance(held, Complaint):
        about = {"type": held.kind, "sub_type": held.sub_type}
    elif isinstance(held, DeliveryDelay):
        about = {"reply": held.reply, "type": held.kind}
    elif isinstance(held, Delivery):
        about = {"reply": held.reply}
    elif isinstance(held, Reject):
        about = {"reply": held.reason}
    elif isinstance(held, RenderingFailure):
        about = {"reply": held.error}
    elif isinstance(held, Subscription):
        back = held.joined is None or bool(held.joined)
        about = {
            "type": "left" if held.left else "joined" if back else "changed",
            "sub_type": held.contact_list,
        }
    return TimelineEntry(event=held.type.value, at=_at(held.at), clock=held.clock, **about)
