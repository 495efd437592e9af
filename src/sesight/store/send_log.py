"""What a log of sending decides, whichever store keeps it: who is recorded, and what that moves."""

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
"""How long a batch and its intents are kept."""

read_counts = json.Decoder(dict[str, int]).decode
"""Reads the counts of a resumption, which a store keeps as JSON."""

Place = tuple[str, str]
"""An intent's batch and key."""


class Campaign(NamedTuple):
    """Whose intents are withheld."""

    stream: str
    campaign: str


def place(intent: Intent) -> Place:
    """Return what an intent is known by."""
    return intent.batch, intent.key


def claimed(held: Intent | None, wanted: Intent) -> Intent:
    """Return what is recorded once an intent is claimed, whether its address is suppressed apart: the
    intent itself, unless somebody else's stands.
    """
    return wanted if held is None or held.state in RESUMABLE else held


def asked_of(intent: Intent) -> tuple[Place, ...]:
    """Return the (stream, key)s of the suppressions that may forbid an intent: of its address and of
    the address's whole domain.
    """
    return tuple((intent.stream, key) for key in suppression_keys(intent.address))


def allowed(wanted: Intent, items: Mapping[Place, Suppression], blocks: SuppressionCheck) -> Intent:
    """Return an intent as it is to be recorded: as suppressed, if the items of its address block."""
    held = [items[key] for key in asked_of(wanted) if key in items]
    reason = blocks(wanted.stream, held)
    if reason is None:
        return wanted
    return replace(wanted, state=SendState.SUPPRESSED, code=reason, settled_at=wanted.at)


def settled(held: Intent | None, told: Intent) -> Intent:
    """Return what is recorded once it is told what became of an intent: another attempt stays, but
    where neither sent anything.
    """
    if held is None or held.send_id == told.send_id:
        return told
    return told if held.state in RESUMABLE and told.state in RESUMABLE else held


def moved(changes: Iterable[tuple[Intent | None, Intent]]) -> dict[Campaign, Counter[SendState]]:
    """Return by how much the withheld of campaigns change when intents do (before, after)."""
    found: dict[Campaign, Counter[SendState]] = {}
    for before, after in changes:
        for intent, change in ((before, -1), (after, 1)):
            if intent is not None and intent.state in WITHHELD:
                counts = found.setdefault(Campaign(intent.stream, intent.campaign), Counter())
                counts[intent.state] += change
    return found


def leased(held: SendBatch, asked: SendBatch, *, again: bool) -> SendBatch:
    """Return a recorded batch after somebody asks to work on it; `again`: also if it is finished."""
    if held.finished_at is not None:
        if not again:
            return held
    elif held.leased_until > asked.at:
        return held
    return replace(held, holder=asked.holder, leased_until=asked.leased_until, finished_at=None)
