"""Event lines: nobody waits for those who read them, and what is not written is counted."""

import os
import threading
from collections.abc import Iterator

import pytest

from sesight.cli.event_log_writer import EventLogWriter

LINE = b'{"message":"SES_EVENT_PROCESSED"}\n'


class Dropped:
    """Hears of lines that are lost; any thread may tell."""

    def __init__(self) -> None:
        self.n = 0
        self._changed = threading.Condition()

    def __call__(self, n: int) -> None:
        with self._changed:
            self.n += n
            self._changed.notify_all()

    def reaches(self, n: int) -> bool:
        """Wait until so many are lost; no longer than a minute."""
        with self._changed:
            return self._changed.wait_for(lambda: self.n >= n, 60)


class Pipe:
    """A pipe of which either end can be closed early."""

    def __init__(self) -> None:
        output, end = os.pipe()
        self.output = os.fdopen(output, "rb", buffering=0)
        self.end = os.fdopen(end, "wb", buffering=0)

    def rest(self) -> bytes:
        """Close the end that is written to and read what is left."""
        self.end.close()
        return self.output.read()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed at the end."""
    made = Pipe()
    yield made
    made.end.close()
    made.output.close()


@pytest.fixture
def dropped() -> Dropped:
    """Who hears of lost lines."""
    return Dropped()


def begun(pipe: Pipe, dropped: Dropped, **more: int) -> EventLogWriter:
    """Return lines into a pipe, started."""
    lines = EventLogWriter(pipe.end.fileno(), **more)
    lines.start(dropped)
    return lines


def test_all_lines_in_order(pipe: Pipe, dropped: Dropped) -> None:
    """What is read is what was given, in its order, all of it by the end."""
    lines = begun(pipe, dropped)
    given = [b"%d\n" % number for number in range(2_000)]
    for each in given:
        lines(each)
    lines.stop()
    assert (pipe.rest(), dropped.n) == (b"".join(given), 0)


def test_stalled_reader(pipe: Pipe, dropped: Dropped) -> None:
    """Whoever gives lines is never held up; beyond the bound they are dropped and counted, and when
    the reader goes on so do the lines.
    """
    lines = begun(pipe, dropped, queue_bytes=10 * len(LINE))
    given = 4_000  # twice what a pipe holds
    for _ in range(given):
        lines(LINE)
    assert dropped.n > 0
    read = b""
    while read.count(LINE) + dropped.n < given:
        read += os.read(pipe.output.fileno(), 1 << 20)
    lines(b"again\n")
    lines.stop()
    assert (read + pipe.rest()).replace(LINE, b"") == b"again\n"


def test_nobody_reads(pipe: Pipe, dropped: Dropped) -> None:
    """The end does not wait for a reader that does not come."""
    lines = begun(pipe, dropped)
    lines(LINE * 4_000)
    lines.stop()
    read = b""
    while read.count(LINE) < 4_000:
        read += os.read(pipe.output.fileno(), 1 << 20)


def test_failure_is_not_the_end(
    pipe: Pipe, dropped: Dropped, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lines that meet an error are counted and reported once; later ones are written again."""
    pipe.output.close()
    lines = begun(pipe, dropped)
    lines(LINE * 3)
    assert dropped.reaches(3)
    lines(LINE * 2)
    assert dropped.reaches(5)
    other = Pipe()
    os.dup2(other.end.fileno(), pipe.end.fileno())
    lines(LINE)
    lines.stop()
    pipe.end.close()
    assert (other.rest(), dropped.n) == (LINE, 5)
    other.output.close()
    assert capfd.readouterr().err == (
        "Event lines cannot be written (Broken pipe). Events are still processed.\n"
    )


def test_cut_line(pipe: Pipe, dropped: Dropped) -> None:
    """After a line of which only a part was written the next begins on a line of its own."""
    os.set_blocking(pipe.end.fileno(), False)
    lines = begun(pipe, dropped)
    lines(LINE * 4_000)
    assert dropped.reaches(1)
    read = os.read(pipe.output.fileno(), 1 << 20)
    assert not read.endswith(b"\n")
    os.set_blocking(pipe.end.fileno(), True)
    lines(LINE)
    lines.stop()
    assert (pipe.rest(), dropped.n) == (b"\n" + LINE, 4_000 - read.count(b"\n"))
