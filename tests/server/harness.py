"""The real server as a process of its own, SNS as its client, and what its store came to hold."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sesight.domain.counting import Counting, tally_of
from sesight.domain.record import Record
from sesight.domain.rollup import Deltas, RollupKey
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import day_name
from sesight.ingest.reader import read
from sesight.ingest.transport.sns import TEST_ACCOUNT
from sesight.settings import Settings
from sesight.store import open_store
from sesight_simulator.sns import TOPIC_ARN, Signer
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import generate
from sesight_simulator.traffic.truth import Truth

EVENTS = "/api/ses/events"
PATIENCE = 60.0
"""Seconds until a test that waits for something gives up: never a measure of speed."""

COMMAND = """
import os, resource, sys
from sesight.cli.serve import run, stop_on_sigterm
from sesight.server import ServerLimits
from sesight.settings import load
{}
if __name__ == "__main__":
    stop_on_sigterm()
    run(load(sys.argv[3]), as_json=True, limits=ServerLimits(**{}))
"""


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait for a condition and return what it came to; fail after a long time."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain: {what}"
        time.sleep(0.01)
    return found


# -- SNS as a client ---------------------------------------------------------------------------------


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The answer's problem details; an empty dict where there are none."""
        return json.loads(self.body) if self.body else {}

    @property
    def reason(self) -> str:
        """Why a notification was refused."""
        return self.problem.get("reason", "")


class Line:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send one request and read its whole answer. Raises ConnectionError, IncompleteReadError."""
        async with asyncio.timeout(PATIENCE):
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.writer.write(request)
            return await self.answer()

    async def answer(self) -> Answer:
        """Read one answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(status.split()[1]), headers, body)

    def close(self) -> None:
        """Let go of the connection; the next request opens another."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def request(body: bytes = b"", path: str = EVENTS, method: str = "POST", **headers: str) -> bytes:
    """Return the bytes of a request; a header's underscores are dashes, `host` can be replaced."""
    named = {"host": "127.0.0.1", "content-length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def ask(port: int, asked: bytes) -> Answer:
    """Ask one question on a connection of its own."""

    async def once() -> Answer:
        line = Line(port)
        try:
            return await line.ask(asked)
        finally:
            line.close()

    return asyncio.run(once())


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes, by whatever means."""
    said = b""
    try:
        while data := connection.recv(65_536):
            said += data
    except ConnectionResetError:
        pass
    return said


def say(connection: socket.socket, data: bytes) -> bool:
    """Send; False if the other side is gone."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


@dataclass
class Posted:
    """What became of notifications: by their place in what was posted."""

    taken: set[int] = field(default_factory=set)
    refused: dict[int, Answer] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)

    @property
    def statuses(self) -> Counter[int]:
        """How many answers of each status there were."""
        return Counter({200: len(self.taken)}) + Counter(
            answer.status for answer in self.refused.values()
        )


async def posting(
    port: int,
    notifications: Iterable[bytes],
    connections: int = 8,
    told: Callable[[Posted], object] = lambda _: None,
) -> Posted:
    """Post each notification once; `told` hears of every answer. A connection that breaks is the
    end of its worker: what it has not sent is left to the others.
    """
    posted = Posted()
    waiting = iter(enumerate(notifications))

    async def work() -> None:
        line = Line(port)
        try:
            for at, notification in waiting:
                try:
                    answer = await line.ask(request(notification))
                except (OSError, asyncio.IncompleteReadError):
                    posted.unanswered.add(at)
                    return
                if answer.status == 200:
                    posted.taken.add(at)
                else:
                    posted.refused[at] = answer
                told(posted)
        finally:
            line.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return posted


def post(port: int, notifications: Iterable[bytes], connections: int = 8) -> Posted:
    """Post each notification once, from a test that is not asynchronous."""
    return asyncio.run(posting(port, notifications, connections))


# -- processes ---------------------------------------------------------------------------------------


def children(of: int, named: str) -> list[int]:
    """The processes that a process started, whose command line has a name in it."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True
    ).stdout
    found = [line.split(None, 2) for line in listed.splitlines()]
    return [int(pid) for pid, parent, *args in found if int(parent) == of and named in str(args)]


def alive(process: int) -> bool:
    """Whether a process runs: not one that ended and that nobody asked how."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], check=False, capture_output=True, text=True
    ).stdout
    return bool(state) and not state.startswith("Z")


