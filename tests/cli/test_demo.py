"""The demo: a history, live events, a clean end, and a second start that goes on."""

import json
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

from tests.cli.conftest import Running, Sesight, Start, eventually

SMALL = ("demo", "--messages", 300, "--rate", 20, "--port", 0)


def _get(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}/api{path}", timeout=30) as answer:
        return json.load(answer)


def _live(demo: Running) -> tuple[str, int]:
    """Return the address and how many live events were taken, once there are some."""
    url = demo.until(r"listens on (\S+)")

    def taken() -> int:
        return sum(_get(url, "/health/intake")["dispositions"].values())

    return url, eventually(taken)


def test_demo(sesight: Sesight, start: Start, tmp_path: Path) -> None:
    """It fills its store, shows campaigns, takes live events and stops cleanly; a second start keeps
    the history and goes on, and the totals are the sum of the records all the while.
    """
    demo = start(*SMALL)
    url, _ = _live(demo)
    refusals = _get(url, "/health/intake")["refusals"]
    second = sesight(*SMALL)
    simulated = _get(url, "/campaigns")["meta"]["simulated"]
    first = demo.stop()
    config = tmp_path / ".sesight-demo" / "sesight.toml"
    records = sesight("recount", "--config", config, "--json").json
    again = start(*SMALL)
    _live(again)
    ended = again.stop(signal.SIGTERM)
    more = sesight("recount", "--config", config, "--json").json
    assert (first.code, first.err, simulated, refusals) == (0, "", True, {})
    assert (second.code, second.err) == (
        1,
        "A demo runs in .sesight-demo already: stop it, or name another --folder.\n",
    )
    assert "of 300 messages taken in" in first.text
    assert "Campaign" in first.text
    assert (ended.code, ended.err) == (0, "")
    assert "messages taken in" not in ended.text
    assert records["differences"] == more["differences"] == []
    assert more["records"] > records["records"] > 300


def test_stopped_while_filling(start: Start, tmp_path: Path) -> None:
    """A first start that is stopped half way ends with a sentence; the next begins anew."""
    demo = start("demo", "--messages", 200_000, "--port", 0)
    store = tmp_path / ".sesight-demo" / "sesight.db"
    eventually(store.exists)
    stopped = demo.stop()
    again = start(*SMALL)
    again.until("of 300 messages taken in")
    _live(again)
    assert (stopped.code, stopped.err) == (
        1,
        "Stopped before the history was whole: the next start begins anew.\n",
    )
    assert again.stop().code == 0


def test_busy_port(start: Start) -> None:
    """When its port is taken the demo takes another and says so."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        demo = start("demo", "--messages", 50, "--port", port)
        url, _ = _live(demo)
        ended = demo.stop()
    assert ended.code == 0
    assert not url.endswith(f":{port}")
    assert f"The demo takes {url} instead." in ended.err
