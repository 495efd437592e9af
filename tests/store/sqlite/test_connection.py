"""The SQLite file: opening, migrating, errors."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sesight.domain.errors import SettingsError, StoreDamaged, StoreTooNew, StoreUnavailable
from sesight.domain.ports import SweepResult
from sesight.domain.rollup import RollupKey
from sesight.domain.sending import Pause, Resumption
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY
from sesight.store import open_store
from sesight.store.sqlite.connection import APPLICATION_ID, MIGRATIONS, VERSION, migrate
from sesight.store.sqlite.store import SqliteStore
from tests.store import contract, contract_send_log
from tests.store.contract import BOTH, NOW, everything, put, record, ses_id


def rows(path: Path, sql: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_no_folder(tmp_path: Path) -> None:
    """A store in a folder that does not exist is refused with the folder's name."""
    with pytest.raises(SettingsError, match="no folder"):
        open_store(f"sqlite:///{tmp_path}/missing/x.db")


def test_foreign_file(tmp_path: Path) -> None:
    """Another program's database, and a file that is not a database, are refused and left
    unchanged.
    """
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    text = tmp_path / "text.db"
    text.write_text("not a database at all, but long enough to have a header " * 50)
    for path in (other, text):
        before = path.read_bytes()
        with pytest.raises(SettingsError):
            open_store(f"sqlite:///{path}")
        assert path.read_bytes() == before


def test_newer_file(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of a later version is refused, and the error says what to do."""
    reopen().close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreTooNew, match="Upgrade Sesight"):
        reopen()


def test_older_file(path: Path, reopen: Callable[..., SqliteStore], tmp_path: Path) -> None:
    """An older file is migrated step by step; a step that fails leaves it intact."""
    reopen().close()
    steps = tmp_path / "steps"
    steps.mkdir()
    (steps / f"{VERSION + 1:04d}-one.sql").write_text("CREATE TABLE one (x);\n-- done\n")
    (steps / f"{VERSION + 2:04d}-two.sql").write_text(
        "CREATE TABLE two (x);\nCREATE TABLE one (x);"
    )
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, steps, VERSION + 2)
    connection.close()
    assert rows(path, "PRAGMA user_version") == [(VERSION + 1,)]
    assert rows(path, "SELECT name FROM sqlite_master WHERE name IN ('one', 'two')") == [("one",)]


def test_version_1(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of version 1, which had only campaigns' overall totals, opens with all of them."""
    n = len(COUNTERS)
    keys = [
        RollupKey("day", stream, campaign, bucket, *of)
        for stream, campaign in (("outreach", ""), ("outreach", "c"), ("finance", "c"))
        for bucket in (3, 4)
        for of in (("", ""), ("mailbox", "gmail"), ("tag:x", "1"))
    ]
    store = reopen()
    put(store, rollups={key: [number] * n for number, key in enumerate(keys)})
    before = [store.campaign_totals(stream, "c") for stream in ("outreach", "finance")]
    store.close()
    without_sending(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM rollup WHERE family = 0 AND dimension <> ''")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = reopen()
    assert [store.campaign_totals(stream, "c") for stream in ("outreach", "finance")] == before
    assert [len(found) for found in before] == [3, 3]
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]
    store.close()


def without_backfills(path: Path) -> None:
    """Turn a file into one of version 5."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE backfill")
        connection.execute("PRAGMA user_version = 5")
    connection.close()


def without_numbers(path: Path) -> None:
    """Turn a file into one of version 4."""
    without_backfills(path)
    with sqlite3.connect(path) as connection:
        for table, column in (("intent", "number"), ("intent", "content"), ("pause", "counts")):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 4")
    connection.close()


def without_reasons(path: Path) -> None:
    """Turn a file into one of version 3."""
    without_numbers(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX suppression_reason")
        connection.execute("PRAGMA user_version = 3")
    connection.close()


def without_sending(path: Path) -> None:
    """Turn a file into one of version 2."""
    without_reasons(path)
    with sqlite3.connect(path) as connection:
        for table in ("batch", "intent", "withheld", "pause"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def test_version_2(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of version 2, which had no send log, opens with its records and then logs what is
    sent.
    """
    store = reopen()
    put(store, record(NOW - 1, 1))
    store.close()
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    new = rows(path, schema)
    without_sending(path)
    assert len(rows(path, schema)) < len(new)
    store = reopen()
    assert rows(path, schema) == new
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]
    assert everything(store, BOTH) == [record(NOW - 1, 1)]
    intent = contract_send_log.intent_of("a@example.org")
    assert store.sending.claim([intent], contract_send_log.blocks) == [intent]
    store.close()


