"""Outcomes: what became of a message for a recipient, and the other facts, derived from a timeline."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from sesight.domain.engagement import Actor, Classification, classify_all
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
    Send,
    Subscription,
)


class Outcome(IntEnum):
    """A recipient's delivery state. The highest that applies is the outcome."""

    ACCEPTED = 0
    SENT = 1
    DELAYED = 2
    DELIVERED = 3
    SOFT_BOUNCED = 4
    SUPPRESSED = 5
    BOUNCED = 6
    FAILED = 7
    REJECTED = 8

    @property
    def word(self) -> str:
        """Return the outcome as the API writes it."""
        return self.name.lower()


PENDING = frozenset({Outcome.ACCEPTED, Outcome.SENT, Outcome.DELAYED})
"""Outcomes that are not final; together they are `pending` in totals."""

NOT_DELIVERED = frozenset(
    {
        Outcome.SOFT_BOUNCED,
        Outcome.SUPPRESSED,
        Outcome.BOUNCED,
        Outcome.FAILED,
        Outcome.REJECTED,
    }
)
"""The group `not_delivered` of the message log."""

SUPPRESSION_SUB_TYPES = frozenset(
    {
        "OnAccountSuppressionList",
        "OnTenantSuppressionList",
        "EmailValidationSuppressed",
        "UnsubscribedRecipient",
    }
)
"""Subtypes with which SES says that it did not attempt to send."""


def bounce_outcome(bounce: Bounce) -> Outcome | None:
    """Return the outcome of a bounce, None for an auto-reply, which is not a bounce."""
    if bounce.sub_type in SUPPRESSION_SUB_TYPES:
        return Outcome.SUPPRESSED
    if bounce.kind == "Permanent":
        temporary = bounce.status is not None and bounce.status.startswith("4")
        return Outcome.SOFT_BOUNCED if temporary else Outcome.BOUNCED
    if is_auto_reply(bounce):
        return None
    return Outcome.SOFT_BOUNCED


def is_auto_reply(bounce: Bounce) -> bool:
    """Return whether a bounce is an out-of-office reply: Transient and General without a delivery report."""
    return (
        bounce.kind == "Transient" and bounce.sub_type in (None, "General") and not bounce.reported
    )


def is_complaint(complaint: Complaint) -> bool:
    """Return whether a complaint counts: it is neither a retraction (`not-spam`) nor a send that SES suppressed."""
    return complaint.kind != "not-spam" and complaint.sub_type not in SUPPRESSION_SUB_TYPES


class Facts(Struct, frozen=True, gc=False):
    """What a timeline says, derived in one pass. Times are epoch ms or None."""

    outcome: Outcome
    sent: bool
    reached: bool
    delayed_at: int | None
    delivered_at: int | None
    auto_replied: bool
    complained_at: int | None
    unsubscribed_at: int | None
    decisive: Bounce | Complaint | Reject | RenderingFailure | None
    engagements: tuple[tuple[Open | Click, Classification], ...]


_ACCEPTED, _SENT, _DELIVERED = Outcome.ACCEPTED, Outcome.SENT, Outcome.DELIVERED


def derive_facts(timeline: tuple[AnyOccurrence, ...]) -> Facts:
    """Derive the outcome and the other facts from a timeline."""
    outcome = _ACCEPTED
    sent = reached = auto_replied = engaged = False
    delayed_at = delivered_at = complained_at = unsubscribed_at = None
    decisive: Bounce | Complaint | Reject | RenderingFailure | None = None
    for (
        occurrence
    ) in timeline:  # the most frequent first: this runs for every change of every record
        candidate = _SENT
        if isinstance(occurrence, Send):
            pass
        elif isinstance(occurrence, Delivery):
            candidate = _DELIVERED
            reached = True
            if delivered_at is None:
                delivered_at = occurrence.at
        elif isinstance(occurrence, (Open, Click)):
            engaged = True
        elif isinstance(occurrence, Bounce):
            bounced = bounce_outcome(occurrence)
            if bounced is None:
                auto_replied = True
            else:
                candidate = bounced
        elif isinstance(occurrence, DeliveryDelay):
            candidate = Outcome.DELAYED
            if delayed_at is None:
                delayed_at = occurrence.at
        elif isinstance(occurrence, Complaint):
            if occurrence.sub_type in SUPPRESSION_SUB_TYPES:
                candidate = Outcome.SUPPRESSED
            elif is_complaint(occurrence):
                reached = True
                if complained_at is None:
                    complained_at = occurrence.at
        elif isinstance(occurrence, Subscription):
            if occurrence.left:
                reached = True
                if unsubscribed_at is None:
                    unsubscribed_at = occurrence.at
        elif isinstance(occurrence, Reject):
            candidate = Outcome.REJECTED
        elif isinstance(occurrence, RenderingFailure):
            candidate = Outcome.FAILED
        else:
            continue  # Accepted: Sesight says so, not the provider
        sent = True
        if candidate > outcome:
            outcome = candidate
            if candidate > _DELIVERED and isinstance(
                occurrence, (Bounce, Complaint, Reject, RenderingFailure)
            ):
                decisive = occurrence
    engagements = classify_all(timeline) if engaged else ()
    if not reached:
        reached = any(
            classification.actor is not Actor.MACHINE for _, classification in engagements
        )
    if reached and outcome < _DELIVERED:
        outcome = _DELIVERED
    return Facts(
        outcome,
        sent,
        reached,
        delayed_at,
        delivered_at,
        auto_replied,
        complained_at,
        unsubscribed_at,
        decisive,
        engagements,
    )
