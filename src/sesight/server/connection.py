"""HTTP connections: uvicorn's protocol class with bounds on what a client may use, and a direct path to
intake for SNS notifications.

This builds on internals of uvicorn (`HttpToolsProtocol`), so pyproject.toml pins uvicorn exactly. Decision
34 says why uvicorn's own settings are not enough.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
import socket
import struct
from collections import OrderedDict
from functools import cache
from typing import Any

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, parse_url
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from sesight.api.problem import MEDIA_TYPE, status_problem
from sesight.ingest.http.intake import Answer, Intake
from sesight.ingest.transport.sns import MAX_BODY

EVENTS_PATHS = frozenset({b"/api/ses/events", b"/ses/events"})
"""Paths that SNS posts notifications to."""

MAX_OVERHEAD = 65_536
"""Bytes of a request outside its body: head, chunk sizes and extensions, trailers."""

PIPELINED_REQUEST_BYTES = 2_048
"""Approximate memory of a parsed request that waits for the answer to the one before."""

MAX_HEADERS = 100
"""Headers of a request. SNS sends a dozen; proxies add about as many again."""

CHUNK_ALLOWANCE = 8
"""Bytes outside the body that each byte of the body allows. A body in chunks of one byte needs six."""

READ_BYTES = 8_192
"""Bytes parsed at once: pipelined requests take far more memory parsed than unparsed."""

OPEN_FILES = 16_384
"""Limit of open files that the process asks the system for."""

_VERSIONS = frozenset({"1.0", "1.1"})
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that announce a body."""

Headers = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")

_DETAILS = {
    "too-large": "The body is larger than an SNS notification can be.",
    "busy": "Too many requests are in progress. Try again.",
    "store": "The event cannot be stored now. Try again.",
    "quarantine-full": "The quarantine is full: see `sesight quarantine list`, then try again.",
    "malformed-http": "The request is not HTTP/1.1, or is ambiguous.",
    "head-too-large": "The request has too many bytes outside its body (headers, chunk extensions, trailers).",
    "not-found": "This listener only serves SNS notifications, unsubscribe links and GET /health.",
}


def http_response(answer: Answer) -> tuple[Headers, bytes]:
    """Return the headers and the body of an answer: nothing for 200, else a problem."""
    if answer.status == 200:
        return [(b"content-length", b"0")], b""
    detail = answer.detail or _DETAILS.get(
        answer.reason, f"The notification was refused: {answer.reason}."
    )
    body = msgspec.json.encode(
        status_problem(answer.status, answer.reason, detail, secrets.token_hex(8))
    )
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    if answer.status == 503:
        headers.append((b"retry-after", b"5"))
    if answer.status in {404, 413, 431}:  # the rest of the request is not read
        headers.append(CLOSE)
    return headers, body


class NotificationRequest:
    """A notification being received. It has the interface of uvicorn's `RequestResponseCycle`, without the
    scope, the task and the events of ASGI.
    """

    __slots__ = (
        "_connection",
        "_expects_100",
        "_headers",
        "_started",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(self, connection: Connection) -> None:
        """Called when the head of the request is complete."""
        parser = connection.parser
        self._connection = connection
        self._headers = connection.headers
        self._expects_100 = connection.expect_100_continue
        self._started = False
        self.keep_alive = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> NotificationRequest:
        """The object that the protocol calls `set` on when there is something new: this one."""
        return self

    def start(self) -> None:
        """Start to receive it, once the requests before it on the connection are answered."""
        self._started = True
        length = next((value for name, value in self._headers if name == b"content-length"), b"0")
        if int(length) > MAX_BODY:
            self._refuse("too-large", 413)
        elif self._expects_100 and self.more_body:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.set()

    def set(self) -> None:
        """Handle more of the body, its end, or the end of the connection."""
        if not self._started or self.response_complete:
            return
        if len(self.body) > MAX_BODY:
            self._refuse("too-large", 413)
        elif not self.disconnected and not self.more_body:
            headers = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in self._headers
                if name.startswith(b"x-amz-sns")
            }
            self._connection.intake.submit(bytes(self.body), headers, self.answer)
        elif not self.disconnected:
            self._connection.resume()
        elif self.more_body:
            self._refuse("incomplete", 408)

    def _refuse(self, reason: str, status: int) -> None:
        self.answer(self._connection.intake.refusal(reason, status))

    def answer(self, answer: Answer) -> None:
        """Send the answer, unless the connection has ended."""
        self.response_complete = True
        connection = self._connection
        transport = connection.transport
        if self.disconnected or transport.is_closing():
            return
        headers, body = http_response(answer)
        if not self.keep_alive and CLOSE not in headers:
            headers.append(CLOSE)
        headers = [*connection.server_state.default_headers, *headers]
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        transport.write(b"%b%b\r\n%b" % (STATUS_LINE[answer.status], head, body))
        if headers[-1] is CLOSE:
            transport.close()
        connection.on_response_complete()


