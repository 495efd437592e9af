"""Pages of the message log: filling one from a store's candidates, in either direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sesight.domain.event import UNATTRIBUTED
from sesight.domain.ports import RecordPage
from sesight.domain.timestamps import DAY
from sesight.store.limits import SCANNED_PER_ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sesight.domain.record import Record
    from sesight.store.filters import Predicate

_P = TypeVar("_P")


class PageRequest(NamedTuple):
    """Which page: up to `limit` records after a cursor; `newer`: those next above it instead."""

    limit: int
    cursor: str | None
    newer: bool


def held_of_message(records: Iterable[Record], live_from: int) -> list[Record]:
    """Return the records sent on the UTC day `live_from` or later, `*` last."""
    return sorted(
        (record for record in records if record.identity.sent_at >= live_from * DAY),
        key=lambda record: (record.recipient == UNATTRIBUTED, record.recipient),
    )


def fill_page(
    candidates: Iterable[tuple[_P, Record | None]],
    predicates: Sequence[Predicate],
    request: PageRequest,
    cursor_of: Callable[[_P], str],
    sent_of: Callable[[_P], int | None],
    *,
    first_cursor: str,
) -> RecordPage:
    """Return a page of the candidates that pass the predicates.

    Candidates are (position, record)s in the order of reading; a record of None means that the store
    gave up there. `first_cursor` is the cursor from which `newer` returns everything.
    """
    limit, cursor, newer = request
    records: list[Record] = []
    first: _P | None = None
    last: _P | None = None
    has_more = False
    for scanned, (position, record) in enumerate(candidates):
        if len(records) >= limit or scanned >= limit * SCANNED_PER_ROW:
            has_more = True
            break
        last = position
        if first is None:
            first = position
        if record is None:
            has_more = True
            break
        if all(passes(record) for passes in predicates):
            records.append(record)
    oldest, newest = (first, last) if newer else (last, first)
    if newer:
        records.reverse()
        next_cursor = cursor_of(oldest) if oldest is not None else cursor
    else:
        next_cursor = cursor_of(oldest) if has_more and oldest is not None else None
    newer_cursor = cursor_of(newest) if newest is not None else cursor
    stopped_short = has_more and len(records) < limit
    return RecordPage(
        records,
        next_cursor,
        sent_of(last) if stopped_short and last is not None else None,
        newer_cursor or first_cursor,
    )
