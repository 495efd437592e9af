"""What became of a message for a recipient: the outcome and the facts beside it, derived."""

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
    """A recipient's delivery state; of those that hold, the highest is the outcome."""

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
"""Outcomes that are not final; together `pending` in totals."""

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
"""Sub types by which SES says that it did not attempt to send."""


def bounce_outcome(bounce: Bounce) -> Outcome | None:
    """Return the outcome a bounce stands for; None for an auto-reply, which is no bounce."""
    if bounce.sub_type in SUPPRESSION_SUB_TYPES:
        return Outcome.SUPPRESSED
    if bounce.kind == "Permanent":
        temporary = bounce.status is not None and bounce.status.startswith("4")
        return Outcome.SOFT_BOUNCED if temporary else Outcome.BOUNCED
    if is_auto_reply(bounce):
        return None
    return Outcome.SOFT_BOUNCED


def is_auto_reply(bounce: Bounce) -> bool:
    """Return whether it is an out-of-office answer: Transient/General without a delivery report."""
    return (
        bounce.kind == "Transient" and bounce.sub_type in (None, "General") and not bounce.reported
    )


def is_complaint(complaint: Complaint) -> bool:
    """Return whether somebody complained: not a correction, nor a send that SES suppressed."""
    return complaint.kind != "not-spam" and complaint.sub_type not in SUPPRESSION_SUB_TYPES


class Facts(Struct, frozen=True, gc=False):
    """What a record says, derived in one pass over its timeline. Times are epoch ms or None."""

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
    """Derive what a record says."""
    outcome = _ACCEPTED
    sent = reached = auto_replied = engaged = False
    delayed_at = delivered_at = complained_at = unsubscribed_at = None
    decisive: Bounce | Complaint | Reject | RenderingFailure | None = None
    for held in timeline:  # the commonest first: this runs for every change of every record
        found = _SENT
        if isinstance(held, Send):
            pass
        elif isinstance(held, Delivery):
            found = _DELIVERED
            reached = True
            if delivered_at is None:
                delivered_at = held.at
        elif isinstance(held, (Open, Click)):
            engaged = True
        elif isinstance(held, Bounce):
            bounced = bounce_outcome(held)
            if bounced is None:
                auto_replied = True
            else:
                found = bounced
        elif isinstance(held, DeliveryDelay):
            found = Outcome.DELAYED
            if delayed_at is None:
                delayed_at = held.at
        elif isinstance(held, Complaint):
            if held.sub_type in SUPPRESSION_SUB_TYPES:
                found = Outcome.SUPPRESSED
            elif is_complaint(held):
                reached = True
                if complained_at is None:
                    complained_at = held.at
        elif isinstance(held, Subscription):
            if held.left:
                reached = True
                if unsubscribed_at is None:
                    unsubscribed_at = held.at
        elif isinstance(held, Reject):
            found = Outcome.REJECTED
        elif isinstance(held, RenderingFailure):
            found = Outcome.FAILED
        else:
            continue  # Accepted: our own word, not the provider's
        sent = True
        if found > outcome:
            outcome = found
            if found > _DELIVERED and isinstance(
                held, (Bounce, Complaint, Reject, RenderingFailure)
            ):
                decisive = held
    engagements = classify_all(timeline) if engaged else ()
    if not reached:
        reached = any(said.actor is not Actor.MACHINE for _, said in engagements)
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
