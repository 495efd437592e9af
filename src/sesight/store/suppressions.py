"""What a suppression item says at some time, in columns or attributes that people and indexes read."""

from __future__ import annotations

from typing import NamedTuple

from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.manual import MANUAL_REASONS
from sesight.domain.suppression.policy import (
    ActiveSuppression,
    SuppressionPolicy,
    active_suppression,
)


class SuppressionSummary(NamedTuple):
    """The readable form of an item. `until` is when a counted item stops blocking by itself; 0 if it
    already has, so that it is due at once.
    """

    scope: str | None
    active: bool
    reason: str | None
    first_at: int | None
    last_at: int | None
    until: int | None
    note: str | None


def summary_of(item: Suppression, now: int, policy: SuppressionPolicy) -> SuppressionSummary:
    """Return the readable form of an item at `now` (epoch ms)."""
    blocking = active_suppression(item, now, policy) if item.counted is not None else None
    until = 0 if item.counted is not None else None
    if blocking is not None:
        until = blocking.until
    times = [cause.at for cause in item.causes]
    return SuppressionSummary(
        blocking.cause.scope if blocking is not None else None,
        item.counted is not None,
        item.counted[1] if item.counted is not None else None,
        min(times, default=None),
        max(times, default=None),
        until,
        _note(item, blocking),
    )


def _note(item: Suppression, blocking: ActiveSuppression | None) -> str | None:
    """Return the note of the person who changed the item last."""
    if blocking is not None and blocking.cause.reason in MANUAL_REASONS:
        return blocking.cause.detail
    return item.removals[-1].note if item.removals else None


class SuppressionSearch(NamedTuple):
    """Which items a list has: by the beginning of the address, the reason they count under, and
    whether they count.
    """

    prefix: str
    reason: str | None
    active: bool | None
