"""The dry run: what would become of each recipient of a mailing, without sending or recording anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sesight.domain.sending import (
    RESUMABLE,
    UNRESOLVED,
    Intent,
    Pause,
    SendResult,
    SendState,
)
from sesight.send.claims import result_of, suppressed_detail
from sesight.send.message import Unsendable, request
from sesight.send.ses import AccountUnknown

if TYPE_CHECKING:
    from sesight.send.claims import Claims
    from sesight.send.mailing import Draft, Mailing
    from sesight.send.send_quota import SendQuota


def dry_run(
    mailing: Mailing,
    claims: Claims,
    known: dict[str, Intent],
    blocked: Callable[[str, str], str | None],
) -> list[SendResult]:
    """Return the result each recipient would have now: intended if a message would be sent. `known` are
    the intents recorded so far; `blocked` returns why a stream must not send to an address.
    """
    return [
        _result(mailing, draft, claims, known.get(draft.key), blocked) for draft in mailing.drafts
    ]


def _result(
    mailing: Mailing,
    draft: Draft,
    claims: Claims,
    intent: Intent | None,
    blocked: Callable[[str, str], str | None],
) -> SendResult:
    if intent is not None and intent.state not in RESUMABLE:
        intent = claims.find_sent(intent) or intent
        if intent.state not in UNRESOLVED or not mailing.retry_unknown:
            return result_of(draft.recipient, intent)
    try:
        request(draft.message("dry-run"))
    except Unsendable as error:
        return SendResult(
            recipient=draft.recipient, state=SendState.INVALID, code=error.code, detail=str(error)
        )
    reason = blocked(mailing.stream, draft.address)
    if reason is None:
        return SendResult(recipient=draft.recipient, state=SendState.INTENDED)
    return SendResult(
        recipient=draft.recipient,
        state=SendState.SUPPRESSED,
        code=reason,
        detail=suppressed_detail(reason),
    )


def obstacles(pause: Pause | None, quota: SendQuota, messages: int) -> list[str]:
    """Return, in sentences, why so many messages of a stream would not all go out now."""
    sentences = [] if pause is None else [paused_sentence(pause)]
    try:
        account, left = quota.account(), quota.left()
    except AccountUnknown as error:
        return [*sentences, str(error)]
    if not account.enabled or account.enforcement == "SHUTDOWN":
        sentences.append(
            "SES says that sending is switched off for the account: see the AWS console."
        )
    if left is not None and left < messages:
        sentences.append(
            f"The account's quota of 24 hours has room for {left:,} messages, and {messages:,} would "
            "be sent."
        )
    return sentences


def paused_sentence(pause: Pause) -> str:
    """Return why a stream is paused, and how to let it send again."""
    return (
        f"The stream {pause.stream} is paused: {pause.detail} "
        f"`sesight stream resume {pause.stream}` lets it send again."
    )
