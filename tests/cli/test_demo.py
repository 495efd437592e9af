"""The demo: a history, live events, a clean end, and a second start that goes on."""

import email
import json
import shlex
import signal
import socket
import stat
import urllib.request
from collections import Counter
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
    folder = tmp_path / ".sesight-demo"
    made = {path.relative_to(folder): path.stat().st_mode for path in folder.rglob("*")}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path: oct(mode) for path, mode in made.items() if mode & 0o077} == {}
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


def test_sending_in_the_demo(sesight: Sesight, start: Start, tmp_path: Path) -> None:
    """The commands that the demo prints send, and each event comes back signed:
    mail arrives, is opened, bounces. An unsubscribe link in a message kept as a file works, and
    still does after another start. When the demo has ended, nobody takes mail.
    """
    demo = start(*SMALL, "--rate", 0)
    url = demo.until(r"listens on (\S+)")
    folder = tmp_path / ".sesight-demo"
    demo.until("unsubscribe links")
    printed = demo.until(r"sesight (send outreach .*) \\$"), demo.until(r"^ +(--template .*)")
    command = shlex.split(" ".join(printed))
    statements = demo.until(r"sesight (send finance .*) \\$"), demo.until(r"^ +(--month .*)")
    paid = sesight(*shlex.split(" ".join(statements)), "--json").json
    assert paid["counts"] == {"sent": 2, "invalid": 1}
    done = sesight(*command, "--json")
    people = [each["recipient"] for each in done.json["results"]]
    assert (done.code, done.json["counts"]) == (0, {"sent": len(people)})
    assert stat.S_IMODE((folder / "sesight.toml").stat().st_mode) == 0o600

    def settled() -> Any:
        found = _get(url, "/messages?stream=outreach&campaign=hello")["data"]
        seen = Counter(each["lastEvent"] for each in found)
        return found if seen["Open"] and not seen["Accepted"] + seen["Send"] else None

    records = eventually(settled)
    assert {each["recipient"] for each in records} == set(people)
    assert {each["outcome"] for each in records} == {"delivered", "bounced", "soft_bounced"}
    assert {each["campaign"] for each in records} == {"hello"}
    link = _link(folder / "mail", people[0])
    assert link.startswith(f"{url}/api/unsubscribe/")
    assert demo.stop().code == 0
    again = start(*SMALL[:-1], url.rpartition(":")[2])
    assert again.until(r"listens on (\S+)") == url
    eventually(lambda: _get(url, "/health")["status"])
    urllib.request.urlopen(link, data=b"List-Unsubscribe=One-Click", timeout=30).close()
    once_more = ("--campaign", "hello again", "--json")
    results = sesight(*command, *once_more).json["results"]
    assert (results[0]["state"], results[0]["code"]) == ("suppressed", "unsubscribed")
    assert {each["state"] for each in results} == {"sent", "suppressed"}
    assert again.stop().code == 0
    nobody = sesight(*command, "--campaign", "too late")
    assert (nobody.code, "SES cannot be reached at http://127.0.0.1:" in nobody.err) == (1, True)


def _link(mail: Path, address: str) -> str:
    """Return the unsubscribe link of the message to an address that was kept as a file."""
    kept = (email.message_from_bytes(file.read_bytes()) for file in mail.iterdir())
    (found,) = (each for each in kept if each["To"] == address)
    return str(found["List-Unsubscribe"]).strip("<>")
