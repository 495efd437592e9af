"""A record as the API answers it: its timeline as stored, everything else derived."""

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
    """One occurrence. Opens and clicks have `who` (human, machine or unknown), the `rule` that decided it, and
    the `client`. `reply` is the answer of the receiving server or of SES; `type` and `subType` are SES's
    terms. `clock` is null if the time is SES's own, else `sent` (the send time, for lack of another) or
    `zoneless` (SES gave no zone: UTC is assumed).
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
    """A link (scheme, host and path only) and the number of its clicks."""

    url: str
    clicks: int


class MessageRecord(Struct, frozen=True, rename="camel", kw_only=True):
    """One message to one recipient. The recipient `*` has the events of a message that cannot be attributed to
    one of its recipients: it has no outcome, and `attributedTo` and `recipientId` are null.

    `opens` and `clicks` include those of machines; `openedAt` and `clickedAt` are never of machines. `capped`
    lists the event types of which only the first and the last 16 occurrences are kept.
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
    facts = derive_facts(record.timeline)
    identity = record.identity
    tally = record.tally or tally_of(record, services.counting)
    dimensions = tally.dimensions
    classifications = {
        id(occurrence): classification for occurrence, classification in facts.engagements
    }
    opens = _engagements(facts, Open)
    clicks = _engagements(facts, Click)
    bounce = _bounce(record, facts)
    complaint = _first(record, Complaint) if facts.complained_at is not None else None
    first_delivery = _first(record, Delivery)
    last = max(record.timeline, key=lambda occurrence: (occurrence.at, _RANK[occurrence.type]))
    reason = None if record.is_unattributed else reason_of(facts)
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
        month=month_name(dimensions.month)
        if dimensions is not None and dimensions.month is not None
        else None,
        attempt=dimensions.attempt if dimensions is not None else None,
        subject=identity.subject,
        sender=identity.sender,
        template=identity.template,
        tags=_tags(identity.tags),
        sent_at=_at(identity.sent_at),
        outcome=None if record.is_unattributed else facts.outcome.word,
        reason=reason,
        reason_text=REASONS.get(reason) if reason is not None else None,
        last_event=last.type.value,
        last_event_at=_at(last.at),
        delivered_at=iso(facts.delivered_at),
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
        diagnostic=_diagnostic(record, facts, bounce),
        complained_at=iso(facts.complained_at),
        complaint_type=complaint.kind if isinstance(complaint, Complaint) else None,
        unsubscribed_at=iso(facts.unsubscribed_at),
        delayed_at=iso(facts.delayed_at),
        expires_at=iso(services.store.expires_at(identity.sent_at // DAY)),
        capped=[kind.value for kind in TYPES if record.has_cut(kind)],
        timeline=[
            _entry(occurrence, classifications.get(id(occurrence)))
            for occurrence in sorted(
                record.timeline, key=lambda occurrence: (occurrence.at, _RANK[occurrence.type])
            )
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
    """The opens or clicks of a record: how many, how many by machines, and the first and last of the others."""

    count: int
    machine: int
    first: str | None
    last: str | None


def _engagements(facts: Facts, kind: type[Open | Click]) -> _Engagements:
    of_kind = [
        (occurrence.at, classification.actor)
        for occurrence, classification in facts.engagements
        if type(occurrence) is kind
    ]
    others = [at for at, who in of_kind if who is not Actor.MACHINE]
    return _Engagements(
        len(of_kind),
        len(of_kind) - len(others),
        iso(min(others)) if others else None,
        iso(max(others)) if others else None,
    )


def _first(record: Record, kind: type[AnyOccurrence]) -> AnyOccurrence | None:
    return next((occurrence for occurrence in record.timeline if type(occurrence) is kind), None)


def _bounce(record: Record, facts: Facts) -> Bounce | None:
    """Return the bounce that decided the outcome, else the first that is not an auto-reply."""
    if isinstance(facts.decisive, Bounce) and bounce_outcome(facts.decisive) is not None:
        return facts.decisive
    bounces = [occurrence for occurrence in record.timeline if isinstance(occurrence, Bounce)]
    return next(
        (occurrence for occurrence in bounces if bounce_outcome(occurrence) is not None), None
    )


def _diagnostic(record: Record, facts: Facts, bounce: Bounce | None) -> str | None:
    """Return the cause of the last failure, in the words of the receiving server or of SES."""
    if isinstance(facts.decisive, Reject):
        return facts.decisive.reason
    if isinstance(facts.decisive, RenderingFailure):
        return facts.decisive.error
    if bounce is not None:
        return bounce.reply
    delays = [occurrence for occurrence in record.timeline if isinstance(occurrence, DeliveryDelay)]
    return delays[-1].reply if delays and facts.delivered_at is None else None


def safe_link(link: str | None) -> str:
    """Return a link that is safe to show: web addresses, link tags and plain text as they are, of any other
    URL only the scheme.
    """
    if link is None:
        return UNREADABLE
    if ":" not in link or _WEB.match(link) or is_tag_key(link):
        return link
    return link.partition(":")[0] + ":"


def _links(record: Record) -> list[LinkClicks]:
    counts: dict[str, int] = {}
    for occurrence in record.timeline:
        if isinstance(occurrence, Click):
            url = safe_link(occurrence.link)
            counts[url] = counts.get(url, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [LinkClicks(url, clicks) for url, clicks in ordered]


def _entry(occurrence: AnyOccurrence, classification: Classification | None) -> TimelineEntry:
    fields: dict[str, Any] = {}
    if isinstance(occurrence, (Open, Click)) and classification is not None:
        fields = {
            "who": classification.actor.value,
            "rule": classification.rule,
            "client": classification.client,
        }
        if isinstance(occurrence, Click):
            fields["link"] = safe_link(occurrence.link)
    elif isinstance(occurrence, Bounce):
        fields = {
            "reply": occurrence.reply,
            "type": occurrence.kind,
            "sub_type": occurrence.sub_type,
        }
    elif isinstance(occurrence, Complaint):
        fields = {"type": occurrence.kind, "sub_type": occurrence.sub_type}
    elif isinstance(occurrence, DeliveryDelay):
        fields = {"reply": occurrence.reply, "type": occurrence.kind}
    elif isinstance(occurrence, Delivery):
        fields = {"reply": occurrence.reply}
    elif isinstance(occurrence, Reject):
        fields = {"reply": occurrence.reason}
    elif isinstance(occurrence, RenderingFailure):
        fields = {"reply": occurrence.error}
    elif isinstance(occurrence, Subscription):
        back = occurrence.joined is None or bool(occurrence.joined)
        fields = {
            "type": "left" if occurrence.left else "joined" if back else "changed",
            "sub_type": occurrence.contact_list,
        }
    return TimelineEntry(
        event=occurrence.type.value, at=_at(occurrence.at), clock=occurrence.clock, **fields
    )
