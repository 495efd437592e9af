"""Suppressions whose temporary cause has ended: they no longer count as active."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.ports import Changes
from sesight.ingest.suppression_changes import SuppressionChanges

if TYPE_CHECKING:
    from collections.abc import Collection

    from sesight.domain.ports import View
    from sesight.ingest.rules import Rules


def recount_suppressions(
    view: View, rules: Rules, now: int, places: Collection[tuple[str, str]]
) -> Changes:
    """Decide again whether suppression items are active; return those that change."""
    items = SuppressionChanges(view, rules.suppression, now, places)
    for place, item in items.stored.items():
        items.put(place, item)
    return Changes(suppressions=items.changed, rollups=items.add_to({}))
