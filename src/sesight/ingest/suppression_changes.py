"""Suppression items that a transaction changes, as stored and as changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.rollup import add_suppressed
from sesight.domain.suppression.policy import with_counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from sesight.domain.ports import View
    from sesight.domain.rollup import Rollups
    from sesight.domain.suppression.item import Suppression
    from sesight.domain.suppression.policy import SuppressionPolicy


class SuppressionChanges:
    """Suppression items by (stream, address)."""

    def __init__(
        self,
        view: View,
        policy: SuppressionPolicy,
        now: int,
        places: Collection[tuple[str, str]],
    ) -> None:
        """Load the items of the places."""
        self._policy = policy
        self._now = now
        self.stored = view.suppressions(places)
        self.changed: dict[tuple[str, str], Suppression] = {}

    def get(self, place: tuple[str, str]) -> Suppression | None:
        """Return an item as it is by now."""
        return self.changed.get(place) or self.stored.get(place)

    def put(self, place: tuple[str, str], item: Suppression) -> Suppression:
        """Replace an item, after deciding again whether it is active; return the result."""
        item = with_counted(item, self._now, self._policy)
        if item != self.get(place):
            self.changed[place] = item
        return item

    def add_to(self, rollups: Rollups) -> Rollups:
        """Add the change in the numbers of active items to rollup rows; return them."""
        for place, item in self.changed.items():
            add_suppressed(rollups, self.stored.get(place), item)
        return rollups