def test_version_3(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of version 3 opens, and finds suppressed addresses by their reason."""
    item = contract.an_item("outreach", "a@example.org", (7, "manual"))
    store = reopen()
    put(store, suppressions={("outreach", item.address): item})
    store.close()
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    new = rows(path, schema)
    without_reasons(path)
    store = reopen()
    assert rows(path, schema) == new
    assert store.suppressions("outreach", 9, reason="manual").items == [item]
    store.close()


def test_version_4(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of version 4 opens with its send log, pauses and resumptions."""
    store = reopen()
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    new = rows(path, schema)
    intents = [contract_send_log.intent_of(f"{name}@example.org") for name in "abc"]
    store.sending.claim(intents, contract_send_log.blocks)
    pause = Pause(stream="finance", at=7, by="operator", detail="Wait.")
    store.sending.pause(pause)
    store.sending.resume(Resumption(stream="outreach", at=9))
    store.close()
    without_numbers(path)
    store = reopen()
    assert rows(path, schema) == new
    assert store.sending.intents("b", 9) == intents
    assert store.sending.pauses() == {"finance": pause}
    assert store.sending.resumption("outreach") == Resumption(stream="outreach", at=9)
    store.close()


def test_version_5(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of version 5 opens, and its newest intake time is the last time known to be right."""
    store = reopen()
    put(store, record(NOW - 1, 1), newest_at=NOW)
    store.close()
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    new = rows(path, schema)
    without_backfills(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'known_at'")
    connection.close()
    store = reopen(clock=lambda: NOW + 200 * DAY)
    assert rows(path, schema) == new
    assert store.sweep(NOW + 200 * DAY, 9) == SweepResult(0, 0, 0, 0, NOW // DAY - 90, doubted=True)
    store.close()


def test_both_roads(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """There is a migration for every version after the first."""
    reopen().close()
    assert rows(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert sorted(int(step.name[:4]) for step in MIGRATIONS.glob("*.sql")) == list(
        range(2, VERSION + 1)
    )


def test_counters_are_columns(path: Path, store: SqliteStore) -> None:
    """The rollup table has exactly the counters of the domain, in their order."""
    columns = [name for (name,) in rows(path, "SELECT name FROM pragma_table_info('rollup')")]
    assert columns[5:] == list(COUNTERS)


def broken(path: Path) -> None:
    """Overwrite all of a store's file but its header and schema."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(16_384)
        file.write(b"\xa5" * (size - 16_384))


def test_damaged(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file with invalid content is reported as damaged, with its name and the remedy, whether it
    is read, written or checked.
    """
    store = reopen()
    put(store, *[record(NOW - n, n) for n in range(500)])
    assert store.find_damage() is None
    store.close()
    broken(path)
    for ask in (
        lambda store: everything(store, BOTH),
        lambda store: put(store, record(NOW - 1, 1)),
        lambda store: store.message(ses_id(NOW - 7, 7), NOW),
    ):
        with pytest.raises(StoreDamaged, match=r"/sesight\.db is damaged \(.*sesight restore"):
            ask(reopen())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA query_only = ON", "cannot be written to: let this user write"),
        ("PRAGMA max_page_count = 1", "is full: make room"),
    ],
)
def test_what_sqlite_says(path: Path, reopen: Callable, statement: str, said: str) -> None:
    """The errors for a read-only file and a full disk name the file and say what to do."""
    store = reopen()
    store._pool.writer().connection.execute(statement)  # noqa: SLF001
    with pytest.raises(StoreUnavailable) as raised:
        put(store, *[record(NOW - n, n) for n in range(500)])
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_another_writes(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """The error after waiting for another process names the store and the setting."""
    store = reopen(busy_timeout_ms=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        StoreUnavailable, match=r"/sesight\.db for longer than store\.busy_timeout_ms"
    ):
        put(store, record(NOW - 1, 1))
    other.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The error for a store that cannot be created, or is a folder, says what to do."""
    with pytest.raises(SettingsError, match=r"The store /sys/x\.db cannot be made: .*--store"):
        open_store("sqlite:////sys/x.db")
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: .*--store"):
        open_store(f"sqlite:///{tmp_path}")
