"""Sending, in words: what is asked for, what was decided for each recipient, what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class SendState(StrEnum):
    """What became of one recipient of one batch."""

    INTENDED = "intended"
    """Recorded before the provider is called. Found later, it is as good as unknown."""
    SENT = "sent"
    """The provider accepted the message."""
    SUPPRESSED = "suppressed"
    """Not tried: the address must not be sent to; `code` is the reason."""
    INVALID = "invalid"
    """Not tried: what was given cannot be sent to anybody, such as it is."""
    REFUSED = "refused"
    """The provider, or our own rules, refused this message; trying again as it is would not help."""
    THROTTLED = "throttled"
    """Not sent for want of rate, quota or permission to send now; it may be tried again."""
    UNKNOWN = "unknown"
    """The provider was called and no answer came: its Send event will tell. Not tried before that."""


RESUMABLE = frozenset(
    {SendState.SUPPRESSED, SendState.INVALID, SendState.REFUSED, SendState.THROTTLED}
)
"""States after which a resumed batch tries a recipient again: nothing was sent."""

RETRYABLE = frozenset({SendState.THROTTLED})
"""States after which the same request under the same key tries a recipient again; what was decided of
the others is its answer."""

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
"""Codes of throttled recipients that time alone mends; other codes need a person to act first."""

UNRESOLVED = frozenset({SendState.INTENDED, SendState.UNKNOWN})
"""States of which only the Send event can tell what became of them."""

WITHHELD = frozenset({SendState.SUPPRESSED, SendState.INVALID, SendState.REFUSED})
"""States that count as withheld by our own sender, with the campaign."""


INTENTS_KEPT = 90
"""Days after which a batch and its intents may be removed: a repetition is known as one until then."""


class Intent(Struct, frozen=True, kw_only=True):
    """One recipient of one batch, and what became of it. Times are epoch ms.

    `key` tells it from the others of its batch: the address, the statement's id, or `~` and a hash of
    what cannot be sent to. `send_id` is in the message's tags, so that its events can be told. `detail`
    is a sentence that repeats neither the address nor what the message says. `number` is its place in
    what was asked for, from 1; `content` a hash under a key of what the message was made of.
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
    """One request to send, one job or one command. Times are epoch ms.

    `id` is what makes a repetition one: it stands for an idempotency key and who gave it, or for what
    a command sends. `fingerprint` is a hash of what was asked: another one under the same id is a
    mistake of the caller's. Who works on a batch holds it until `leased_until`.
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
    """Why a stream does not send. `by`: `operator`, `reputation` or `ses`; `detail` is a sentence."""

    stream: str
    at: int
    by: str
    detail: str


class Resumption(Struct, frozen=True, kw_only=True):
    """Somebody let a stream send again. `counts` is what the reputation guard had counted by then: of
    the running hour `attempted` and `bounced`, of the day `reached` and `complained`.
    """

    stream: str
    at: int
    counts: dict[str, int] = field(default_factory=dict)


class CampaignDetails(Struct, frozen=True, forbid_unknown_fields=True):
    """The campaign that mail belongs to, as its owner writes it. Only `id` makes it another one."""

    id: str
    name: str | None = None
    type: str | None = None
    step: str | None = None
    variant: str | None = None


class TemplateRecipient(Struct, frozen=True, forbid_unknown_fields=True):
    """One recipient: an address, perhaps with a name before it; what the template is told of them;
    whether opens and clicks may be recorded.
    """

    email: str
    name: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    tracked: bool = True


class TemplateMail(Struct, frozen=True, forbid_unknown_fields=True):
    """Mail from a template to people; `context` is what the template is told of all of them alike."""

    template: str
    campaign: CampaignDetails
    recipients: list[TemplateRecipient]
    context: Mapping[str, Any] = field(default_factory=dict)


class StatementMail(Struct, frozen=True, forbid_unknown_fields=True):
    """Statements of one month (YYYY-MM), each as docs/reference/statements.md has it, its figures as text.
    `campaign` is `statements-` and the month unless said; `currency` and `locale` are of those that do
    not say their own.
    """

    month: str
    statements: list[dict[str, Any]]
    template: str = "payout-statement"
    campaign: str | None = None
    currency: str | None = None
    locale: str | None = None


class SendResult(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one recipient; `recipient` is as it was given, `detail` a sentence for a person."""

    recipient: str
    state: SendState
    code: str | None = None
    detail: str | None = None
    message_id: str | None = None
    send_id: str | None = None


class JobResult(SendResult, frozen=True, kw_only=True, rename="camel"):
    """What became of one recipient of a job; `number` is its place in the request, from 1. `recipient`
    is the address as records know it; where there is none to be read, it names the place.
    """

    number: int | None = None


class SendJob(Struct, frozen=True, kw_only=True, rename="camel"):
    """A larger order on its way. `state`: `running`; `finished`; `interrupted`: asked for again under
    the same key, it goes on. `counts` say how many recipients are in each state; `detail` is a sentence.
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
