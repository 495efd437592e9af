"""Connections to one file at the same time."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sesight.domain.errors import StoreUnavailable
from sesight.domain.event import Identity
from sesight.domain.timestamps import DAY
from sesight.store.sqlite.store import SqliteStore
from tests.store import contract
from tests.store.contract import BOTH, NOW, everything, put, record, ses_id


def test_locked(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """While another process writes, the store is unavailable for writes, not damaged; reads
    continue.
    """
    store = reopen(busy_timeout_ms=0)
    put(store, record(NOW - 1, 1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        put(store, record(NOW - 2, 2))
    assert everything(store, BOTH) == [record(NOW - 1, 1)]
    other.execute("ROLLBACK")
    put(store, record(NOW - 2, 2))
    assert everything(store, BOTH) == [record(NOW - 1, 1), record(NOW - 2, 2)]
    other.close()
    store.close()


def test_other_writer(reopen: Callable[..., SqliteStore]) -> None:
    """Two stores on one file see each other's records, even after one has swept shared values."""
    one, two = reopen(), reopen()
    old = NOW - 91 * DAY
    identity = Identity(old, "same@example.org", "Same subject")
    put(one, record(old, 1, identity=identity))
    put(two, record(old, 2, identity=identity))
    assert one.sweep(NOW, 99).records == 2
    late = Identity(NOW - 20 * DAY, "same@example.org", "Same subject")
    put(two, record(NOW - 20 * DAY, 3, identity=identity))
    put(two, record(NOW - 20 * DAY, 4, identity=late))
    assert one.message(ses_id(NOW - 20 * DAY, 4), NOW)[0].identity == late
    (swept_day,) = {held.identity for held in one.records_of_day("outreach", old // DAY)}
    assert swept_day == identity
    one.close()
    two.close()


def test_readers_do_not_wait(store: SqliteStore) -> None:
    """Other threads read the last commit while a batch is being decided."""
    put(store, record(NOW - 1, 1))
    seen = []

    def fold(_: object) -> contract.Changes:
        reader = threading.Thread(target=lambda: seen.append(everything(store, BOTH)))
        reader.start()
        reader.join(timeout=20)
        return contract.changes([record(NOW - 2, 2)])

    store.transact(fold)
    assert seen == [[record(NOW - 1, 1)]]


def test_wal_stays_small(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """Idle work copies the WAL into the file, so that it is written from its beginning again."""
    store = reopen(durability="off")
    sizes = []
    for batch in range(12):
        put(store, *[record(NOW - n, n) for n in range(batch * 500, batch * 500 + 500)])
        store.do_idle_work()
        sizes.append(path.with_name(f"{path.name}-wal").stat().st_size)
    assert sizes[-1] < 3 * max(sizes[0], sizes[1])
    store.close()
    assert not path.with_name(f"{path.name}-wal").exists()


def test_closed(store: SqliteStore) -> None:
    """A closed store raises an error that says so."""
    store.close()
    with pytest.raises(StoreUnavailable):
        store.newest_at()
    with pytest.raises(StoreUnavailable):
        put(store)


def test_sync(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """`sync` of a store with durability `normal` makes all commits durable: it makes one commit
    with full durability.
    """
    store = reopen(durability="normal")
    put(store, record(NOW, 1))
    said: list[str] = []
    writer = store._pool.writer().connection  # noqa: SLF001 - what it is told is the only thing to see
    writer.set_trace_callback(said.append)
    store.sync()
    writer.set_trace_callback(None)
    first, begin, *changes, commit, last = said
    assert (first, last) == ("PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL")
    assert begin.startswith("BEGIN")
    assert any(change.startswith("INSERT") for change in changes)
    assert commit == "COMMIT"
