"""What every store must do is in the files `contract_*.py` beside this one, written once; here are the
records and batches that they use. Each store's tests bind these classes, with the fixtures of its
`conftest.py`.

`store` opens with 90 days of retention and the clock at `NOW`; `reopen(**settings)` opens the same data
again; `count(store, rollups)` adds increments to rollup rows in the store's own way. Nothing in the
contract knows how a store keeps its data.
"""

from collections.abc import Callable, Iterable

from sesight.domain.counting import Counting, tally_of
from sesight.domain.event import Event, Identity, Send
from sesight.domain.ports import Changes, RecordFilter, RecordKey, Store, View
from sesight.domain.record import Record, fold
from sesight.domain.rollup import Deltas, Rollups
from sesight.domain.stream import FINANCE, OUTREACH
from sesight.domain.suppression.item import Cause, Suppression
from sesight.domain.timestamps import DAY, HOUR
from tests.store.anything import ses_id

NOW = 20_000 * DAY + 12 * HOUR
TODAY = 20_000
Count = Callable[[Store, Rollups], None]
COUNTING = Counting({"outreach": OUTREACH, "finance": FINANCE})


def changes(records: Iterable[Record] = (), **more: object) -> Changes:
    """Return changes that store the records, with other fields as given."""
    given = {
        "suppressions": {},
        "rollups": {},
        "cards": {},
        "quarantined": [],
        "released": [],
        **more,
    }
    return Changes({RecordKey(r.message_id, r.recipient): r for r in records}, **given)


def put(store: Store, *records: Record, **more: object) -> None:
    """Commit records, with other fields of the changes as given."""
    assert store.transact(lambda _: changes(records, **more)) == set()


def record(at: int = NOW - HOUR, number: int = 0, **fields: object) -> Record:
    """Return a record sent at `at`, with its tally, and with fields replaced as given."""
    values = {
        "message_id": ses_id(at, number),
        "recipient": f"jo{number}@example.org",
        "stream": "outreach",
        "identity": Identity(at, "news@example.com", "Hello", tags=(("campaign_id", "spring"),)),
        "timeline": (Send(at),),
        **fields,
    }
    return counted(Record(**values))


def counted(one: Record) -> Record:
    """Return the record with its tally."""
    return Record(
        one.message_id,
        one.recipient,
        one.stream,
        one.identity,
        one.timeline,
        one.capped,
        one.spelling,
        tally_of(one, COUNTING),
    )


def apply(store: Store, events: Iterable[tuple[str, Event]], **more: object) -> None:
    """Fold events in one batch as the pipeline does: view, fold, tally, deltas."""
    batch = list(events)

    def folding(view: View) -> Changes:
        before = {
            RecordKey(held.message_id, held.recipient): held
            for found in view.records({event.message_id for _, event in batch}).values()
            for held in found
        }
        after = dict(before)
        for stream, event in batch:
            for report in event.reports:
                key = RecordKey(event.message_id, report.recipient)
                after[key] = fold(after.get(key), event, report, stream)
        deltas, written = Deltas(), []
        for key, held in after.items():
            if held is not before.get(key):
                deltas.add(held.tally, tally_of(held, COUNTING))
                written.append(counted(held))
        return changes(written, rollups=deltas.rows(), **more)

    store.transact(folding)


def an_item(stream: str, address: str, counted: tuple[int, str] | None = None) -> Suppression:
    """Return an item of an address, or of a whole domain."""
    reason = "manual" if counted is None else counted[1]
    return Suppression(stream, address, (Cause(5, "c", reason, 5),), counted=counted)


def everything(store: Store, wanted: RecordFilter, limit: int = 3) -> list[Record]:
    """Return all records of a filter, page by page."""
    found: list[Record] = []
    cursor = None
    while True:
        page = store.messages(wanted, limit, cursor, NOW)
        found += page.records
        cursor = page.cursor
        if cursor is None:
            return found


def totals_of(store: Store, stream: str, campaign: str) -> Rollups:
    """Return a campaign's totals."""
    return {row.key: list(row.counts) for row in store.campaign_totals(stream, campaign)}


BOTH = RecordFilter(streams=("outreach", "finance"))
