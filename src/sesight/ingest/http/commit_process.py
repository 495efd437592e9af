"""The commit process: it commits batches of notifications that the server has verified.

Verifying events costs about as much as storing them, so the two run side by side. The server sends
batches and tidy-up requests, one at a time; the reply to a batch comes once the batch is durable. The
process ends when the channel closes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from signal import SIGTERM
from socket import socket, socketpair
from time import monotonic
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from sesight.domain import unsubscribe
from sesight.domain.errors import SesightError, StoreDamaged, StoreUnavailable
from sesight.domain.event import Disposition, Event
from sesight.domain.ports import SweepResult
from sesight.ingest.child_process import start_child
from sesight.ingest.http.channel import ProcessChannel, ServerChannel
from sesight.ingest.metrics import UNSUBSCRIBED, BatchCounts
from sesight.ingest.reader import read_sns_message
from sesight.ingest.reading import EmptyReading, EventReading, Reading

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from sesight.ingest.processed import Processed

_log = logging.getLogger(__name__)

ORIGIN = "http"
"""The origin of readings from here."""

_OWN_ORIGINS = frozenset({unsubscribe.ORIGIN})
"""Origins of our own events, each used as the type of a `Verified` whose message is the event."""

Verified = tuple[str, str]
"""The type and the message of an SNS notification that is proven genuine, or an event of our own."""

Process = Callable[[Sequence[Reading]], "list[Processed]"]
"""`Pipeline.process`."""


class CommitBatch(Struct, array_like=True, tag=0):
    """A request to commit notifications."""

    notifications: list[Verified]


class TidyUp(Struct, array_like=True, tag=1):
    """A request to do what can wait: the checkpoint of the store and the sweep of expired data."""


class CommitResult(Struct, array_like=True, tag=0):
    """The reply to a batch: (position, reason, HTTP status) of each notification that is refused, the
    counts for the metrics, and the journal's lines.
    """

    refused: list[tuple[int, str, int]]
    counts: list[BatchCounts]
    lines: bytes = b""


class TidyUpResult(Struct, array_like=True, tag=1):
    """The reply to a tidy-up: what the sweep removed, None if there was none or it failed."""

    swept: SweepResult | None


CommitRequest = CommitBatch | TidyUp
CommitReply = CommitResult | TidyUpResult

_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(CommitRequest).decode
_decode_reply = msgspec.msgpack.Decoder(CommitReply).decode
_decode_event = msgspec.json.Decoder(Event).decode


def own_event(origin: str, event: Event) -> Verified:
    """Return an event of our own in the form of a verified notification."""
    return origin, msgspec.json.encode(event).decode()


class CommitProcess:
    """The commit process as seen by the server. Replies arrive in the order of the requests."""

    def __init__(self, on_reply: Callable[[CommitReply], None], on_end: Callable[[], None]) -> None:
        """`on_end` is called when the process has ended, expected or not."""
        self._on_reply = on_reply
        self._on_end = on_end
        self._process: SpawnProcess | None = None
        self._socket: socket | None = None
        self._channel: ServerChannel
        self._receiving: asyncio.Task[None] | None = None

    async def start(self, work: Callable[..., None], *arguments: object) -> None:
        """Start the process. It runs `work(socket, *arguments)` and receives no signal to stop."""
        ours, theirs = socketpair()
        self._process = get_context("spawn").Process(
            target=work, args=(theirs, *arguments), name="commit"
        )
        start_child(self._process, SIGTERM)
        theirs.close()
        await self.connect(ours)

    async def connect(self, sock: socket) -> None:
        """Use a socket whose other end a `Committer` has."""
        self._socket = sock
        self._channel = await ServerChannel.open(sock)
        self._receiving = asyncio.create_task(self._receive())

    def send(self, request: CommitRequest) -> None:
        """Send a request."""
        self._channel.send(_encode(request))

    async def _receive(self) -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                self._on_reply(_decode_reply(message))
        finally:
            self._on_end()

    async def close(self) -> None:
        """Close the channel and wait for the end of the process.

        Raises StoreUnavailable if the process had failed before.
        """
        if self._receiving is not None:
            self._channel.close()
            await self._receiving
        elif self._socket is not None:
            self._socket.close()  # the start was interrupted
        if self._process is not None:
            self._process.join()
            if self._process.exitcode:
                raise StoreUnavailable(
                    f"The commit process ended early ({_exit_reason(self._process)}). "
                    "Every event that was answered 200 is stored. Start the server again."
                )


def _exit_reason(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"code {code}"


class Committer:
    """The work of the commit process: read notifications, commit them, tidy up."""

    def __init__(
        self,
        process: Process,
        tidy_up: Callable[[], SweepResult | None],
        lines: list[bytes] | None = None,
    ) -> None:
        """`lines` is where the journal of `process` puts its lines."""
        self._process = process
        self._tidy_up = tidy_up
        self._lines = [] if lines is None else lines
        self._is_damage_logged = False

    def work(self, sock: socket) -> None:
        """Serve the requests on a socket until it closes."""
        channel = ProcessChannel(sock)
        try:
            while (message := channel.receive()) is not None:
                request = _decode_request(message)
                if not channel.send(_encode(self._reply(request))):
                    return  # the server is gone, so the senders try again
        finally:
            channel.close()

    def _reply(self, request: CommitRequest) -> CommitReply:
        if isinstance(request, TidyUp):
            return TidyUpResult(self._try_to_tidy_up())
        committed = self.commit(request.notifications)
        committed.lines = b"".join(self._lines)
        self._lines.clear()
        return committed

    def commit(self, notifications: Sequence[Verified]) -> CommitResult:
        """Commit notifications as one batch; return what became of them, without the lines."""
        started = monotonic()
        try:
            readings = [self._read(*notification) for notification in notifications]
            processed = self._process([reading for some in readings for reading in some])
            left = iter(processed)
            reasons = [_refusal([next(left) for _ in some]) for some in readings]
        except StoreUnavailable as error:
            if isinstance(error, StoreDamaged) and not self._is_damage_logged:
                self._is_damage_logged = True  # the damage stays: one line is enough
                _log.error("%s", error)
            return CommitResult([(n, "store", 503) for n in range(len(notifications))], [])
        except Exception:  # noqa: BLE001 - refused and logged below
            # a bug must stop neither the other notifications of the batch nor this process
            if len(notifications) > 1:
                return _joined([self.commit([notification]) for notification in notifications])
            _log.exception("An event could not be processed; its sender will retry it.")
            return CommitResult([(0, "internal", 500)], [])
        refused = [(n, reason, 503) for n, reason in enumerate(reasons) if reason is not None]
        return CommitResult(refused, [BatchCounts.of(processed, monotonic() - started)])

    def _read(self, kind: str, message: str) -> list[Reading]:
        if kind == "Notification":
            return read_sns_message(message, ORIGIN)
        if kind in _OWN_ORIGINS:
            return [EventReading(kind, _decode_event(message))]
        if kind == "SubscriptionConfirmation":
            return [EmptyReading(ORIGIN, "subscription", confirmed=True)]
        # UnsubscribeConfirmation: intake health reports it; subscribing again is up to the operator
        return [EmptyReading(ORIGIN, UNSUBSCRIBED)]

    def _try_to_tidy_up(self) -> SweepResult | None:
        try:
            return self._tidy_up()
        except SesightError as error:
            _log.warning("The store could not be tidied up; this is tried again later: %s", error)
        except Exception:  # noqa: BLE001 - the next tidy-up tries again: commits must go on
            _log.exception("The store could not be tidied up; this is tried again later.")
        return None


def _joined(parts: list[CommitResult]) -> CommitResult:
    """Return the reply to a batch whose notifications were committed one by one."""
    refused = [
        (n, reason, status) for n, part in enumerate(parts) for _, reason, status in part.refused
    ]
    return CommitResult(refused, [counts for part in parts for counts in part.counts])


def _refusal(processed: list[Processed]) -> str | None:
    """Return the reason why a notification is refused: that of its first reading not stored."""
    for result in processed:
        if result.disposition is Disposition.REFUSED:
            return result.reason or "store"
    return None
