"""Find the record of a message that Sesight sent, by the `send_id` in its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.ports import RecordFilter

if TYPE_CHECKING:
    from sesight.domain.ports import Store
    from sesight.domain.record import Record

PAGE = 500
PAGES = 4
"""Pages of an address's messages that are searched, newest first: an address with more messages in the
few days of a search is a test recipient's.
"""


def find_by_send_id(
    store: Store,
    stream: str,
    address: str,
    send_id: str,
    *,
    since: int,
    until: int | None = None,
    now: int,
) -> Record | None:
    """Return the record that carries a send id, sent to an address from `since` to before `until` (ms);
    None if the store does not hold it. Raises StoreUnavailable.

    No index has send ids: the address's own index is read instead, which is short.
    """
    record_filter = RecordFilter(streams=(stream,), address=address, since=since, until=until)
    cursor = None
    for _ in range(PAGES):
        page = store.messages(record_filter, PAGE, cursor, now)
        for record in page.records:
            if record.identity.send_id == send_id:
                return record
        cursor = page.cursor
        if cursor is None:
            break
    return None
