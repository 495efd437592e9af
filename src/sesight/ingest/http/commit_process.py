"""The writer: a process of its own that commits batches, and the line between it and the server.

Proving and reading events costs about as much as storing them, so they run side by side. A batch
goes to the writer as the readings of each of its requests; what it says of a batch comes back once
the batch is durable, in the order of batches. When the line ends, so does the writer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from io import BufferedReader
from multiprocessing import get_context
from signal import SIGTERM
from socket import socket, socketpair
from time import monotonic
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from sesight.domain import unsubscribe as leaving
from sesight.domain.errors import SesightError, StoreDamaged, StoreUnavailable
from sesight.domain.event import Disposition, Event
from sesight.domain.ports import SweepResult
from sesight.ingest.metrics import UNSUBSCRIBED, Counts
from sesight.ingest.reader import read_sns_message
from sesight.ingest.reading import EmptyReading, EventReading, Reading
from sesight.ingest.replay.reader_processes import start_apart

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from sesight.ingest.processed import Processed

_log = logging.getLogger(__name__)

ORIGIN = "http"
"""The origin of readings from here."""

OWN = frozenset({leaving.ORIGIN})
"""Origins of events of our own, each the type of a `Proven` whose message is the event."""

Proven = tuple[str, str]
"""A genuine notification, its type and its message; or an event of our own."""

Batch = list[Proven]
"""What there is to commit. A batch of none says that there is time to tidy up."""

Process = Callable[[Sequence[Reading]], "list[Processed]"]
"""`Pipeline.process`."""


class Committed(Struct, array_like=True):
    """What became of a batch: (place, reason, status) of each notification that was not taken, what
    the metrics count of each commit, and the journal's lines; of a batch of none what was swept.
    """

    refused: list[tuple[int, str, int]]
    counts: list[Counts]
    lines: bytes = b""
    swept: SweepResult | None = None


_encode = msgspec.msgpack.Encoder().encode
_batch = msgspec.msgpack.Decoder(Batch).decode
_committed = msgspec.msgpack.Decoder(Committed).decode
_event = msgspec.json.Decoder(Event).decode


def own(origin: str, event: Event) -> Proven:
    """Return an event of our own as a batch holds it."""
    return origin, msgspec.json.encode(event).decode()


# -- the line --------------------------------------------------------------------------------------

_LENGTH = 4


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH) + message


def _frame(line: BufferedReader) -> bytes | None:
    """Read one message, None if the line ends before it is whole."""
    length = line.read(_LENGTH)
    if len(length) < _LENGTH:
        return None
    wanted = int.from_bytes(length)
    message = line.read(wanted)
    return message if len(message) == wanted else None


class Writer:
    """The writer as the server knows it: batches go out, what became of them comes back in order."""

    def __init__(self, committed: Callable[[Committed], None], lost: Callable[[], None]) -> None:
        """Take who is told what became of each batch, and that the writer is gone."""
        self._committed = committed
        self._lost = lost
        self._process: SpawnProcess | None = None
        self._line: socket | None = None
        self._out: asyncio.StreamWriter
        self._hearing: asyncio.Task[None] | None = None

    async def start(self, work: Callable[..., None], *arguments: object) -> None:
        """Start the process: it runs `work(line, *arguments)`, and no signal to stop reaches it."""
        ours, theirs = socketpair()
        self._process = get_context("spawn").Process(
            target=work, args=(theirs, *arguments), name="writer"
        )
        start_apart(self._process, SIGTERM)
        theirs.close()
        await self.connect(ours)

    async def connect(self, line: socket) -> None:
        """Begin to speak with who has the other end of a line."""
        self._line = line
        said, self._out = await asyncio.open_unix_connection(sock=line)
        self._hearing = asyncio.create_task(self._hear(said))

    def send(self, batch: Batch) -> None:
        """Give the writer a batch."""
        self._out.write(_framed(_encode(batch)))

    async def _hear(self, said: asyncio.StreamReader) -> None:
        try:
            while True:
                length = int.from_bytes(await said.readexactly(_LENGTH))
                self._committed(_committed(await said.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            pass  # the end of the line
        finally:
            self._lost()

    async def close(self) -> None:
        """End the line and wait for the end of the process.

        Raises StoreUnavailable if it had ended before.
        """
        if self._hearing is not None:
            self._out.close()
            await self._hearing
        elif self._line is not None:
            self._line.close()  # cut off while it was being set up
        if self._process is not None:
            self._process.join()
            if self._process.exitcode:
                raise StoreUnavailable(
                    f"The process that writes to the store ended early ({_how(self._process)}). "
                    "Nothing that was answered 200 is lost: start the server again."
                )


def _how(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"code {code}"


# -- the writer's side -----------------------------------------------------------------------------


class Committer:
    """Reads and commits batches: the work of the process."""

    def __init__(
        self,
        process: Process,
        tidy: Callable[[], SweepResult | None],
        lines: list[bytes] | None = None,
    ) -> None:
        """Take the pipeline, what is done when there is time, and where the journal puts lines."""
        self._process = process
        self._tidy = tidy
        self._lines = [] if lines is None else lines
        self._damaged = False

    def work(self, line: socket) -> None:
        """Commit what comes over a line, until it ends."""
        with line, line.makefile("rb") as batches:
            while True:
                try:
                    message = _frame(batches)
                except OSError:
                    return
                if message is None:
                    return
                done = self.take(_batch(message))
                done.lines = b"".join(self._lines)
                self._lines.clear()
                try:
                    line.sendall(_framed(_encode(done)))
                except OSError:
                    return  # the server is gone: its senders try again

    def take(self, batch: Batch) -> Committed:
        """Commit a batch and say what became of each notification."""
        if not batch:
            return Committed([], [], swept=self._tidy_up())
        begun = monotonic()
        try:
            readings = [self._read(*proven) for proven in batch]
            processed = self._process([reading for each in readings for reading in each])
            done = iter(processed)
            reasons = [_refusal([next(done) for _ in each]) for each in readings]
        except StoreUnavailable as error:
            if isinstance(error, StoreDamaged) and not self._damaged:
                self._damaged = True  # once is enough: it does not pass
                _log.error("%s", error)
            return Committed([(at, "store", 503) for at in range(len(batch))], [])
        except Exception:  # noqa: BLE001 - refused, named and logged below
            # a bug must not take the other notifications of the batch with it, nor the writer
            if len(batch) > 1:
                return _joined([self.take([proven]) for proven in batch])
            _log.exception("an event could not be processed; its sender will try again")
            return Committed([(0, "internal", 500)], [])
        refused = [(at, reason, 503) for at, reason in enumerate(reasons) if reason is not None]
        return Committed(refused, [Counts.of(processed, monotonic() - begun)])

    def _read(self, kind: str, message: str) -> list[Reading]:
        if kind == "Notification":
            return read_sns_message(message, ORIGIN)
        if kind in OWN:
            return [EventReading(kind, _event(message))]
        if kind == "SubscriptionConfirmation":
            return [EmptyReading(ORIGIN, "subscription", confirmed=True)]
        # somebody unsubscribed us: worth an alarm, never an automatic re-subscription
        return [EmptyReading(ORIGIN, UNSUBSCRIBED)]

    def _tidy_up(self) -> SweepResult | None:
        try:
            return self._tidy()
        except SesightError as error:
            _log.warning("the store could not be tidied and will be later: %s", error)
        except Exception:  # noqa: BLE001 - what can wait must not stop the writer
            _log.exception("the store could not be tidied and will be later")
        return None


def _joined(parts: list[Committed]) -> Committed:
    """Return what became of notifications that were committed one by one."""
    refused = [
        (at, reason, status) for at, part in enumerate(parts) for _, reason, status in part.refused
    ]
    return Committed(refused, [each for part in parts for each in part.counts])


def _refusal(processed: list[Processed]) -> str | None:
    """Return why a request cannot be answered 200: the first reading that was not stored."""
    for each in processed:
        if each.disposition is Disposition.REFUSED:
            return each.reason or "store"
    return None
