"""Connections: uvicorn's, with bounds of their own, and a way straight to intake for notifications."""

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
"""Where SNS posts notifications to."""

MAX_HEAD = 65_536
"""Bytes of a request beside its body: its head, what is said between chunks, trailers."""

PARSED = 2_048
"""Bytes that a request takes, about, which is read and waits for its turn."""

MAX_HEADERS = 100
"""Headers of a request: SNS sends a dozen, proxies add as many again."""

CHUNKED = 8
"""Bytes that come with a byte of a body at most, as long as they are no more than chunks need: six."""

PORTION = 8_192
"""Bytes that are read at once: requests sent ahead of answers take far more room read than unread."""

FILES = 16_384
"""Open files the process asks for, where the system lets it."""

_VERSIONS = frozenset({"1.0", "1.1"})
_BODIES = frozenset({b"content-length", b"transfer-encoding"})
"""Headers by which a request has a body."""

Headers = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")

_SENTENCES = {
    "too-large": "The body is larger than an SNS notification can be.",
    "busy": "Too many requests are under way: try again.",
    "store": "The event cannot be stored now: try again.",
    "quarantine-full": "The quarantine is full: see `sesight quarantine list`, then try again.",
    "malformed-http": "This is no HTTP/1.1, or nothing that can be meant one way only.",
    "head-too-large": "The request has too much beside its body: headers, trailers or what is between chunks.",
    "not-found": "This listener takes SNS notifications, unsubscribe links and GET /health, nothing else.",
}


