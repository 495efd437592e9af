"""What `sesight serve` says and how it ends; its answers are tested in tests/api and tests/server."""

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from sesight.domain.timestamps import DAY, day_name
from sesight.store import open_store
from sesight_simulator.traffic.plan import now_ms
from tests.builders import delivery, fill
from tests.cli.conftest import (
    COMMAND,
    DEADLINE,
    PAYLOADS,
    Ended,
    Sesight,
    Start,
    environment,
    eventually,
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_addresses_come_first(start: Start, number: int) -> None:
    """The first line names the address, the second that of intake; a signal ends it with 0."""
    server = start("serve", "--port", 0, "--intake", "127.0.0.1:0")
    address = server.until(
        r"^Sesight [\d.]+ listens on (http://127\.0\.0\.1:\d+) "
        r"\(store sqlite:////\S+/sesight\.db; streams outreach, finance; 0 topics\)$"
    )
    intake = server.until(r"^Events are received on (http://127\.0\.0\.1:\d+)/api/ses/events$")
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
    assert line.keys() == {"listening", "intake", "version", "store", "streams", "topics"}
    assert line["intake"] is None


def test_stalled_output(sesight: Sesight, tmp_path: Path) -> None:
    """Who starts to read event lines and stops holds up neither intake nor the end."""
    keys = tmp_path / "keys"
    posting = ("simulate", "--keys", keys, "--messages", 300, "--days", 5, "--post")
    assert sesight(*posting, "http://127.0.0.1:9/", "--messages", 0).code == 0
    (tmp_path / "sesight.toml").write_text(
        '[[topics]]\narn = "arn:aws:sns:eu-west-1:000000000000:ses-email-events"\n'
        'certificate_file = "keys/simulator.pem"\n'
    )
    with subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    ) as server:
        try:
            url = json.loads(server.stdout.readline())["listening"]
            posted = sesight(*posting, f"{url}/api/ses/events", "--json")
            with urllib.request.urlopen(f"{url}/api/metrics", timeout=30) as answer:
                metrics = answer.read().decode()
            server.terminate()
            assert server.wait(timeout=DEADLINE) == 0
            read = server.stdout.read()
        finally:
            server.kill()
    assert (posted.code, posted.json["refused"], posted.json["lost"]) == (0, 0, 0)
    assert "sesight_journal_lines_dropped_total 0.0" in metrics
    assert 0 < read.count(b"SES_EVENT_PROCESSED") < posted.json["accepted"]


def test_busy_port(sesight: Sesight, tmp_path: Path) -> None:
    """A port that another program has is a sentence, no trace, and no store is made."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        ended = sesight("serve", "--port", port)
        both = sesight("serve", "--port", 0, "--intake", f"127.0.0.1:{port}")
    for each in (ended, both):
        assert (each.code, each.out, each.err.count("\n")) == (1, b"", 1)
        assert each.err.startswith(
            f"Cannot listen on 127.0.0.1:{port}: another program listens there."
        )
    assert list(tmp_path.iterdir()) == []


OPEN = ("0.0.0.0", "", "0", "::", "192.0.2.7", "255.255.255.255")
"""Hosts that are not this machine alone; the empty one is every address."""


@pytest.mark.parametrize("host", OPEN)
def test_a_bind_that_others_reach(sesight: Sesight, tmp_path: Path, host: str) -> None:
    """Without access keys the API listens on this machine alone, by whatever way it is asked to do
    otherwise: code 1, one sentence that says what to do, and nothing is made.
    """
    settings = tmp_path / "sesight.toml"
    ends = [sesight(command, "--host", host, "--port", 0) for command in ("serve", "demo")]
    settings.write_text(f'[server]\nhost = "{host}"\nport = 0\n')
    ends.append(sesight("serve"))
    (line,) = [each for each in sesight("doctor", "--json").json if each["what"] == "listener"]
    settings.unlink()
    done = subprocess.run(
        [COMMAND, "serve", "--port", "0"],
        capture_output=True,
        cwd=tmp_path,
        env={**environment(), "SESIGHT_SERVER_HOST": host},
        timeout=DEADLINE,
        check=False,
    )
    ends.append(Ended(done.returncode, done.stdout, done.stderr.decode()))
    for each in ends:
        assert (each.code, each.out, each.err.count("\n")) == (1, b"", 1)
        assert each.err.startswith("The API does not listen on ")
        assert "--intake HOST:PORT" in each.err
    assert (line["ok"], line["said"] + "\n") == (False, ends[0].err)
    assert list(tmp_path.iterdir()) == []


def test_binds_of_this_machine(start: Start) -> None:
    """Other names and addresses of loopback do, IPv6's too, and the API answers under each; the public
    listener may be anywhere, for it knows only what proves itself.
    """
    for host in ("localhost", "127.0.0.2", "::1"):
        server = start("serve", "--host", host, "--port", 0, "--intake", "[::1]:0")
        address = server.until(r"^Sesight \S+ listens on (http://\S+) ")
        intake = server.until(r"^Events are received on (http://\[::1\]:\d+)/api/ses/events$")
        for url in (f"{address}/api/health", f"{intake}/health"):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.status == 200
        assert server.stop().code == 0


def test_no_place(sesight: Sesight) -> None:
    """What is no HOST:PORT is misuse."""
    ended = sesight("serve", "--port", 0, "--intake", "nowhere")
    assert (ended.code, "'nowhere' is not HOST:PORT" in ended.err) == (2, True)


def test_a_second_server(sesight: Sesight, start: Start, tmp_path: Path) -> None:
    """A store has one server; commands go on beside it; when it ends, however it does, another may."""
    url = f"sqlite:///{tmp_path}/sesight.db"
    (tmp_path / "link.db").symlink_to(tmp_path / "sesight.db")
    for number in (signal.SIGKILL, signal.SIGTERM):
        server = start("serve", "--port", 0, "--store", url)
        server.until(r"listens on (\S+)")
        for other in (url, "sqlite:///link.db"):
            second = sesight("serve", "--port", 0, "--store", other)
            assert (second.code, second.out, second.err.count("\n")) == (1, b"", 1)
            assert second.err.startswith("A server serves the store ")
            assert "--store" in second.err
        assert sesight("recount", "--store", url).code == 0
        assert sesight("replay", PAYLOADS / "send.json", "--store", url).code == 0
        assert sesight("doctor", "--store", url).err == ""
        server.stop(number)


def test_a_sweep_is_told(start: Start, tmp_path: Path) -> None:
    """What a sweep removes is a line on standard error and a metric."""
    store = open_store(f"sqlite:///{tmp_path}/sesight.db")
    fill(store, [delivery(message=f"m{n}", sent_at=now_ms() - 95 * DAY) for n in range(3)])
    store.close()
    server = start("serve", "--port", 0)
    address = server.until(r"listens on (\S+)")
    line = json.loads(eventually(server.said))
    with urllib.request.urlopen(f"{address}/api/metrics", timeout=30) as answer:
        metrics = answer.read().decode().splitlines()
    assert server.stop().code == 0
    assert line == {
        "message": "STORE_SWEPT",
        "records": 3,
        "intents": 0,
        "quarantined": 0,
        "hours": 1,
        "expiredTo": day_name(now_ms() // DAY - 90),
        "clockDoubted": False,
    }
    assert {
        'sesight_swept_total{what="records"} 3.0',
        "sesight_sweeps_total 1.0",
        "sesight_clock_doubted 0.0",
    } <= set(metrics)
