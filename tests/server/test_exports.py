"""Files over HTTP: whole, or broken off so that no client can take them for whole."""

import csv
import http.client
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import IncompleteRead
from io import StringIO
from pathlib import Path

import pytest

from sesight.store import open_store
from sesight.store.clock import wall_clock
from tests.builders import complaint, fill
from tests.server.harness import PATIENCE, Server

ROWS = 10_400
"""Above the 10,000 at which files once ended without a word."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A store with so many records, each of a recipient who complained and is suppressed by that."""
    path = tmp_path_factory.mktemp("filled") / "sesight.db"
    store = open_store(f"sqlite:///{path}")
    now = wall_clock()
    for first in range(0, ROWS, 1_000):
        fill(
            store,
            [
                complaint(f"r{n:05}@example.org", message=f"m{n:05}", sent_at=now - n * 1_000)
                for n in range(first, min(first + 1_000, ROWS))
            ],
            now,
        )
    store.close()
    return path


@pytest.fixture
def serving(tmp_path, signer, filled) -> Iterator[Server]:
    """A running server over a copy of that store."""
    server = Server(tmp_path, signer)
    server.database.write_bytes(filled.read_bytes())
    server.start()
    yield server
    server.stop()


@contextmanager
def asked(server: Server, path: str) -> Iterator[http.client.HTTPResponse]:
    """Ask for a file, as a client that reads as slowly as it likes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with closing(connection):
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.request("GET", path)
        with connection.getresponse() as answer:
            yield answer


@pytest.mark.parametrize(
    ("path", "column", "expected"),
    [
        ("messages", "messageId", [f"m{n:05}" for n in range(ROWS)]),
        ("messages?event=Complaint", "messageId", [f"m{n:05}" for n in range(ROWS)]),
        ("outreach/tracking-data-ses", "messageId", [f"m{n:05}" for n in range(ROWS)]),
        ("suppressions", "email", [f"r{n:05}@example.org" for n in range(ROWS)]),
    ],
)
def test_every_row_is_in_the_file(serving, path, column, expected) -> None:
    """A file has every row of its list once, in order, and says nothing of a rest."""
    with asked(serving, f"/api/{path}{'&' if '?' in path else '?'}format=csv") as answer:
        rows = list(csv.DictReader(StringIO(answer.read().decode(), newline="")))
        assert answer.status == 200
        assert (answer.getheader("link"), answer.getheader("sesight-next-cursor")) == (None, None)
    assert [row[column] for row in rows] == expected


def test_a_failure_in_the_middle_breaks_the_file_off(serving) -> None:
    """When the store fails after the file has begun, the connection ends without the end of the body,
    one line of the log says so, and the server answers on.
    """
    with asked(serving, "/api/messages?format=csv") as answer:
        assert answer.read(1_000).startswith(b"messageId,")
        with serving.database.open("r+b") as file:  # what a failing disk does
            size = file.seek(0, 2)
            file.seek(size // 10)
            file.write(bytes(size - size // 10))
        with pytest.raises((IncompleteRead, ConnectionError)):
            answer.read()
    assert "API_EXPORT_CUT" in serving.errors
    assert "Traceback" not in serving.errors
    assert "example.org" not in serving.errors
    assert serving.get("/api/health").status == 200


def test_a_slow_reader_holds_up_nobody(serving) -> None:
    """While a file waits for its reader, no snapshot of the store is held: what is written meanwhile
    can be copied from the WAL into the file, whole.
    """
    with asked(serving, "/api/messages?format=csv") as answer:
        text = answer.read(1_000)
        store = open_store(serving.url)
        fill(store, [complaint("new@example.org", message="new", sent_at=wall_clock())])
        store.close()
        with closing(sqlite3.connect(serving.database)) as other:
            (busy, left, _) = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert (busy, left) == (0, 0)
        text += answer.read()
    assert text.count(b"\r\n") == ROWS + 1
