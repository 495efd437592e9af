"""Claims: what the send log knows of each recipient of a mailing, and how unknown results are resolved.

An intent is claimed before SES is called and settled after it. Where no answer came, the message's Send
event, whose record carries the send id, tells that it was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sesight.domain.address import normalize_address
from sesight.domain.sending import UNRESOLVED, Intent, SendResult, SendState
from sesight.domain.template import RenderedTemplate
from sesight.send.message import OutgoingMessage
from sesight.send.send_log_writer import SendLogWriter, SettledIntent, accepted_event
from sesight.send.tags import known_tags

if TYPE_CHECKING:
    from sesight.domain.ports import Clock, SendLog
    from sesight.send.mailing import Draft, Mailing

PAGE = 1_000
"""Intents read from the log at once."""

NOT_ACCEPTED = "not-accepted"
"""The code of an intent of which no Send event came in the time set."""


class Claims:
    """The intents of one stream's mailings. Safe to use from any thread."""

    def __init__(
        self,
        log: SendLog,
        writer: SendLogWriter,
        find: Callable[[Intent], str | None],
        newest_at: Callable[[], int | None],
        clock: Clock,
        unknown_ms: int,
    ) -> None:
        """`find` returns the message id of the record that carries an intent's send id; `newest_at` the
        time of intake of the newest event. An unresolved intent counts as not sent after `unknown_ms`.
        """
        self._log = log
        self._writer = writer
        self._find = find
        self._newest_at = newest_at
        self._clock = clock
        self._unknown_ms = unknown_ms

    def of_batch(self, batch: str) -> dict[str, Intent]:
        """Return all intents of a batch by their keys."""
        intents: dict[str, Intent] = {}
        after = None
        while True:
            page = self._log.intents(batch, PAGE, after)
            intents.update((intent.key, intent) for intent in page)
            if len(page) < PAGE:
                return intents
            after = page[-1].key

    def results(self, mailing: Mailing) -> list[SendResult]:
        """Return the recorded result of each recipient of a mailing, resolving those that are open."""
        intents = self.of_batch(mailing.id)
        return [
            SendResult(
                recipient=draft.recipient,
                state=SendState.UNKNOWN,
                code="not-recorded",
                detail="The log no longer has this recipient's result.",
            )
            if (intent := intents.get(draft.key)) is None
            else result_of(draft.recipient, self.resolve(intent))
            for draft in mailing.drafts
        ]

    def claim(self, intent: Intent) -> Intent:
        """Record an intent and check the suppression list, in one transaction; return what is recorded.

        The message may be sent only if that is intended under the intent's own send id.
        """
        return self._writer.claim(
            replace(intent, at=self._clock(), state=SendState.INTENDED, code=None, detail=None)
        )

    def settle(self, intent: Intent) -> Future[Intent]:
        """Have the result of an intent recorded, without waiting for it."""
        return self._writer.settle(SettledIntent(intent))

    def settle_sent(
        self, intent: Intent, draft: Draft, message: OutgoingMessage, message_id: str
    ) -> tuple[Intent, Future[Intent]]:
        """Have it recorded that SES accepted a message, as an intent and as an Accepted event."""
        now = self._clock()
        sent = replace(intent, state=SendState.SENT, message_id=message_id, settled_at=now)
        content = message.content
        event = accepted_event(
            sent,
            message_id,
            now,
            sender=normalize_address(message.sender)[0],
            subject=content.subject if isinstance(content, RenderedTemplate) else None,
            template=message.template,
            tags=known_tags(message.tags, message.campaign_name),
            configuration_set=message.configuration_set,
            spelling=draft.spelling,
        )
        return sent, self._writer.settle(SettledIntent(sent, event))

    def give_up(self, intent: Intent) -> None:
        """Record that an unresolved intent is tried again though SES may have taken its message."""
        self._log.settle(
            [
                replace(
                    intent,
                    state=SendState.THROTTLED,
                    settled_at=self._clock(),
                    code="given-up",
                    detail="Whether SES took it is not known; it was tried again on request.",
                )
            ]
        )

    def resolve(self, intent: Intent) -> Intent:
        """Return an intent, settled if it was open and its outcome can now be told.

        It was sent if a record carries its send id. It counts as not sent if no such record came for
        `unknown_ms`, though events of later times did. Otherwise it is unknown.
        """
        if intent.state not in UNRESOLVED:
            return intent
        settled = self.find_sent(intent)
        now = self._clock()
        if settled is None and min(now, self._newest_at() or 0) - intent.at >= self._unknown_ms:
            settled = replace(
                intent,
                state=SendState.THROTTLED,
                settled_at=now,
                code=NOT_ACCEPTED,
                detail="No Send event came for it, though later ones did: it was not sent.",
            )
        if settled is None:
            return replace(
                intent,
                state=SendState.UNKNOWN,
                code=intent.code or "no-answer",
                detail=intent.detail or "It is not known yet whether SES took it.",
            )
        self._log.settle([settled])
        return settled

    def find_sent(self, intent: Intent) -> Intent | None:
        """Return an open intent as sent if a record carries its send id, else None."""
        message_id = self._find(intent) if intent.state in UNRESOLVED else None
        if message_id is None:
            return None
        return replace(
            intent,
            state=SendState.SENT,
            message_id=message_id,
            settled_at=self._clock(),
            code=None,
            detail=None,
        )


def result_of(recipient: str, intent: Intent) -> SendResult:
    """Return the result that callers see of an intent."""
    detail = intent.detail
    if intent.state is SendState.SUPPRESSED:
        detail = suppressed_detail(intent.code)
    return SendResult(
        recipient=recipient,
        state=SendState.UNKNOWN if intent.state is SendState.INTENDED else intent.state,
        code=intent.code,
        detail=detail,
        message_id=intent.message_id,
        send_id=intent.send_id or None,
    )


def suppressed_detail(reason: str | None) -> str:
    """Return the sentence for a suppressed recipient."""
    return f"The address is suppressed: {reason}."