# -- the server --------------------------------------------------------------------------------------


class Server:
    """`sesight serve` with a settings file and a store in a folder of its own."""

    def __init__(self, folder: Path, signer: Signer, settings: str = "", store: str = "") -> None:
        """Write the settings; `settings` are further lines of TOML from within [server] on,
        `store` further lines of [store].
        """
        self.folder = folder
        self.database = folder / "store" / "sesight.db"
        self.database.parent.mkdir(exist_ok=True)
        (folder / "pinned.pem").write_bytes(signer.certificate_pem)
        self.settings = folder / "sesight.toml"
        self.settings.write_text(
            f'[store]\nurl = "{self.url}"\n{store}\n'
            f'[[topics]]\narn = "{TOPIC_ARN}"\ncertificate_file = "pinned.pem"\n'
            f'[server]\nport = 0\nintake = "127.0.0.1:0"\n{settings}\n'
        )
        self.outputs: list[Path] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.port = self.public = self.writer = 0
        """Its listeners' ports, and the process that writes for it."""

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.database}"

    def start(self, before: str = "", limits: Mapping[str, float] | None = None) -> "Server":
        """Start it, after the Python statements `before` and with these `ServerLimits`; return once it has
        printed its addresses.
        """
        output = self.folder / f"output-{len(self.outputs)}"
        self.outputs.append(output)
        beside = Path(sys.executable).parent / "sesight"
        command = [str(beside)]
        if before or limits:
            command = [sys.executable, "-c", COMMAND.format(before, dict(limits or {}))]
        with output.open("wb") as out, (self.folder / "errors").open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, "serve", "--config", str(self.settings), "--json"],
                stdout=out,
                stderr=errors,
                env={name: value for name, value in os.environ.items() if "SESIGHT" not in name},
            )
        until(lambda: output.read_bytes() or self.process.poll() is not None, "its address")
        first = output.read_bytes().partition(b"\n")[0]
        assert first, self.errors
        where = json.loads(first)
        self.port, self.public = (
            int(where[name].rpartition(":")[2]) for name in ("listening", "intake")
        )
        (self.writer,) = until(lambda: children(self.process.pid, "spawn_main"), "its writer")
        return self

    @property
    def journal(self) -> list[dict[str, Any]]:
        """The lines of processed events, of all its lives: to be read when it has stopped."""
        return [
            json.loads(line)
            for output in self.outputs
            for line in output.read_bytes().splitlines()[1:]
        ]

    @property
    def errors(self) -> str:
        """What it wrote to standard error, of all its lives."""
        return (self.folder / "errors").read_text()

    @property
    def faults(self) -> str:
        """The same without the lines about refusals."""
        lines = self.errors.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("INTAKE_REFUSED "))

    def kill(self) -> None:
        """End it as the kernel would: at once, wherever it is. Its writer ends by itself, then."""
        self.process.kill()
        self.process.wait(PATIENCE)
        until(lambda: not alive(self.writer), "the end of its writer")

    def kill_writer(self) -> None:
        """End its writer as the kernel would; the server must see that and end."""
        os.kill(self.writer, signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> None:
        """Wait for its end; fail if it was no clean one."""
        assert self.process.wait(PATIENCE) == 0, self.errors

    def stop(self) -> None:
        """Stop it cleanly if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.terminate()
            self.ended()

    def get(self, path: str, **headers: str) -> Answer:
        """Ask the API."""
        return ask(self.port, request(b"", path, "GET", **headers))

    def post(self, notifications: Iterable[bytes], connections: int = 8) -> Posted:
        """Post notifications to the API's listener."""
        return post(self.port, notifications, connections)

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Every sample: (name, label values in order of their names …) to its value."""
        text = self.get("/api/metrics").body.decode()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def refusals(self) -> dict[tuple[str, int], int]:
        """Requests refused, by reason and status."""
        return {
            (key[1], int(key[2])): int(value)
            for key, value in self.metrics().items()
            if key[0] == "sesight_refusals_total"
        }

    def holds(self) -> "Held":
        """Read what the store holds now."""
        return Held.read(self.url)


@contextmanager
def running(
    folder: Path,
    signer: Signer,
    settings: str = "",
    store: str = "",
    before: str = "",
    **limits: float,
):
    """A server that runs for the length of a block and is left stopped, cleanly."""
    server = Server(folder, signer, settings, store)
    try:
        yield server.start(before, limits)
        server.stop()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


# -- what is in the store ----------------------------------------------------------------------------

COUNTING: Counting = Settings().counting_rules


@dataclass
class Held:
    """All that a store holds, read from its file."""

    records: dict[tuple[str, str], Record]
    days: dict[tuple[str, str, int], list[int]]
    """The day rows, by stream, campaign (none: the whole stream's) and day."""
    rollups: dict[RollupKey, list[int]]
    quarantined: dict[str, int]

    @classmethod
    def read(cls, url: str) -> "Held":
        """Read everything through the store's own port."""
        store = open_store(url)
        try:
            records: dict[tuple[str, str], Record] = {}
            now = time.time_ns() // 1_000_000
            for stream in COUNTING.streams:
                for day in store.held_days(stream, now):
                    for record in store.records_of_day(stream, day):
                        key = record.message_id, record.recipient
                        assert key not in records, f"{key} is in the store twice"
                        records[key] = record
            rollups: dict[RollupKey, list[int]] = {}
            for stream in COUNTING.streams:
                campaigns = ["", *(card.campaign for card, _ in store.cards([stream]))]
                for family in ("day", "hour", "age", "link", "month"):
                    for campaign in campaigns:
                        for row in store.rollups(family, stream, campaign):
                            rollups[row.key] = list(row.counts)
            days = {
                (key.stream, key.campaign, key.bucket): counts
                for key, counts in rollups.items()
                if key.family == "day" and not key.dimension
            }
            return cls(records, days, _something(rollups), store.quarantine_counts())
        finally:
            store.close()

    def recounted(self) -> dict[RollupKey, list[int]]:
        """The totals that the records themselves come to, each tallied anew."""
        deltas = Deltas()
        for record in self.records.values():
            tally = tally_of(record, COUNTING)
            assert record.tally == tally
            deltas.add(None, tally)
        return _something(deltas.rows())

    def has(self, body: bytes) -> bool:
        """Whether an SES event is in the records of its message."""
        (reading,) = read(body, "test")
        event = reading.event
        for report in event.reports:
            record = self.records.get((event.message_id, report.recipient))
            if record is None or not any(
                type(held) is type(report.occurrence)
                and (held.at, held.key) == (report.occurrence.at, report.occurrence.key)
                for held in record.timeline
            ):
                return False
        return True

    @property
    def occurrences(self) -> int:
        """How many things happened, of all records."""
        return sum(len(record.timeline) for record in self.records.values())


def _something(rollups: dict[RollupKey, list[int]]) -> dict[RollupKey, list[int]]:
    """Leave out rows that say nothing."""
    return {key: list(counts) for key, counts in rollups.items() if any(counts)}


def as_truth(held: Held) -> dict[str, Any]:
    """The day rows in the shape of the simulation's document: totals that are not nothing."""
    found: dict[str, Any] = {}
    for (stream, campaign, day), counts in held.days.items():
        totals = {name: n for name, n in zip(COUNTERS, counts, strict=True) if n}
        if totals:
            found[f"{stream}/{campaign}/{day_name(day)}"] = totals
    return found


def true_days(document: dict[str, Any]) -> dict[str, Any]:
    """The simulation's totals by stream, campaign and day, without zeros."""
    found: dict[str, Any] = {}
    for stream, whole in document["streams"].items():
        for campaign, part in (("", whole), *whole["campaigns"].items()):
            for day, totals in part["days"].items():
                found[f"{stream}/{campaign}/{day}"] = {k: n for k, n in totals.items() if n}
    return found


# -- traffic -----------------------------------------------------------------------------------------


@dataclass
class Traffic:
    """Simulated events, their signed notifications and their true totals."""

    bodies: list[bytes]
    notifications: list[bytes]
    document: dict[str, Any]

    @classmethod
    def made(cls, signer: Signer, **plan: Any) -> "Traffic":
        """Simulate a plan: 20 days up to now, duplicates and disorder on."""
        plan = {"days": 20, "duplicates": 0.05, "disorder": 0.1, "account": TEST_ACCOUNT} | plan
        truth = Truth()
        bodies = [event.body for event in generate(Plan(**plan), truth)]
        return cls(bodies, list(signer.signed(bodies)), truth.document())
