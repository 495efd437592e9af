"""What `sesight serve` says and how it ends; its answers are tested in tests/api and tests/server."""

import json
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import Sesight, Start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_addresses_come_first(start: Start, number: int) -> None:
    """The first line names the address, the second that of intake; a signal ends it with 0."""
    server = start("serve", "--port", 0, "--intake", "127.0.0.1:0")
    address = server.until(r"^Sesight listens on (http://127\.0\.0\.1:\d+)$")
    intake = server.until(r"^Events are taken in on (http://127\.0\.0\.1:\d+)/api/ses/events$")
    for url in (f"{address}/api/health", f"{intake}/health"):
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.status == 200
    ended = server.stop(number)
    assert (ended.code, ended.err, len(ended.out.splitlines())) == (0, "", 2)


def test_json_lines(start: Start) -> None:
    """With --json the addresses are a JSON line."""
    server = start("serve", "--port", 0, "--json")
    line = json.loads(server.until(r"^({.*})$"))
    assert server.stop().code == 0
    assert line.keys() == {"listening", "intake"}
    assert line["intake"] is None


def test_busy_port(sesight: Sesight, tmp_path: Path) -> None:
    """A port that another program has is a sentence, no trace, and no store is made."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        ended = sesight("serve", "--port", port)
        both = sesight("serve", "--port", 0, "--intake", f"127.0.0.1:{port}")
    for each in (ended, both):
        assert (each.code, each.out, each.err.count("\n")) == (1, b"", 1)
        assert each.err.startswith(f"Cannot listen on 127.0.0.1:{port}: Address already in use")
    assert list(tmp_path.iterdir()) == []


def test_no_place(sesight: Sesight) -> None:
    """What is no HOST:PORT is misuse."""
    ended = sesight("serve", "--port", 0, "--intake", "nowhere")
    assert (ended.code, "'nowhere' is no HOST:PORT" in ended.err) == (2, True)
