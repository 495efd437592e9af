"""Reasons: why a message was not delivered, as one of a closed list of codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.event import Bounce, Complaint, Reject, RenderingFailure
from sesight.domain.outcome import Outcome, bounce_outcome

if TYPE_CHECKING:
    from sesight.domain.outcome import Facts

REASONS = {
    "no-such-mailbox": "The mailbox does not exist",
    "no-such-domain": "The domain does not exist or takes no mail",
    "mailbox-full": "The mailbox is full",
    "too-large": "The message or an attachment is too large or of a refused kind",
    "content": "The content was refused",
    "policy": "The receiving server refused us by policy or reputation",
    "timed-out": "The receiving server did not take it in time",
    "server-trouble": "The receiving server or the network had trouble",
    "global-suppression-list": "On Amazon SES's global suppression list",
    "account-suppression-list": "On the account's suppression list",
    "tenant-suppression-list": "On the tenant's suppression list",
    "validation": "Amazon SES predicted a bad address",
    "unsubscribed": "The contact has unsubscribed",
    "virus": "Amazon SES found a virus",
    "rendering": "The template could not be rendered",
    "permanent": "Refused for good, no closer reason given",
    "transient": "Given up after temporary refusals, no closer reason given",
    "undetermined": "Amazon SES could not tell why",
}
"""Every code with its description."""

OTHER = "~other"
"""The code of a reason that is not in the table."""

_SUB_TYPES = {
    "NoEmail": "no-such-mailbox",
    "MailboxFull": "mailbox-full",
    "MessageTooLarge": "too-large",
    "AttachmentRejected": "too-large",
    "ContentRejected": "content",
    "CustomTimeoutExceeded": "timed-out",
    "Suppressed": "global-suppression-list",
    "OnAccountSuppressionList": "account-suppression-list",
    "OnTenantSuppressionList": "tenant-suppression-list",
    "EmailValidationSuppressed": "validation",
    "UnsubscribedRecipient": "unsubscribed",
}

_STATUSES = (
    ("5.1.1", "no-such-mailbox"),
    ("5.1.10", "no-such-domain"),
    ("5.1.2", "no-such-domain"),
    ("5.4.4", "no-such-domain"),
    ("4.4.4", "no-such-domain"),
    (".2.2", "mailbox-full"),
    (".3.4", "too-large"),
    (".2.3", "too-large"),
    (".6.", "content"),
    (".7.", "policy"),
    ("4.4.7", "timed-out"),
    (".4.", "server-trouble"),
    (".3.", "server-trouble"),
    (".1.", "no-such-mailbox"),
)

_KINDS = {"Permanent": "permanent", "Transient": "transient", "Undetermined": "undetermined"}


def reason_of(facts: Facts) -> str | None:
    """Return the code of the event that decided a not-delivered outcome; None for other outcomes."""
    decisive = facts.decisive
    if decisive is None:
        return None
    if isinstance(decisive, Reject):
        return "virus"
    if isinstance(decisive, RenderingFailure):
        return "rendering"
    if isinstance(decisive, Complaint):
        return _SUB_TYPES.get(decisive.sub_type or "", OTHER)
    return _of_bounce(decisive)


def _of_bounce(bounce: Bounce) -> str:
    named = _SUB_TYPES.get(bounce.sub_type or "")
    if named is not None:
        return named
    status = bounce.status or ""
    is_soft = bounce_outcome(bounce) is Outcome.SOFT_BOUNCED
    if is_soft and status.startswith("4.1."):
        return "transient"
    for part, code in _STATUSES:
        if status == part or (part[0] == "." and status[1:].startswith(part)):
            return code
    if is_soft and bounce.kind == "Permanent":
        return "transient"  # a permanent bounce whose own status is temporary
    return _KINDS.get(bounce.kind or "", OTHER)
