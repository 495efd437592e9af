"""Connections: uvicorn's, with bounds of their own, and a way straight to intake for notifications."""

from __future__ import annotations

import asyncio
import resource
import secrets
from functools import cache
from typing import Any

import msgspec
from httptools import parse_url
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from sesight.ingest.intake import Answer, Intake
from sesight.ingest.sns import MAX_BODY

EVENTS_PATHS = frozenset({b"/api/ses/events", b"/ses/events"})
"""Where SNS posts notifications to."""

MAX_HEAD = 65_536
"""Bytes of a request before its body."""

FILES = 16_384
"""Open files the process asks for, where the system lets it."""

Headers = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")

_SENTENCES = {
    "too-large": "The body is larger than an SNS notification can be.",
    "busy": "Too many requests are under way: try again.",
    "store": "The event cannot be stored now: try again.",
    "quarantine-full": "The quarantine is full: see `sesight quarantine list`, then try again.",
    "not-found": "This listener takes SNS notifications, unsubscribe links and GET /health, nothing else.",
}
_TYPES = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    408: "bad-request",
    413: "too-large",
    500: "failed",
    503: "unavailable",
}


def written(answer: Answer) -> tuple[Headers, bytes]:
    """Return the headers and the body that say an answer: a problem, unless it is 200."""
    if answer.status == 200:
        return [(b"content-length", b"0")], b""
    body = msgspec.json.encode(
        {
            "type": _TYPES[answer.status],
            "title": answer.reason,
            "status": answer.status,
            "detail": answer.detail
            or _SENTENCES.get(answer.reason, f"The notification was refused: {answer.reason}."),
            "requestId": secrets.token_hex(8),
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    if answer.status == 503:
        headers.append((b"retry-after", b"5"))
    if answer.status in {404, 413}:  # whatever more there is of the request is not read
        headers.append(CLOSE)
    return headers, body


class Posting:
    """A notification on its way: what uvicorn's connection wants of a request, without ASGI's scope,
    task and events, for each notification passes here.
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
        """Begin when the head of the request is whole."""
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
    def message_event(self) -> Posting:
        """Where the connection says, by `set`, that something has come."""
        return self

    def start(self) -> None:
        """Take it up: what the connection was asked before is answered."""
        self._started = True
        length = next((value for name, value in self._headers if name == b"content-length"), b"0")
        if int(length) > MAX_BODY:
            self._refuse("too-large", 413)
        elif self._expects_100 and self.more_body:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.set()

    def set(self) -> None:
        """Hear that more of the body has come, or its end, or that its sender has left."""
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
            self._connection.flow.resume_reading()
        elif self.more_body:
            self._refuse("incomplete", 408)

    def _refuse(self, reason: str, status: int) -> None:
        self.answer(self._connection.intake.refusal(reason, status))

    def answer(self, answer: Answer) -> None:
        """Answer, if there is still somebody to hear it."""
        self.response_complete = True
        connection = self._connection
        transport = connection.transport
        if self.disconnected or transport.is_closing():
            return
        headers, body = written(answer)
        if not self.keep_alive and CLOSE not in headers:
            headers.append(CLOSE)
        headers = [*connection.server_state.default_headers, *headers]
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        transport.write(b"%b%b\r\n%b" % (STATUS_LINE[answer.status], head, body))
        if headers[-1] is CLOSE:
            transport.close()
        connection.on_response_complete()


@cache
def _most_connections() -> int:
    """Ask for more open files, once, and return how many connections one listener holds: a quarter,
    so that a flood of them leaves the store and the other listener theirs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return (FILES if soft == resource.RLIM_INFINITY else soft) // 4


class Connection(HttpToolsProtocol):
    """uvicorn's connection, held to a time for each request to arrive in and a size of its head;
    notifications leave it for intake.
    """

    since: float | None = None
    """When the request began that is not whole yet (loop time), None while none is awaited."""
    head: int | None = None
    """Bytes read since a head began that is not whole yet, None while none is read."""

    def __init__(self, intake: Intake, *args: Any, **named: Any) -> None:
        """Take the intake and what uvicorn gives its connections."""
        super().__init__(*args, **named)
        self.intake = intake

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse to: there is only so much room."""
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) > _most_connections():
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on, no further into a head than it may be long."""
        if self.head is not None:
            self.head += len(data)
        super().data_received(data)
        if self.head is not None and self.head > MAX_HEAD:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for a request."""
        super().on_message_begin()
        self.since = self.loop.time()
        self.head = 0

    def on_headers_complete(self) -> None:
        """Take a notification for intake, anything else for the ASGI app."""
        self.head = None
        if self.parser.get_method() != b"POST" or parse_url(self.url).path not in EVENTS_PATHS:
            super().on_headers_complete()
            return
        before: RequestResponseCycle | None = self.cycle
        posting: Any = Posting(self)
        self.cycle = posting
        if before is None or before.response_complete:
            posting.start()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((posting, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Posting):
            self.loop.call_soon(cycle.start)  # not from within the answer to the one before
        else:
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """Wait for nothing more: the request is whole."""
        super().on_message_complete()
        self.since = None

    def shutdown(self) -> None:
        """End the connection now if its request has not come whole: nobody has taken it."""
        cycle: RequestResponseCycle | None = self.cycle
        idle = cycle is None or cycle.response_complete or cycle.more_body
        if self.since is not None and idle:
            self.transport.close()
        else:
            super().shutdown()
