"""Limits that both stores keep to: how far a list is searched, and how long data beside records stays."""

from __future__ import annotations

from sesight.domain.timestamps import DAY

SCANNED_PER_ROW = 10
"""Rows scanned for each row of a page, before the page stops short with `searched_to`."""

QUARANTINE_KEPT = 30 * DAY
"""Milliseconds for which a body stays in the quarantine."""

LAST_TEXT = "\U0010ffff"
"""Text that sorts after every continuation of a prefix: the end of a range of all texts with it."""
