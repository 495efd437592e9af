"""Open dimensions: those whose values are not a closed list. A scope has rows for its first 1,000
values, for ever; later values share the row of `~other`.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesight.domain.rollup import RollupKey, Rollups

CLOSED_DIMENSIONS = frozenset({"", "mailbox", "reason", "attempt"})
"""Dimensions whose values are a closed list; the values of all others are counted and bounded."""

VALUES_PER_SCOPE = 1_000
"""Values of one dimension that a scope has rows for."""

OTHER = "~other"
"""The value of the row for all further values."""


def regrouped(rollups: Rollups, row_of: Callable[[RollupKey], RollupKey]) -> Rollups:
    """Return increments under the rows that hold them, those of one row added up."""
    rows: Rollups = {}
    for key in sorted(rollups):
        row, counts = row_of(key), rollups[key]
        before = rows.get(row)
        rows[row] = counts if before is None else list(map(add, before, counts))
    return rows