@cache
def _max_connections() -> int:
    """Raise the limit of open files, once, and return how many connections a listener keeps: a quarter of it,
    so that a flood of connections leaves files for the store and the other listener.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    return (OPEN_FILES if soft == resource.RLIM_INFINITY else soft) // 4


class _RejectedRequest(NotificationRequest):
    """A request that could not be parsed. It is answered in order; nothing after it is read."""

    __slots__ = ("_answer",)

    def __init__(self, connection: Connection, answer: Answer) -> None:
        super().__init__(connection)
        self.keep_alive = self.more_body = False
        self._answer = answer

    def start(self) -> None:
        """Answer it."""
        self.answer(self._answer)

    def set(self) -> None:
        """Do nothing: the rest of the request does not matter."""


class TooManyHeaders(Exception):
    """The request has more than `MAX_HEADERS` headers."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits: on the bytes of a request outside its body, on memory, and on the
    time for a request to begin and to arrive. Notifications go to intake, other requests to the ASGI app.
    """

    def __init__(
        self,
        intake: Intake,
        waiting: OrderedDict[Connection, None],
        *args: Any,
        **named: Any,
    ) -> None:
        """`waiting` has the listener's connections whose request is not complete, those that wait longest
        first. The other arguments are uvicorn's.
        """
        super().__init__(*args, **named)
        self.intake = intake
        self.waiting = waiting
        self.waiting_since: float | None = None
        """Loop time since which it waits for a request or the rest of one; None while it does not wait."""
        self.is_arriving = True
        """Whether part of the awaited request has arrived, or the connection is new."""
        self.unparsed = b""
        """Bytes received and not parsed yet."""
        self.asgi_cycle: RequestResponseCycle | None = None
        """The latest request that was passed to the ASGI app."""
        self.read_size = 0
        """Size of the part that is being parsed."""
        self.overhead = 0
        """Bytes of the request outside its body, less the allowance of its body."""
        self.in_head = False
        self.is_rejected = False
        """Whether the connection is no longer read, since a request could not be parsed."""
        self.unsent_bytes = 0
        """Size of the write buffer when it last changed by `stall_bytes` or more."""
        self.unsent_since = 0.0

    # -- time limits ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection. If the listener is full, the connection that waits longest is closed."""
        super().connection_made(transport)
        if len(self.connections) > _max_connections():
            longest = next(iter(self.waiting), self)
            longest.transport.abort()
            longest.connections.discard(longest)
            self.waiting.pop(longest, None)
            if longest is self:
                return
        self._wait(arriving=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every unanswered request that its client is gone; uvicorn tells only the last one."""
        self.waiting.pop(self, None)
        self.unparsed = b""
        for cycle in (self.asgi_cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def _wait(self, *, arriving: bool) -> None:
        """Start to wait for a request, or for the rest of one."""
        self.waiting_since = self.loop.time()
        self.is_arriving = arriving
        if not self._has_unanswered_request():
            self.waiting[self] = None
            self.waiting.move_to_end(self)

    def _has_unanswered_request(self) -> bool:
        """Return whether a complete request waits for its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        is_running = cycle is not None and not cycle.response_complete and not cycle.more_body
        return bool(self.pipeline) or is_running

    def has_timed_out(self, now: float, request: float, idle: float) -> bool:
        """Return whether the request took longer than `request` seconds to arrive, or did not begin within
        `idle` seconds. Time in which we do not read does not count.
        """
        if self.waiting_since is None or self.flow.read_paused or self._has_unanswered_request():
            return False
        return now - self.waiting_since > (request if self.is_arriving else idle)

    def has_stalled(self, now: float, seconds: float, enough: int) -> bool:
        """Return whether the client read fewer than `enough` bytes of its answers in the last `seconds`."""
        left = self.transport.get_write_buffer_size()
        # a larger buffer also means progress: the answer pauses while the buffer is full
        if not left or not self.unsent_bytes or abs(left - self.unsent_bytes) >= enough:
            self.unsent_bytes, self.unsent_since = left, now
        return now - self.unsent_since > seconds and left > 0

    @property
    def buffered(self) -> int:
        """The approximate memory, in bytes, of requests that are not answered."""
        cycle: RequestResponseCycle | None = self.cycle
        body = len(cycle.body) if cycle is not None else 0
        return len(self.unparsed) + body + PIPELINED_REQUEST_BYTES * len(self.pipeline)

    def reset(self) -> None:
        """Close the connection with a TCP reset, which also discards the kernel's send buffer."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # -- reading ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless an earlier request blocks it."""
        self.unparsed += data
        self._read()

    def _read(self) -> None:
        while self.unparsed and not self._is_blocked():
            part, self.unparsed = self.unparsed[:READ_BYTES], self.unparsed[READ_BYTES:]
            self.read_size = len(part)
            self.overhead += self.read_size
            try:
                self.parser.feed_data(part)
            except HttpParserUpgrade as upgrade:  # the upgrade is declined: answer over HTTP/1.1
                self.unparsed = part[upgrade.args[0] :] + self.unparsed
            except HttpParserError as error:
                if isinstance(error.__context__, TooManyHeaders):
                    self._reject(self.intake.refusal("head-too-large", 431))
                else:
                    self._reject(self.intake.refusal("malformed-http", 400))
            if self.overhead > MAX_OVERHEAD and not self.is_rejected:
                self._reject(self.intake.refusal("head-too-large", 431))
        if self.unparsed or self.is_rejected:
            self.flow.pause_reading()

    def _is_blocked(self) -> bool:
        """Return whether parsing must wait for an earlier answer or for the client to read."""
        is_blocked = self.is_rejected or self.pipeline or self.flow.write_paused
        return bool(is_blocked) or self.transport.is_closing()

    def resume(self) -> None:
        """Go on reading, unless something blocks it."""
        if self._is_blocked():
            return
        if self.unparsed:
            self.loop.call_soon(self._read_scheduled)
        else:
            self.flow.resume_reading()

    def _read_scheduled(self) -> None:
        self._read()
        if not self.unparsed:
            self.resume()

    def _reject(self, answer: Answer) -> None:
        """Stop reading. The request is answered in order, unless it has been answered."""
        self.is_rejected = True
        self.unparsed = b""
        current: Any = self.cycle
        refused: Any = _RejectedRequest(self, answer)
        if current is None or current.response_complete:
            self.cycle = refused
            refused.start()
        elif not current.more_body:  # the one before: this one has no complete head
            self.cycle = refused
            self.pipeline.appendleft((refused, self.app))
        elif self.pipeline:
            self.cycle = refused
            self.pipeline[0] = (refused, self.app)
        elif isinstance(current, NotificationRequest):
            current.keep_alive = False
            current.answer(answer)
        elif current.response_started:
            self.transport.close()
        else:
            current.disconnected = True
            current.message_event.set()
            refused.start()

    def on_message_begin(self) -> None:
        """Start the time limit of a request."""
        super().on_message_begin()
        self._wait(arriving=True)
        self.in_head = True
        self.overhead = self.read_size

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are ignored."""
        if self.in_head:
            if len(self.headers) >= MAX_HEADERS:
                raise TooManyHeaders
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass a notification to intake, and any other request to the ASGI app."""
        self.in_head = False
        if self.parser.get_http_version() not in _VERSIONS:
            raise ValueError
        if self.parser.should_upgrade() and any(name in _BODY_HEADERS for name, _ in self.headers):
            raise ValueError  # the parser ends such a request here and would parse its body as the next one
        if self.parser.get_method() != b"POST" or parse_url(self.url).path not in EVENTS_PATHS:
            super().on_headers_complete()
            return
        previous: RequestResponseCycle | None = self.cycle
        notification: Any = NotificationRequest(self)
        self.cycle = notification
        if previous is None or previous.response_complete:
            notification.start()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((notification, self.app))

    def on_body(self, body: bytes) -> None:
        """Append a part of the body; it allows for the overhead of its chunks."""
        self.overhead = max(0, self.overhead - CHUNK_ALLOWANCE * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the time limit of a request that is complete."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait(arriving=False)
        else:
            self.waiting_since = None
            if not self.flow.write_paused:
                self.waiting.pop(self, None)

    # -- answering -------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, NotificationRequest):
            self.loop.call_soon(cycle.start)  # not within the answer to the previous one
        else:
            self.asgi_cycle = cycle
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.waiting_since is not None:
            # part of the next one has arrived: its time limit starts now
            self._wait(arriving=True)
        elif not self._has_unanswered_request():
            self._wait(arriving=False)
        self.resume()

    def pause_writing(self) -> None:
        """Stop reading while the client does not read its answers."""
        super().pause_writing()
        self.flow.pause_reading()
        self.waiting.setdefault(self, None)  # the wait is for the client

    def resume_writing(self) -> None:
        """Go on reading when the client reads again."""
        super().resume_writing()
        if self._has_unanswered_request():
            self.waiting.pop(self, None)
        self.resume()

    def shutdown(self) -> None:
        """Close the connection at once if its request is incomplete: nobody has accepted it."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body:
            self.transport.close()
        else:
            super().shutdown()
