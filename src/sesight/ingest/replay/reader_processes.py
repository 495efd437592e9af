"""The processes that read files for a replay: they open, understand and put in order, one commits.

Each reader goes through all the files and takes its share of the messages, so that readers need not
speak with each other. Their runs are taken in turn: while one hands over, the other reads on.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.ingest.reader import read
from sesight.ingest.reading import EventReading, Reading
from sesight.ingest.replay.external_sort import Entry, by_message
from sesight.ingest.transport.files import STANDARD_INPUT, Progress, bodies

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from sesight.ingest.transport.files import Source

ORIGIN = "file"
"""The origin of readings from files."""

BATCH = 12_288
"""Readings of one transaction: the price of a commit no longer shows, memory stays small."""

READERS = 2
"""Processes that read: together they keep one that commits busy, and more would need more memory."""


class Portion(Struct, array_like=True):
    """What a reader hands over: readings, how far it is, whether its run ends, and why it stopped."""

    readings: list[Reading]
    done: int = 0
    ends: bool = True
    failed: str | None = None


class _Sent(Struct, array_like=True):
    """A portion as it is written, its readings bytes already."""

    readings: list[msgspec.Raw]
    done: int
    ends: bool
    failed: str | None


class Task(Struct, frozen=True):
    """What to read, and how: the sources, the sets whose bodies can be let go, a stream named."""

    found: list[Source]
    known_sets: frozenset[str]
    stream: str | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Portion).decode
_decode_reading = msgspec.msgpack.Decoder(Reading).decode


def read_here(task: Task) -> Generator[Portion, None, None]:
    """Yield everything as it comes, read in this process."""
    progress = Progress()
    readings: list[Reading] = []
    failed = None
    try:
        for body in bodies(task.found, progress):
            readings += read(body, ORIGIN, known_sets=task.known_sets, stream=task.stream)
            if len(readings) >= BATCH:
                yield Portion(readings, progress.done)
                readings = []
    except SettingsError as error:
        failed = str(error)
    yield Portion(readings, progress.done, failed=failed)


def read_in_order(task: Task) -> Generator[Portion, None, None]:
    """Yield everything in order of messages, read in this process."""
    reading = _Share(task, 0, 1)
    for run in by_message(reading.entries()):
        reading.handed += len(run)
        for at in range(0, len(run), BATCH):
            readings = [_decode_reading(entry.data) for entry in run[at : at + BATCH]]
            yield Portion(readings, reading.done)
    yield Portion([], reading.done, failed=reading.failed)


class Readers:
    """Processes that read the sources of a task, each its share of the messages."""

    def __init__(self, task: Task) -> None:
        """Start them."""
        waits = any(source.path == STANDARD_INPUT for source in task.found)
        of = 1 if waits else READERS
        self._readers = [_Reader(task, share, of) for share in range(of)]

    def portions(self) -> Iterator[Portion]:
        """Yield everything, the readers' runs in turn.

        Raises SettingsError if a process ends early.
        """
        done = [0] * len(self._readers)
        left = list(enumerate(self._readers))
        while left:
            for at, reader in list(left):
                ends = False
                while not ends:
                    portion = reader.receive()
                    if portion is None:
                        left.remove((at, reader))
                        break
                    ends = portion.ends
                    done[at] = portion.done
                    portion.done = sum(done) // len(done)
                    yield portion

    def close(self) -> None:
        """End the processes; who waits for a portion gets none."""
        for reader in self._readers:
            reader.close()


class _Reader:
    """One reading process and the pipe it writes to."""

    def __init__(self, task: Task, share: int, of: int) -> None:
        context: Any = multiprocessing.get_context("spawn")
        self._from, to = context.Pipe(duplex=False)
        # a new process has no standard input of its own: it is given ours, as pipes are
        given = None
        if any(source.path == STANDARD_INPUT for source in task.found):
            given = multiprocessing.connection.Connection(
                os.dup(sys.stdin.fileno()), writable=False
            )
        self._process = context.Process(
            target=_hand_over,
            args=(to, given, task, share, of),
            name=f"reader-{share}",
            daemon=True,
        )
        start_apart(self._process)
        to.close()
        if given is not None:
            given.close()

    def receive(self) -> Portion | None:
        """Return the next portion, None when there are no more."""
        try:
            return _decode(self._from.recv_bytes())
        except EOFError:
            self._process.join()
            if self._process.exitcode:
                message = "A process that reads the files ended early; replay them again."
                raise SettingsError(message) from None
            return None

    def close(self) -> None:
        self._process.terminate()
        self._process.join()
        self._from.close()


def start_apart(process: BaseProcess, *more: signal.Signals) -> None:
    """Start a process that does not hear Ctrl-C, which reaches the whole group, nor `more` signals:
    the process that starts it decides what they mean.
    """
    # it unblocks signals whatever they were before, when it is started by the process's own start
    resource_tracker.ensure_running()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *more})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _hand_over(to: Connection, given: Connection | None, task: Task, share: int, of: int) -> None:
    if given is not None:
        os.dup2(given.fileno(), sys.stdin.fileno())
    os.nice(5)
    gc.disable()  # nothing made here is cyclic
    reading = _Share(task, share, of)
    try:
        for run in by_message(reading.entries()):
            reading.handed += len(run)
            for at in range(0, max(len(run), 1), BATCH):
                portion = [entry.data for entry in run[at : at + BATCH]]
                ends = at + BATCH >= len(run)
                to.send_bytes(_encode(_Sent(portion, reading.done, ends, None)))
        to.send_bytes(_encode(_Sent([], reading.done, True, reading.failed)))
    except BrokenPipeError:
        pass  # who committed is gone
    finally:
        to.close()


class _Share:
    """One reader's share of the files: the messages that fall to it."""

    def __init__(self, task: Task, share: int, of: int) -> None:
        self._task = task
        self._share = share
        self._of = of
        self._progress = Progress()
        self._taken = 0
        self.handed = 0
        self.failed: str | None = None

    @property
    def done(self) -> int:
        """Return how far it is, in bytes: half the way is to read an entry, half to hand it over."""
        part = self.handed / self._taken if self._taken else 1.0
        return int(self._progress.done * (1 + part) / 2)

    def entries(self) -> Iterator[Entry]:
        """Yield what is in the files; at one that cannot be read `failed` says why."""
        task, share, of = self._task, self._share, self._of
        try:
            for body in bodies(task.found, self._progress):
                if of > 1 and share_of(body, of) != share:
                    continue
                for each in read(body, ORIGIN, known_sets=task.known_sets, stream=task.stream):
                    self._taken += 1
                    key = each.event.message_id if type(each) is EventReading else ""
                    yield Entry(key, msgspec.Raw(_encode(each)))
        except SettingsError as error:
            self.failed = str(error)


_ID = b"messageId"
"""SES's, whatever it is wrapped in; SNS writes its own with a capital."""

_ID_SIZE = 48


def share_of(body: bytes, of: int) -> int:
    """Return which of so many readers a body falls to: the same for all that speak of one message.

    Where they are not written alike, two readers may have parts of one record, which costs time and
    nothing else.
    """
    at = body.find(_ID) + len(_ID)
    return crc32(body[at : at + _ID_SIZE]) % of
