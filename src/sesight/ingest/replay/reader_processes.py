"""Reader processes of a replay: they open envelopes, parse events and sort them; the parent commits.

Every reader goes through all files and keeps its share of the messages, so that readers share no state.
The parent takes their sorted runs in turn: while one reader sends its run, the other reads on.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import sys
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.ingest.child_process import start_child
from sesight.ingest.reader import read
from sesight.ingest.reading import EventReading, Reading
from sesight.ingest.replay.external_sort import SortEntry, by_message
from sesight.ingest.transport.files import STANDARD_INPUT, Progress, bodies

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from multiprocessing.connection import Connection

    from sesight.ingest.transport.files import InputFile

ORIGIN = "file"
"""The origin of readings from files."""

BATCH = 12_288
"""Readings of one transaction: enough that the cost of a commit is negligible, and little memory."""

READERS = 2
"""Reader processes. Two keep the committing process busy; more would only need more memory."""


class ReadChunk(Struct, array_like=True):
    """What a reader sends: readings, the bytes it has done, whether its sorted run ends with them, and
    the error if it had to stop.
    """

    readings: list[Reading]
    done: int = 0
    ends: bool = True
    failed: str | None = None


class _EncodedChunk(Struct, array_like=True):
    """A `ReadChunk` on the sending side, where the readings are already encoded."""

    readings: list[msgspec.Raw]
    done: int
    ends: bool
    failed: str | None


class Task(Struct, frozen=True):
    """What to read: the files, the configuration sets whose bodies are dropped (`Rules.known_sets`), and
    the stream that the operator named.
    """

    files: list[InputFile]
    known_sets: frozenset[str]
    stream: str | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ReadChunk).decode
_decode_reading = msgspec.msgpack.Decoder(Reading).decode


def read_here(task: Task) -> Generator[ReadChunk, None, None]:
    """Yield everything in the order of the files, read in this process."""
    progress = Progress()
    readings: list[Reading] = []
    failed = None
    try:
        for body in bodies(task.files, progress):
            readings += read(body, ORIGIN, known_sets=task.known_sets, stream=task.stream)
            if len(readings) >= BATCH:
                yield ReadChunk(readings, progress.done)
                readings = []
    except SettingsError as error:
        failed = str(error)
    yield ReadChunk(readings, progress.done, failed=failed)


def read_in_order(task: Task) -> Generator[ReadChunk, None, None]:
    """Yield everything sorted by message, read in this process."""
    share = _Share(task, 0, 1)
    for run in by_message(share.entries()):
        share.sent += len(run)
        for start in range(0, len(run), BATCH):
            readings = [_decode_reading(entry.data) for entry in run[start : start + BATCH]]
            yield ReadChunk(readings, share.done)
    yield ReadChunk([], share.done, failed=share.failed)


class ReaderProcesses:
    """Processes that read the files of a task, each its share of the messages."""

    def __init__(self, task: Task) -> None:
        """Start them; only one if standard input is read, which cannot be read twice."""
        count = 1 if _reads_standard_input(task) else READERS
        self._readers = [_ReaderProcess(task, share, count) for share in range(count)]

    def chunks(self) -> Iterator[ReadChunk]:
        """Yield everything, taking the readers' runs in turn.

        Raises SettingsError if a process fails.
        """
        done = [0] * len(self._readers)
        left = list(enumerate(self._readers))
        while left:
            for n, reader in list(left):
                ends = False
                while not ends:
                    chunk = reader.receive()
                    if chunk is None:
                        left.remove((n, reader))
                        break
                    ends = chunk.ends
                    done[n] = chunk.done
                    chunk.done = sum(done) // len(done)
                    yield chunk

    def close(self) -> None:
        """End the processes; a `receive` that waits for them returns None."""
        for reader in self._readers:
            reader.close()


class _ReaderProcess:
    """One reader process and the pipe that it writes to."""

    def __init__(self, task: Task, share: int, count: int) -> None:
        context: Any = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        # a spawned process has no standard input, so it gets a duplicate of ours
        stdin = None
        if _reads_standard_input(task):
            stdin = multiprocessing.connection.Connection(
                os.dup(sys.stdin.fileno()), writable=False
            )
        self._process = context.Process(
            target=_read_and_send,
            args=(theirs, stdin, task, share, count),
            name=f"reader-{share}",
            daemon=True,
        )
        start_child(self._process)
        theirs.close()
        if stdin is not None:
            stdin.close()

    def receive(self) -> ReadChunk | None:
        """Return the next chunk, None after the last one."""
        try:
            return _decode(self._connection.recv_bytes())
        except EOFError:
            self._process.join()
            if self._process.exitcode:
                message = "A process that reads the files ended early; replay them again."
                raise SettingsError(message) from None
            return None

    def close(self) -> None:
        self._process.terminate()
        self._process.join()
        self._connection.close()


def _reads_standard_input(task: Task) -> bool:
    return any(file.path == STANDARD_INPUT for file in task.files)


def _read_and_send(
    connection: Connection, stdin: Connection | None, task: Task, number: int, count: int
) -> None:
    """Be a reader process: send everything of one share, sorted by message."""
    if stdin is not None:
        os.dup2(stdin.fileno(), sys.stdin.fileno())
    os.nice(5)
    gc.disable()  # nothing made here is cyclic
    share = _Share(task, number, count)
    try:
        for run in by_message(share.entries()):
            share.sent += len(run)
            for start in range(0, max(len(run), 1), BATCH):
                readings = [entry.data for entry in run[start : start + BATCH]]
                ends = start + BATCH >= len(run)
                connection.send_bytes(_encode(_EncodedChunk(readings, share.done, ends, None)))
        connection.send_bytes(_encode(_EncodedChunk([], share.done, True, share.failed)))
    except BrokenPipeError:
        pass  # the parent is gone
    finally:
        connection.close()


class _Share:
    """One reader's share of the messages in the files."""

    def __init__(self, task: Task, number: int, count: int) -> None:
        self._task = task
        self._number = number
        self._count = count
        self._progress = Progress()
        self._read = 0
        self.sent = 0
        self.failed: str | None = None

    @property
    def done(self) -> int:
        """Return the bytes done. An entry that is read but not sent yet counts as half done."""
        sent = self.sent / self._read if self._read else 1.0
        return int(self._progress.done * (1 + sent) / 2)

    def entries(self) -> Iterator[SortEntry]:
        """Yield the readings; stop at a file that cannot be read, with the reason in `failed`."""
        task, number, count = self._task, self._number, self._count
        try:
            for body in bodies(task.files, self._progress):
                if count > 1 and share_of(body, count) != number:
                    continue
                for reading in read(body, ORIGIN, known_sets=task.known_sets, stream=task.stream):
                    self._read += 1
                    key = reading.event.message_id if type(reading) is EventReading else ""
                    yield SortEntry(key, msgspec.Raw(_encode(reading)))
        except SettingsError as error:
            self.failed = str(error)


_MESSAGE_ID = b"messageId"
"""SES's field, in any envelope; SNS writes that of its own id with a capital."""

_MESSAGE_ID_BYTES = 48


def share_of(body: bytes, count: int) -> int:
    """Return which of `count` readers a body belongs to: the same for all bodies of one message.

    Where bodies of one message are written differently, two readers may have parts of it. That costs
    time but changes no result.
    """
    start = body.find(_MESSAGE_ID) + len(_MESSAGE_ID)
    return crc32(body[start : start + _MESSAGE_ID_BYTES]) % count
