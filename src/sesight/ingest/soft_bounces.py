"""Soft bounces, weighed against the deliveries and human engagement of the same address.

Soft bounces are kept on suppression items; the good signs against them are in records, and an item and a
record cannot always be committed at once. So whoever writes one looks at the other afterwards: of two
batches that bring one each at the same time, the later to store sees both (decision 19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.ports import Changes, RecordKey
from sesight.domain.suppression.item import has_soft_bounces, with_positive_signal
from sesight.domain.tally import REACHED
from sesight.domain.timestamps import DAY
from sesight.ingest.suppression_changes import SuppressionChanges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sesight.domain.ports import View
    from sesight.domain.stream import Stream
    from sesight.ingest.batch_records import BatchRecords
    from sesight.ingest.rules import Rules
    from sesight.ingest.suppression_causes import SuppressionCauses

Evidence = dict[tuple[str, str], set[str]]
"""The ids of messages with good signs, by the (stream, address) whose soft bounces need weighing."""


def evidence(
    causes: SuppressionCauses,
    records: BatchRecords,
    keys: Iterable[RecordKey],
    streams: Mapping[str, Stream],
) -> Evidence:
    """Return for whom a batch may have brought a soft bounce or a good sign.

    `keys` are of the records that its events speak of, changed or not: a batch that comes again, since
    it was cut off before the weighing, changes no record and must weigh all the same.
    """
    places: Evidence = {place: set() for place, _ in causes.soft_bounces()}
    for key in dict.fromkeys(keys) | records.changed:
        record = records.current[key]
        stream = streams.get(record.stream)
        if stream is not None and stream.soft_bounces and _is_good(records, key):
            places.setdefault((record.stream, key.recipient), set()).add(key.message_id)
    return places


def _is_good(records: BatchRecords, key: RecordKey) -> bool:
    """Return whether a record is, or was before the batch, of a message that reached its recipient."""
    stored = records.stored.get(key)
    tallies = (None if stored is None else stored.tally, records.current[key].tally)
    return any(tally is not None and tally.facts & REACHED for tally in tallies)


def weighed_records(messages: Evidence, causes: SuppressionCauses) -> set[RecordKey]:
    """Return the keys of the records whose good signs and soft bounces are weighed."""
    return {
        RecordKey(message_id, address)
        for (_, address), message_ids in messages.items()
        for message_id in message_ids
    } | {
        RecordKey(cause.message_id, address)
        for (_, address), cause in causes.soft_bounces()
        if cause.message_id is not None
    }


def weigh(view: View, rules: Rules, now: int, messages: Evidence) -> Changes:
    """Weigh soft bounces against good signs, over a view in which the batch is stored; return the
    suppression items that change.
    """
    live_from = rules.live_from(now)

    def is_expired(sent_at: int) -> bool:
        return sent_at // DAY < live_from

    items = SuppressionChanges(view, rules.suppression, now, messages)
    for place, item in items.stored.items():
        if has_soft_bounces(item):
            records = view.of_address(*place, messages[place])
            items.put(place, with_positive_signal(item, records, is_expired))
    return Changes(suppressions=items.changed, rollups=items.add_to({}))
