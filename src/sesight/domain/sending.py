"""Sending: requests, the intents they become, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class SendState(StrEnum):
    """What became of one recipient of a batch."""

    INTENDED = "intended"
    """Recorded before the provider is called. If it stays so, the result is unknown."""
    SENT = "sent"
    """The provider accepted the message."""
    SUPPRESSED = "suppressed"
    """Not attempted: the address is suppressed; `code` is the reason."""
    INVALID = "invalid"
    """Not attempted: the request cannot be sent as it is."""
    REFUSED = "refused"
    """The provider or Sesight refused this message. Sending it again unchanged would fail again."""
    THROTTLED = "throttled"
    """Not sent because of rate, quota or a pause; it can be sent again."""
    UNKNOWN = "unknown"
    """The provider was called and did not answer. Its Send event will tell; it is not sent again before."""


RESUMABLE = frozenset(
    {SendState.SUPPRESSED, SendState.INVALID, SendState.REFUSED, SendState.THROTTLED}
)
"""States in which a resumed batch tries a recipient again: nothing was sent."""

RETRYABLE = frozenset({SendState.THROTTLED})
"""States in which the same request with the same key tries a recipient again. The other recipients get their
first result.
"""

TRANSIENT_CODES = frozenset(
    {
        "rate",
        "quota",
        "limit",
        "unreachable",
        "unavailable",
        "outage",
        "list-unknown",
        "store-away",
        "not-accepted",
        "stopped",
        "taken-over",
    }
)
"""Codes of throttled recipients that pass with time. With any other code, a person must act first."""

UNRESOLVED = frozenset({SendState.INTENDED, SendState.UNKNOWN})
"""States that only a Send event can resolve."""

WITHHELD = frozenset({SendState.SUPPRESSED, SendState.INVALID, SendState.REFUSED})
"""States that count as withheld by Sesight, in the totals of the campaign."""


INTENTS_KEPT = 90
"""Days after which a batch and its intents may be removed. Until then a repeated request is recognized."""


class Intent(Struct, frozen=True, kw_only=True):
    """One recipient of one batch, and what became of it. Times are epoch ms.

    `key` is unique within the batch: the address, the statement's id, or `~` and a hash for a recipient that
    has no valid address. `send_id` is in the tags of the message, so its events can be matched. `detail` is a
    sentence that contains neither the address nor any content. `number` is the position in the request,
    from 1. `content` is a keyed hash of what the message was made from.
    """

    batch: str
    key: str
    send_id: str
    stream: str
    campaign: str
    address: str
    at: int
    state: SendState = SendState.INTENDED
    settled_at: int | None = None
    message_id: str | None = None
    code: str | None = None
    detail: str | None = None
    number: int | None = None
    content: str | None = None


class SendBatch(Struct, frozen=True, kw_only=True):
    """One request, job or command that sends. Times are epoch ms.

    `id` identifies repetitions: it stands for an idempotency key and its owner, or for what a command sends.
    `fingerprint` is a hash of the request: another request with the same id is an error of the caller. The
    process that works on a batch holds its lease until `leased_until`.
    """

    id: str
    kind: str
    stream: str
    campaign: str
    fingerprint: str
    at: int
    holder: str
    leased_until: int
    total: int | None = None
    finished_at: int | None = None


class Pause(Struct, frozen=True, kw_only=True):
    """Why a stream is paused. `by` is `operator`, `reputation` or `ses`; `detail` is a sentence."""

    stream: str
    at: int
    by: str
    detail: str


class Resumption(Struct, frozen=True, kw_only=True):
    """The end of a pause. `counts` holds what the reputation guard had counted by then: `attempted` and
    `bounced` of the current hour, `reached` and `complained` of the day.
    """

    stream: str
    at: int
    counts: dict[str, int] = field(default_factory=dict)


class CampaignDetails(Struct, frozen=True, forbid_unknown_fields=True):
    """The campaign of a message, as its owner writes it. Only `id` identifies it."""

    id: str
    name: str | None = None
    type: str | None = None
    step: str | None = None
    variant: str | None = None


class TemplateRecipient(Struct, frozen=True, forbid_unknown_fields=True):
    """One recipient: the address, optionally with a name; the template variables of this recipient; whether
    opens and clicks may be tracked.
    """

    email: str
    name: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    tracked: bool = True


class TemplateMail(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to send a template to recipients; `context` holds the variables they share."""

    template: str
    campaign: CampaignDetails
    recipients: list[TemplateRecipient]
    context: Mapping[str, Any] = field(default_factory=dict)


class StatementMail(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to send the statements of one month (YYYY-MM). Each statement is an object as described in
    docs/reference/statements.md, with figures as text. `campaign` is `statements-` and the month by default;
    `currency` and `locale` apply to statements that have none.
    """

    month: str
    statements: list[dict[str, Any]]
    template: str = "payout-statement"
    campaign: str | None = None
    currency: str | None = None
    locale: str | None = None


class SendResult(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one recipient. `recipient` is as in the request; `detail` is a sentence for people."""

    recipient: str
    state: SendState
    code: str | None = None
    detail: str | None = None
    message_id: str | None = None
    send_id: str | None = None


class JobResult(SendResult, frozen=True, kw_only=True, rename="camel"):
    """What became of one recipient of a job; `number` is its position in the request, from 1. `recipient` is
    the normalized address, or the position if there is no valid address.
    """

    number: int | None = None


class SendJob(Struct, frozen=True, kw_only=True, rename="camel"):
    """A large request that is sent in the background. `state`: `running`; `finished`; `interrupted`: requested
    again with the same key, it continues. `counts` has the number of recipients in each state; `detail` is
    a sentence.
    """

    id: str
    stream: str
    campaign: str
    state: str
    total: int
    counts: dict[str, int]
    started_at: int
    finished_at: int | None = None
    detail: str | None = None
