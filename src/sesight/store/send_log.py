"""Decisions of the send log, whichever store keeps it: what is recorded, and which counts that moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec import json
from msgspec.structs import replace

from sesight.domain.sending import INTENTS_KEPT, RESUMABLE, WITHHELD, Intent, SendBatch, SendState
from sesight.domain.suppression.item import suppression_keys
from sesight.domain.timestamps import DAY

if TYPE_CHECKING:
    from sesight.domain.ports import SuppressionCheck
    from sesight.domain.suppression.item import Suppression

INTENTS_KEPT_MS = INTENTS_KEPT * DAY
"""Milliseconds for which a batch and its intents are kept."""

read_counts = json.Decoder(dict[str, int]).decode
"""Reads the counts of a resumption, which both stores keep as JSON."""

IntentKey = tuple[str, str]
"""An intent's batch and key."""


class CampaignKey(NamedTuple):
    """The campaign whose withheld intents are counted."""

    stream: str
    campaign: str


def key_of(intent: Intent) -> IntentKey:
    """Return the key of an intent."""
    return intent.batch, intent.key


def claimed(recorded: Intent | None, new: Intent) -> Intent:
    """Return what is recorded once an intent is claimed: the new intent, unless another attempt
    stands. Whether its address is suppressed is decided apart (`unless_blocked`).
    """
    return new if recorded is None or recorded.state in RESUMABLE else recorded


def blocking_keys(intent: Intent) -> tuple[tuple[str, str], ...]:
    """Return the (stream, address)es of the suppressions that may block an intent: of its address and
    of the address's whole domain.
    """
    return tuple((intent.stream, key) for key in suppression_keys(intent.address))


def unless_blocked(
    intent: Intent, suppressions: Mapping[tuple[str, str], Suppression], blocks: SuppressionCheck
) -> Intent:
    """Return an intent as it is to be recorded: as suppressed, if a suppression blocks its address."""
    keys = blocking_keys(intent)
    items = [suppressions[key] for key in keys if key in suppressions]
    reason = blocks(intent.stream, items)
    if reason is None:
        return intent
    return replace(intent, state=SendState.SUPPRESSED, code=reason, settled_at=intent.at)


def settled(recorded: Intent | None, result: Intent) -> Intent:
    """Return what is recorded once the result of an intent is known: the result of another attempt
    stays, unless neither attempt sent anything.
    """
    if recorded is None or recorded.send_id == result.send_id:
        return result
    return result if recorded.state in RESUMABLE and result.state in RESUMABLE else recorded


def withheld_changes(
    changes: Iterable[tuple[Intent | None, Intent]],
) -> dict[CampaignKey, Counter[SendState]]:
    """Return how the withheld counts of campaigns change when intents do (before, after)."""
    by_campaign: dict[CampaignKey, Counter[SendState]] = {}
    for before, after in changes:
        for intent, change in ((before, -1), (after, 1)):
            if intent is not None and intent.state in WITHHELD:
                key = CampaignKey(intent.stream, intent.campaign)
                by_campaign.setdefault(key, Counter())[intent.state] += change
    return by_campaign


def leased(recorded: SendBatch | None, request: SendBatch, *, reopen: bool) -> SendBatch:
    """Return a batch after a request to work on it: as requested if it is new, else leased to the
    requester if nobody holds it. `reopen`: also if it is finished.
    """
    if recorded is None:
        return request
    if recorded.finished_at is not None:
        if not reopen:
            return recorded
    elif recorded.leased_until > request.at:
        return recorded
    return replace(
        recorded, holder=request.holder, leased_until=request.leased_until, finished_at=None
    )
