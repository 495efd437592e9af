"""A mailing: the drafts that one request, job or command sends, and how a repetition is recognised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from sesight.domain.errors import Conflict
from sesight.domain.sending import (
    INTENTS_KEPT,
    RESUMABLE,
    RETRYABLE,
    SendBatch,
    SendState,
)
from sesight.domain.timestamps import DAY
from sesight.send.message import OutgoingMessage, Unsendable


class Draft(Struct, frozen=True, kw_only=True):
    """One recipient and how their message is made. `recipient` is as the caller wrote it; `key` tells it
    from the others of the mailing. `compose` makes the message that carries a send id (raises
    Unsendable); `fault` is set instead where there can be none. `content` returns a keyed hash of what
    the message is made of.
    """

    recipient: str
    key: str
    address: str = ""
    spelling: str | None = None
    compose: Callable[[str], OutgoingMessage] | None = None
    fault: Unsendable | None = None
    content: Callable[[], str] | None = None

    def message(self, send_id: str) -> OutgoingMessage:
        """Return the message that carries a send id. Raises Unsendable."""
        if self.fault is not None:
            raise self.fault
        if self.compose is None:
            raise Unsendable("empty", "There is nothing to send.")
        return self.compose(send_id)


class Mailing(Struct, frozen=True, kw_only=True):
    """What one request, job or command sends; see `domain.sending.SendBatch` for `id`, `kind` and
    `fingerprint`.

    A `resumed` mailing tries all recipients again that certainly got nothing; other mailings only those
    that were throttled. `retry_unknown` also tries unknown recipients, though they may get the message
    twice.
    """

    id: str
    kind: str
    stream: str
    campaign: str
    fingerprint: str
    drafts: Sequence[Draft]
    resumed: bool = False
    retry_unknown: bool = False

    def retries(self, state: SendState) -> bool:
        """Return whether this mailing tries a recipient again whose intent is in a state."""
        if state is SendState.UNKNOWN:
            return self.retry_unknown
        return state in (RESUMABLE if self.resumed else RETRYABLE)

    def batch(self, at: int, holder: str, leased_until: int) -> SendBatch:
        """Return the batch that records this mailing. `at` and `leased_until` are epoch ms."""
        return SendBatch(
            id=self.id,
            kind=self.kind,
            stream=self.stream,
            campaign=self.campaign,
            fingerprint=self.fingerprint,
            at=at,
            holder=holder,
            leased_until=leased_until,
            total=len(self.drafts),
        )

    def check_same(self, batch: SendBatch) -> None:
        """Raise Conflict if a recorded batch has this mailing's id but was made of another request."""
        if batch.kind != self.kind:
            raise Conflict(f"This key was used for a {batch.kind} before: use another key.")
        if batch.fingerprint != self.fingerprint:
            raise Conflict("Something else was sent under this key before: use another key for it.")


def check_remembered(batch: SendBatch, now: int) -> None:
    """Raise Conflict if the log may no longer know the first recipients of a batch."""
    if now - batch.at >= INTENTS_KEPT * DAY:
        raise Conflict(
            f"This was begun more than {INTENTS_KEPT} days ago, and the log may no longer know who received "
            "it: use another key (--key, or another --step) for the recipients that should get it."
        )
