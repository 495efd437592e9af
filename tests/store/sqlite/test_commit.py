"""Commits in SQLite: the contract, and what this store alone can get wrong."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sesight.domain.errors import SettingsError, StoreDamaged, StoreUnavailable
from sesight.domain.event import Delivery, Identity, Send
from sesight.domain.ports import RecordFilter
from sesight.store.sqlite.store import SqliteStore
from tests.store import contract, contract_commit
from tests.store.contract import BOTH, NOW, everything, put, record, ses_id


class TestRecords(contract_commit.Records):
    """The contract."""


class TestCommits(contract_commit.Commits):
    """The contract."""


def test_full(path: Path, store: SqliteStore) -> None:
    """On a full disk a batch is refused as a whole, and is stored once there is room."""
    put(store, record(NOW - 1, 1))
    writer = store._pool.writer().connection  # noqa: SLF001 - the limit is the connection's own
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    many = [
        record(NOW - n, n, identity=Identity(NOW - n, f"s{n}@example.org"), spelling="x" * 99)
        for n in range(2, 400)
    ]
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="full"):
            put(store, *many)
    assert everything(store, BOTH) == [record(NOW - 1, 1)]
    writer.execute("PRAGMA max_page_count = 1000000")
    put(store, *many)
    assert everything(store, BOTH, 500) == [record(NOW - 1, 1), *many]
    assert store.check_integrity() == []


def test_rolled_back_numbers(store: SqliteStore) -> None:
    """Numbers given out in a batch that failed are not used for later batches."""

    def named(number: int, name: str) -> contract.Record:
        identity = Identity(NOW - number, f"{name}@example.org", tags=(("campaign_id", name),))
        return record(NOW - number, number, stream=name, identity=identity)

    with pytest.raises(AttributeError):
        put(store, named(1, "lost"), quarantined=[None], cards={})
    kept = [named(2, "other"), named(1, "lost")]
    put(store, kept[0])
    put(store, kept[1])
    found = everything(store, RecordFilter(streams=("lost", "other")))
    assert found == [kept[1], kept[0]]


def test_displaced(store: SqliteStore) -> None:
    """A send time that no id can hold, or a millisecond with no free id, loses nothing."""
    far = 253_402_300_799_999
    odd = [
        record(far, n, message_id=f"m{n}", timeline=(Send(far), Delivery(far + n))) for n in (1, 2)
    ]
    put(store, *odd)
    assert set(everything(store, BOTH)) == set(odd)


def test_full_millisecond(path: Path, store: SqliteStore) -> None:
    """When a millisecond has no free id, a record gets one in the next, and keeps its time."""
    at = NOW - 5
    put(store, record(at, 1))
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT OR IGNORE INTO record (id, message, campaign, body) "
            "WITH RECURSIVE tie (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM tie WHERE n < 32767) "
            "SELECT 1 << 57 | ? << 15 | n, 7, 1, x'' FROM tie",
            (at,),
        )
    connection.close()
    put(store, record(at, 2))
    later = record(at, 2, timeline=(Send(at), Delivery(at + 7)))
    put(store, later)
    assert store.message(ses_id(at, 2), NOW) == [later]


def test_many_streams(store: SqliteStore) -> None:
    """The 64th stream is refused with a clear error; the others continue."""
    put(store, *[record(NOW - n, n, stream=f"s{n}") for n in range(63)])
    with pytest.raises(SettingsError, match="63 streams"):
        put(store, record(NOW - 1, 99, stream="one-more"))
    assert len(everything(store, RecordFilter(streams=tuple(f"s{n}" for n in range(63))), 99)) == 63


def test_a_value_that_is_missing(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A record whose shared values are missing is reported as damage, not as a wrong request."""
    store = reopen()
    put(store, record(NOW - 1, 1))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM string")
    connection.close()
    with pytest.raises(StoreDamaged, match="shared value"):
        everything(reopen(), BOTH)
