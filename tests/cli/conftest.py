"""The command as people run it: a process of its own in an empty folder."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import pytest

from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.recording import write

COMMAND = Path(sys.executable).parent / "sesight"
PAYLOADS = Path(__file__).parent.parent / "payloads"
DEADLINE = 120
"""Seconds after which what is waited for will never come."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)

    @property
    def text(self) -> str:
        return self.out.decode()


Sesight = Callable[..., Ended]


def environment() -> dict[str, str]:
    """Return the environment without settings, and the width, of where the tests run."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("SESIGHT_") and name != "COLUMNS"
    }


@pytest.fixture
def sesight(tmp_path: Path) -> Sesight:
    """Run a command to its end; `stdin` is given to it."""

    def run(*arguments: object, stdin: bytes = b"", cwd: Path = tmp_path) -> Ended:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env=environment(),
            timeout=DEADLINE,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    return run


class Running:
    """A command that goes on: its lines as they come, and its end."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.process = process
        self._out = folder / "out"
        self._err = folder / "err"

    def _ended(self) -> Ended:
        return Ended(self.process.returncode, self._out.read_bytes(), self._err.read_text())

    def until(self, pattern: str) -> str:
        """Wait for a line that matches; return what the pattern's group holds."""

        def found() -> "re.Match[str] | None":
            alive = self.process.poll() is None
            lines = self._out.read_text().splitlines()
            matched = next((match for line in lines if (match := re.search(pattern, line))), None)
            assert matched or alive, f"no line matches {pattern!r}: {self._ended()}"
            return matched

        match = eventually(found)
        return match[1] if match.groups() else match[0]

    def said(self) -> str:
        """Return what it said on standard error so far, while it goes on."""
        assert self.process.poll() is None, self._ended()
        return self._err.read_text()

    def wait(self) -> Ended:
        """Wait for the end."""
        self.process.wait(timeout=DEADLINE)
        return self._ended()

    def stop(self, number: int = signal.SIGINT) -> Ended:
        """Send a signal to the whole group, as a terminal does; wait for the end."""
        os.killpg(self.process.pid, number)
        return self.wait()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start commands in sessions of their own; those still running at the end are killed.

    They write to files: a pipe that nobody reads would stop them. They hear Ctrl-C even where the
    tests were started in the background of a shell, which has its jobs ignore it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:

        def begin(*arguments: object, stdin: "int | IO[bytes]" = subprocess.DEVNULL) -> Running:
            folder = tmp_path_factory.mktemp("running")
            with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
                process = subprocess.Popen(
                    [COMMAND, *map(str, arguments)],
                    stdin=stdin,
                    stdout=out,
                    stderr=err,
                    cwd=tmp_path,
                    env=environment(),
                    start_new_session=True,
                )
            stack.callback(process.wait, DEADLINE)
            stack.callback(process.kill)
            return Running(process, folder)

        yield begin


def eventually(holds: Callable[[], Any]) -> Any:
    """Wait until something is true and return it."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError("what was waited for did not come")


class Traffic(NamedTuple):
    """Simulated events in a file, and their true totals."""

    file: Path
    truth: dict[str, Any]
    events: int

    @property
    def bodies(self) -> list[bytes]:
        return self.file.read_bytes().splitlines()


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """Return the events of 600 messages to a few campaigns over the last 20 days."""
    file = tmp_path_factory.mktemp("traffic") / "events.ndjson"
    plan = Plan(seed=11, messages=600, days=20, multi_recipient=0.02)
    written = write(plan, file)
    return Traffic(file, written.truth, written.events)
