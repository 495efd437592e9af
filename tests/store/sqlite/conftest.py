"""Fixtures of the SQLite store's tests: stores that the contract is bound to."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sesight.domain.ports import Store
from sesight.store import open_store
from sesight.store.sqlite.store import SqliteStore
from tests.store import contract
from tests.store.contract import NOW, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the store's file."""
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
    """Return an empty store at each call."""
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
