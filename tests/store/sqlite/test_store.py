"""The SQLite store: the contract, and what SQLite alone can get wrong."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sesight.domain.errors import SettingsError, StoreDamaged, StoreTooNew, StoreUnavailable
from sesight.domain.event import Delivery, Identity, Send
from sesight.domain.ports import RecordFilter, Store, SweepResult
from sesight.domain.rollup import RollupKey
from sesight.domain.sending import Pause, Resumption
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY
from sesight.store import open_store
from sesight.store.sqlite.connection import APPLICATION_ID, MIGRATIONS, VERSION, migrate
from sesight.store.sqlite.store import SqliteStore
from tests.store import contract, contract_pages, contract_retention, contract_sending
from tests.store.contract import BOTH, NOW, everything, put, record, ses_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store's file is."""
    return tmp_path / "sesight.db"


@pytest.fixture
def reopen(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    """Open the same file, with the clock at NOW; all of them are closed at the end."""
    with ExitStack() as opened:
        yield lambda **more: opened.enter_context(
            closing(open_store(f"sqlite:///{path}", **{"clock": lambda: NOW, **more}))
        )


@pytest.fixture
def store(reopen: Callable[..., SqliteStore]) -> Iterator[SqliteStore]:
    """A new store."""
    opened = reopen()
    yield opened
    opened.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Give an empty store again and again."""
    opened = open_store(f"sqlite:///{tmp_path / 'fresh.db'}", retention_days=0, durability="off")

    def empty() -> Store:
        with sqlite3.connect(tmp_path / "fresh.db") as connection:
            for table in ("record", "attention"):
                connection.execute(f"DELETE FROM {table}")
        connection.close()
        return opened

    yield empty
    opened.close()


@pytest.fixture
def away() -> Callable[[Store], None]:
    """Close a store's file under it."""
    return lambda store: store.close()


@pytest.fixture
def count() -> contract.Count:
    """Add increments in a commit."""
    return lambda store, rollups: put(store, rollups=rollups)


class TestRecords(contract.Records):
    """Bound."""


class TestCommits(contract.Commits):
    """Bound."""


class TestPages(contract_pages.Pages):
    """Bound."""


class TestExpiry(contract.Expiry):
    """Bound."""


class TestSettings(contract_retention.Settings):
    """Bound."""


class TestClocks(contract_retention.Clocks):
    """Bound."""


class TestBackfills(contract_retention.Backfills):
    """Bound."""


class TestTotals(contract.Totals):
    """Bound."""


class TestLists(contract.Lists):
    """Bound."""


class TestBatches(contract_sending.Batches):
    """Bound."""


class TestClaims(contract_sending.Claims):
    """Bound."""


class TestResults(contract_sending.Results):
    """Bound."""


class TestPauses(contract_sending.Pauses):
    """Bound."""


class TestKeeping(contract_sending.Keeping):
    """Bound."""


def rows(path: Path, sql: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("url", ["sqlite://x.db", "sqlite:///", "postgres:///x", "x.db", ""])
def test_unknown_url(url: str) -> None:
    """A URL of no known form is refused with the form there is."""
    with pytest.raises(SettingsError, match="sqlite:///PATH"):
        open_store(url)


def test_no_folder(tmp_path: Path) -> None:
    """A store in a folder that does not exist is refused by name, not by SQLite's riddle."""
    with pytest.raises(SettingsError, match="no folder"):
        open_store(f"sqlite:///{tmp_path}/missing/x.db")


def test_foreign_file(tmp_path: Path) -> None:
    """Another program's database, and a file that is none, are refused and left as they were."""
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
    """A file of a later version is refused with what to do."""
    reopen().close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreTooNew, match="Upgrade Sesight"):
        reopen()


def test_older_file(path: Path, reopen: Callable[..., SqliteStore], tmp_path: Path) -> None:
    """An older file is led to the new version step by step; a step that fails leaves it whole."""
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
    """A file of version 1, which kept only campaigns' whole totals, opens with all of them."""
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
    """Take a file back to version 5."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE backfill")
        connection.execute("PRAGMA user_version = 5")
    connection.close()


def without_numbers(path: Path) -> None:
    """Take a file back to version 4."""
    without_backfills(path)
    with sqlite3.connect(path) as connection:
        for table, column in (("intent", "number"), ("intent", "content"), ("pause", "counts")):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 4")
    connection.close()


def without_reasons(path: Path) -> None:
    """Take a file back to version 3."""
    without_numbers(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX suppression_reason")
        connection.execute("PRAGMA user_version = 3")
    connection.close()


def without_sending(path: Path) -> None:
    """Take a file back to version 2."""
    without_reasons(path)
    with sqlite3.connect(path) as connection:
        for table in ("batch", "intent", "withheld", "pause"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def test_version_2(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file of version 2, which sent nothing, opens with its records, and then logs what is sent."""
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
    intent = contract_sending.intent_of("a@example.org")
    assert store.sending.claim([intent], contract_sending.blocks) == [intent]
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
    """A file of version 4 opens with what was sent and with how its streams were paused and resumed."""
    store = reopen()
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    new = rows(path, schema)
    intents = [contract_sending.intent_of(f"{name}@example.org") for name in "abc"]
    store.sending.claim(intents, contract_sending.blocks)
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
    """A file of version 5 opens, with the clock known by when it took in its newest event."""
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
    """There is a migration for every version after the first, so no file is left behind."""
    reopen().close()
    assert rows(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert sorted(int(step.name[:4]) for step in MIGRATIONS.glob("*.sql")) == list(
        range(2, VERSION + 1)
    )


def test_counters_are_columns(path: Path, store: SqliteStore) -> None:
    """The rollup table has exactly the counters of the domain, in their order."""
    columns = [name for (name,) in rows(path, "SELECT name FROM pragma_table_info('rollup')")]
    assert columns[5:] == list(COUNTERS)


def test_locked(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """While another process writes the store is unavailable, not broken; reads go on."""
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


def test_full(path: Path, store: SqliteStore) -> None:
    """On a full disk a batch is refused whole, and once there is room the same batch goes in."""
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
    """Numbers given out in a batch that failed are not remembered for what comes after it."""

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


def test_other_writer(reopen: Callable[..., SqliteStore]) -> None:
    """Two stores on one file see each other's records, also after one has swept shared values."""
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
    """Reads in other threads see the last commit while a batch is being decided."""
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
    """Quiet moments copy the WAL into the file, so it is written again from its beginning."""
    store = reopen(durability="off")
    sizes = []
    for batch in range(12):
        put(store, *[record(NOW - n, n) for n in range(batch * 500, batch * 500 + 500)])
        store.do_idle_work()
        sizes.append(path.with_name(f"{path.name}-wal").stat().st_size)
    assert sizes[-1] < 3 * max(sizes[0], sizes[1])
    store.close()
    assert not path.with_name(f"{path.name}-wal").exists()


def test_backup(store: SqliteStore, tmp_path: Path) -> None:
    """A backup is a whole store, and its progress is told."""
    many = [record(NOW - n, n) for n in range(300)]
    put(store, *many)
    told = []
    store.backup(tmp_path / "copy.db", lambda left, of: told.append((left, of)))
    copy = open_store(f"sqlite:///{tmp_path / 'copy.db'}", clock=lambda: NOW)
    assert (everything(copy, BOTH, 500), told[-1][0]) == (many, 0)
    copy.close()


def test_closed(store: SqliteStore) -> None:
    """A closed store says so instead of failing oddly."""
    store.close()
    with pytest.raises(StoreUnavailable):
        store.newest_at()
    with pytest.raises(StoreUnavailable):
        put(store)


def test_displaced(store: SqliteStore) -> None:
    """A send time no id can say, or a millisecond with no place left, loses nothing."""
    far = 253_402_300_799_999
    odd = [
        record(far, n, message_id=f"m{n}", timeline=(Send(far), Delivery(far + n))) for n in (1, 2)
    ]
    put(store, *odd)
    assert set(everything(store, BOTH)) == set(odd)


def test_full_millisecond(path: Path, store: SqliteStore) -> None:
    """When a millisecond has no place left a record gets one in the next, and keeps its time."""
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
    """The 64th stream is refused in words; the others go on."""
    put(store, *[record(NOW - n, n, stream=f"s{n}") for n in range(63)])
    with pytest.raises(SettingsError, match="63 streams"):
        put(store, record(NOW - 1, 99, stream="one-more"))
    assert len(everything(store, RecordFilter(streams=tuple(f"s{n}" for n in range(63))), 99)) == 63


def test_sync(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A store opened to be quicker than each commit's durability makes all of them durable at once:
    its next commit is a full one.
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


def broken(path: Path) -> None:
    """Overwrite all of a store's file but its header and schema."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(16_384)
        file.write(b"\xa5" * (size - 16_384))


def test_damaged(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A file that holds what it must not is called damaged, by its name and with the way out, whether it
    is read, written or looked through.
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


def test_a_value_that_is_missing(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """A record whose shared values are gone is damage, no mistake of the asker's."""
    store = reopen()
    put(store, record(NOW - 1, 1))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM string")
    connection.close()
    with pytest.raises(StoreDamaged, match="shared value"):
        everything(reopen(), BOTH)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA query_only = ON", "cannot be written to: let this user write"),
        ("PRAGMA max_page_count = 1", "is full: make room"),
    ],
)
def test_what_sqlite_says(path: Path, reopen: Callable, statement: str, said: str) -> None:
    """A file that cannot be written to and a full disk are named with what to do."""
    store = reopen()
    store._pool.writer().connection.execute(statement)  # noqa: SLF001
    with pytest.raises(StoreUnavailable) as raised:
        put(store, *[record(NOW - n, n) for n in range(500)])
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_another_writes(path: Path, reopen: Callable[..., SqliteStore]) -> None:
    """Who waited in vain for another process is told which store it is, and what to set."""
    store = reopen(busy_timeout_ms=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"/sesight\.db and did not end .*busy_timeout_ms"):
        put(store, record(NOW - 1, 1))
    other.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The error for a store that cannot be created, or is a folder, says what to do."""
    with pytest.raises(SettingsError, match=r"The store /sys/x\.db cannot be made: .*--store"):
        open_store("sqlite:////sys/x.db")
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: .*--store"):
        open_store(f"sqlite:///{tmp_path}")
