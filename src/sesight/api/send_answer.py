"""The answer to a request to send, over HTTP and from a Lambda function."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from msgspec import Struct

from sesight.domain.sending import TRANSIENT_CODES, SendResult, SendState

RETRY_SECONDS = 60
"""After so many seconds the same request, under the same key, may send to those who were throttled: the
account's quota is read from SES once a minute.
"""


class SendAnswer(Struct, frozen=True):
    """The result of each recipient, in the order of the request, and the number of recipients by state."""

    results: list[SendResult]
    counts: dict[str, int]


class AnsweredSend(NamedTuple):
    """A send answer with its HTTP status; `retry_after` is in seconds, None if a retry is pointless."""

    status: int
    answer: SendAnswer
    retry_after: int | None


def answer_to_send(results: list[SendResult]) -> AnsweredSend:
    """Return the answer for results: 200 if all were sent, 503 if all were throttled, else 207."""
    counts = Counter(result.state.value for result in results)
    if counts[SendState.SENT] == len(results):
        status = 200
    elif counts[SendState.THROTTLED] == len(results):
        status = 503
    else:
        status = 207
    is_transient = any(
        result.state is SendState.THROTTLED and result.code in TRANSIENT_CODES for result in results
    )
    retry_after = RETRY_SECONDS if is_transient else None
    return AnsweredSend(status, SendAnswer(results, dict(counts)), retry_after)
