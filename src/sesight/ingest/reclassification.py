"""Reclassification: stored records tallied again by today's rules and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.ports import Changes
from sesight.ingest.batch_records import BatchRecords

if TYPE_CHECKING:
    from collections.abc import Collection

    from sesight.domain.ports import View
    from sesight.ingest.rules import Rules


def reclassify(view: View, rules: Rules, message_ids: Collection[str]) -> Changes:
    """Tally the records of messages again; return those that count differently."""
    records = BatchRecords(view)
    records.load(message_ids)
    records.changed = dict.fromkeys(records.current)
    records.tally(rules.counting)
    return Changes(
        records=records.to_write(), rollups=records.deltas.rows(), cards=records.cards.joined()
    )
