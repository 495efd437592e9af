"""Which values of open dimensions have rows of their own, see `sesight.store.open_dimensions`."""

from __future__ import annotations

import sqlite3

from sesight.domain.rollup import RollupKey, Rollups
from sesight.store.open_dimensions import CLOSED_DIMENSIONS, OTHER, VALUES_PER_SCOPE, regrouped
from sesight.store.sqlite.interning import FAMILIES, Interning

# jumps from value to value: a DISTINCT would read every row of the scope
_VALUES_WITH_ROWS = """
WITH RECURSIVE known (value) AS (
  SELECT min(value) FROM rollup WHERE family = ?1 AND scope = ?2 AND dimension = ?3
  UNION ALL
  SELECT (SELECT min(value) FROM rollup
          WHERE family = ?1 AND scope = ?2 AND dimension = ?3 AND value > known.value)
  FROM known WHERE known.value IS NOT NULL
) SELECT value FROM known WHERE value IS NOT NULL
"""


def bounded(connection: sqlite3.Connection, interning: Interning, rollups: Rollups) -> Rollups:
    """Return increments under the rows that hold them.

    A value that has a row keeps it for ever, and one that came when its scope was full never gets one:
    so each row stays the sum of tallies, and only which values have rows depends on who came first.
    """

    def row_of(key: RollupKey) -> RollupKey:
        if key.dimension in CLOSED_DIMENSIONS or _has_row(connection, interning, key):
            return key
        return key._replace(value=OTHER)

    return regrouped(rollups, row_of)


def _has_row(connection: sqlite3.Connection, interning: Interning, key: RollupKey) -> bool:
    dimension = (FAMILIES[key.family], interning.scope(key), key.dimension)
    known = interning.dimension_values.get(dimension)
    if known is None:
        rows = connection.execute(_VALUES_WITH_ROWS, dimension).fetchall()
        known = interning.dimension_values[dimension] = {value for (value,) in rows}
    if key.value in known:
        return True
    if len(known) >= VALUES_PER_SCOPE:
        # another process may have given the value a row since
        row = connection.execute(
            "SELECT 1 FROM rollup WHERE family = ? AND scope = ? AND dimension = ? AND value = ? "
            "LIMIT 1",
            (*dimension, key.value),
        ).fetchone()
        if row is None:
            return False
    known.add(key.value)
    return True
