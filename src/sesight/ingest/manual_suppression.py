"""Manual suppressions and removals, applied to suppression items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.ports import Changes
from sesight.domain.suppression.manual import SuppressionChange, affected_streams, apply_command
from sesight.ingest.suppression_changes import SuppressionChanges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesight.domain.ports import View
    from sesight.domain.suppression.manual import SuppressionCommand
    from sesight.ingest.rules import Rules


def apply_decisions(
    view: View, rules: Rules, now: int, decisions: Sequence[SuppressionCommand]
) -> tuple[Changes, list[list[SuppressionChange]]]:
    """Join decisions into suppression items; return what to commit, and each decision's changes by
    stream.
    """
    streams = rules.counting.streams
    places = [
        [(stream, decision.address) for stream in affected_streams(decision, streams)]
        for decision in decisions
    ]
    items = SuppressionChanges(
        view, rules.suppression, now, {place for some in places for place in some}
    )
    changed = [
        [_apply(items, place, decision) for place in reached_places]
        for decision, reached_places in zip(decisions, places, strict=True)
    ]
    return Changes(suppressions=items.changed, rollups=items.add_to({})), changed


def _apply(
    items: SuppressionChanges, place: tuple[str, str], decision: SuppressionCommand
) -> SuppressionChange:
    before = items.get(place)
    return SuppressionChange(
        place[0], before, items.put(place, apply_command(before, place[0], decision))
    )