def written(answer: Answer) -> tuple[Headers, bytes]:
    """Return the headers and the body that say an answer: a problem, unless it is 200."""
    if answer.status == 200:
        return [(b"content-length", b"0")], b""
    detail = answer.detail or _SENTENCES.get(
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
    if answer.status in {404, 413, 431}:  # whatever more there is of the request is not read
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
            self._connection.go_on()
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


class _Unread(Posting):
    """A request that cannot be read, which has its turn among those before it; none comes after it."""

    __slots__ = ("_answer",)

    def __init__(self, connection: Connection, answer: Answer) -> None:
        """Keep what it will be answered."""
        super().__init__(connection)
        self.keep_alive = self.more_body = False
        self._answer = answer

    def start(self) -> None:
        """Take it up: it is answered at once."""
        self.answer(self._answer)

    def set(self) -> None:
        """Nothing of it is waited for."""


class TooMuch(Exception):
    """There are more headers than are read."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, bounded in what a request has beside its body, and in the time that it may
    go without a request or take for one; notifications leave it for intake.
    """

    def __init__(
        self,
        intake: Intake,
        waiting: OrderedDict[Connection, None],
        *args: Any,
        **named: Any,
    ) -> None:
        """Take the intake, the listener's connections that wait for a request to be whole (the longest
        first), and what uvicorn gives its connections.
        """
        super().__init__(*args, **named)
        self.intake = intake
        self.waiting = waiting
        self.since: float | None = None
        """When it began to wait for a request or for the rest of one (loop time); else None."""
        self.arriving = True
        """Whether a part of what it waits for is there, or it is new and has had none yet."""
        self.unread = b""
        """What has come and is not read yet."""
        self.running: RequestResponseCycle | None = None
        """The request that the ASGI app is answering, or has."""
        self.portion = 0
        """Bytes of what is being read."""
        self.beside = 0
        """Bytes read since the last of a body, or since the request began."""
        self.in_head = False
        self.deaf = False
        """Whether nothing more is read."""
        self.unsent = 0
        """Bytes that were written and not sent when that last changed by much."""
        self.sent_at = 0.0

    # -- its time --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin. There is only so much room: who has waited longest makes some, if anybody waits."""
        super().connection_made(transport)
        if len(self.connections) > _most_connections():
            longest = next(iter(self.waiting), self)
            longest.transport.abort()
            longest.connections.discard(longest)
            self.waiting.pop(longest, None)
            if longest is self:
                return
        self._wait(arriving=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """End. Whoever still answers is told; uvicorn tells only the last request."""
        self.waiting.pop(self, None)
        self.unread = b""
        for cycle in (self.running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def _wait(self, *, arriving: bool) -> None:
        """Begin to wait for a request, or for the rest of one."""
        self.since = self.loop.time()
        self.arriving = arriving
        if not self._owes():
            self.waiting[self] = None
            self.waiting.move_to_end(self)

    def _owes(self) -> bool:
        """Return whether a whole request waits for us."""
        cycle: RequestResponseCycle | None = self.cycle
        is_running = cycle is not None and not cycle.response_complete and not cycle.more_body
        return bool(self.pipeline) or is_running

    def has_waited(self, now: float, request: float, idle: float) -> bool:
        """Return whether it has waited for too long: seconds for a request to come whole, seconds until
        one begins. While we do not read it waits for us.
        """
        if self.since is None or self.flow.read_paused or self._owes():
            return False
        return now - self.since > (request if self.arriving else idle)

    def has_stalled(self, now: float, seconds: float, enough: int) -> bool:
        """Return whether its client has not taken `enough` bytes of what it was sent for so long."""
        left = self.transport.get_write_buffer_size()
        # more than before means that some was taken and more came: answers stop while it is full
        if not left or not self.unsent or abs(left - self.unsent) >= enough:
            self.unsent, self.sent_at = left, now
        return now - self.sent_at > seconds and left > 0

    @property
    def holds(self) -> int:
        """Return the bytes that it keeps of what has come, about."""
        cycle: RequestResponseCycle | None = self.cycle
        body = len(cycle.body) if cycle is not None else 0
        return len(self.unread) + body + PARSED * len(self.pipeline)

    def cut_off(self) -> None:
        """End at once, and have the system forget what it has not sent either."""
        line = self.transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # -- reading ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, if what was asked before is out of the way."""
        self.unread += data
        self._read()

    def _read(self) -> None:
        while self.unread and not self._is_held():
            portion, self.unread = self.unread[:PORTION], self.unread[PORTION:]
            self.portion = len(portion)
            self.beside += self.portion
            try:
                self.parser.feed_data(portion)
            except HttpParserUpgrade as upgrade:  # it is answered as if nothing had been offered
                self.unread = portion[upgrade.args[0] :] + self.unread
            except HttpParserError as error:
                if isinstance(error.__context__, TooMuch):
                    self._give_up(self.intake.refusal("head-too-large", 431))
                else:
                    self._give_up(self.intake.refusal("malformed-http", 400))
            if self.beside > MAX_HEAD and not self.deaf:
                self._give_up(self.intake.refusal("head-too-large", 431))
        if self.unread or self.deaf:
            self.flow.pause_reading()

    def _is_held(self) -> bool:
        """Return whether nothing is read now: a request waits for its turn, or answers to be taken."""
        held = self.deaf or self.pipeline or self.flow.write_paused
        return bool(held) or self.transport.is_closing()

    def go_on(self) -> None:
        """Read on, unless something is in the way."""
        if self._is_held():
            return
        if self.unread:
            self.loop.call_soon(self._read_on)
        else:
            self.flow.resume_reading()

    def _read_on(self) -> None:
        self._read()
        if not self.unread:
            self.go_on()

    def _give_up(self, answer: Answer) -> None:
        """Read nothing more. The request is answered when its turn comes, if it is not already."""
        self.deaf = True
        self.unread = b""
        broken: Any = self.cycle
        refused: Any = _Unread(self, answer)
        if broken is None or broken.response_complete:
            self.cycle = refused
            refused.start()
        elif not broken.more_body:  # the one before; this one had no whole head yet
            self.cycle = refused
            self.pipeline.appendleft((refused, self.app))
        elif self.pipeline:
            self.cycle = refused
            self.pipeline[0] = (refused, self.app)
        elif isinstance(broken, Posting):
            broken.keep_alive = False
            broken.answer(answer)
        elif broken.response_started:
            self.transport.close()
        else:
            broken.disconnected = True
            broken.message_event.set()
            refused.start()

    def on_message_begin(self) -> None:
        """Begin to wait for a request."""
        super().on_message_begin()
        self._wait(arriving=True)
        self.in_head = True
        self.beside = self.portion

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers come too late to be any."""
        if self.in_head:
            if len(self.headers) >= MAX_HEADERS:
                raise TooMuch
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take a notification for intake, anything else for the ASGI app."""
        self.in_head = False
        if self.parser.get_http_version() not in _VERSIONS:
            raise ValueError
        if self.parser.should_upgrade() and any(name in _BODIES for name, _ in self.headers):
            raise ValueError  # the parser ends such a request here, and would take its body for the next
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

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which pays for the chunks it came in."""
        self.beside = max(0, self.beside - CHUNKED * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing more: the request is whole."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait(arriving=False)
        else:
            self.since = None
            if not self.flow.write_paused:
                self.waiting.pop(self, None)

    # -- answering -------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Posting):
            self.loop.call_soon(cycle.start)  # not from within the answer to the one before
        else:
            self.running = cycle
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with what was asked meanwhile, else wait for the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.since is not None:  # part of the next is there: its time begins now
            self._wait(arriving=True)
        elif not self._owes():
            self._wait(arriving=False)
        self.go_on()

    def pause_writing(self) -> None:
        """Hear that the client does not take what it is sent: nor is read what it asks."""
        super().pause_writing()
        self.flow.pause_reading()
        self.waiting.setdefault(self, None)  # for its client

    def resume_writing(self) -> None:
        """Hear that it does again."""
        super().resume_writing()
        if self._owes():
            self.waiting.pop(self, None)
        self.go_on()

    def shutdown(self) -> None:
        """End the connection now if its request has not come whole: nobody has taken it."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body:
            self.transport.close()
        else:
            super().shutdown()
