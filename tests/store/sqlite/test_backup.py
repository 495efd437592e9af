"""A backup is a snapshot of one moment, however busy the store is."""

import os
from itertools import count
from pathlib import Path

from sesight.domain.ports import Changes
from sesight.domain.quarantine import Quarantined
from sesight.store import open_store
from sesight.store.sqlite.store import SqliteStore
from tests.store.contract import BOTH, NOW, everything, put, record


def test_backup(store: SqliteStore, tmp_path: Path) -> None:
    """A backup is a complete store, and reports its progress."""
    many = [record(NOW - n, n) for n in range(300)]
    put(store, *many)
    told = []
    store.backup(tmp_path / "copy.db", lambda left, of: told.append((left, of)))
    copy = open_store(f"sqlite:///{tmp_path / 'copy.db'}", clock=lambda: NOW)
    assert (everything(copy, BOTH, 500), told[-1][0]) == (many, 0)
    copy.close()


_ids = count()


def _fill(store: SqliteStore, bodies: int) -> None:
    """Store incompressible bodies of 400 KB."""
    held = [
        Quarantined(f"{next(_ids)}", "not-json", "", os.urandom(400_000), 1) for _ in range(bodies)
    ]
    store.transact(lambda _: Changes({}, {}, {}, {}, held, []))


def test_backup_while_another_process_writes(tmp_path: Path) -> None:
    """Commits between the steps of a backup neither restart it nor get into it."""
    url = f"sqlite:///{tmp_path}/sesight.db"
    store, other = open_store(url), open_store(url)
    _fill(store, 60)
    left_of = []

    def writes_meanwhile(left: int, of: int) -> None:
        left_of.append((left, of))
        assert len(left_of) < 20
        _fill(other, 1)

    store.backup(tmp_path / "copy.db", writes_meanwhile)
    copy = open_store(f"sqlite:///{tmp_path}/copy.db")
    counted = (copy.check_integrity(), copy.quarantine_counts(), store.quarantine_counts())
    for each in (store, other, copy):
        each.close()
    assert len(left_of) > 2
    assert left_of[-1][0] == 0
    assert counted == ([], {"not-json": 60}, {"not-json": 60 + len(left_of)})
