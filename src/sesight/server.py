"""The local server: the API on a loopback listener, intake there and on a public one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import cache
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sesight.app import App
from sesight.domain.errors import SettingsError
from sesight.ingest.intake import BUSY, Answer, Answers, Intake
from sesight.ingest.sns import MAX_BODY

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

EVENTS_PATHS = frozenset({"/api/ses/events", "/ses/events"})
"""Where SNS posts notifications to."""

REQUEST_SECONDS = 20.0
"""Time for a whole request to arrive, or for the first byte of a connection; then it is closed.
SNS itself gives up after 15 s."""

MAX_HEAD = 65_536
"""Bytes of a request before its body."""

INCOMPLETE = Answer(408, "incomplete")
"""What a request counts as whose sender left, or was cut off, before it was whole."""

TOO_LARGE = Answer(413, "too-large")

_SENTENCES = {
    "too-large": "The body is larger than an SNS notification can be.",
    "busy": "Too many requests are under way: try again.",
    "store": "The event cannot be stored now: try again.",
    "quarantine-full": "The quarantine is full: see `sesight quarantine list`, then try again.",
    "not-found": "This listener takes POST of SNS notifications and GET /health, nothing else.",
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
_OK: list[Message] = [
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
]


class EventsRoute:
    """POST of SNS notifications: raw ASGI, since each one passes here."""

    def __init__(self, app: App) -> None:
        """Serve the app's intake, from `start` on."""
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._intake: Intake | None = None

    def start(self) -> None:
        """Start intake on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._intake = self._app.start_intake(self._deliver)

    def stop(self) -> None:
        """Answer what was taken and stop intake."""
        if self._intake is not None:
            self._intake.stop()

    def _deliver(self, answers: Answers) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_tell, answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one notification in and answer after the commit."""
        answer = await self._answer(scope, receive)
        for message in _OK if answer.status == 200 else _problem(answer):
            await send(message)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        headers = {}
        for name, value in scope["headers"]:
            if name.startswith(b"x-amz-sns"):
                headers[name.decode("latin-1")] = value.decode("latin-1")
            elif name == b"content-length" and int(value) > MAX_BODY:
                return self._refuse(TOO_LARGE)
        message = await receive()
        body = message.get("body", b"")
        if message.get("more_body"):
            body, message = await _rest(body, receive)
        if len(body) > MAX_BODY:
            return self._refuse(TOO_LARGE)
        if message["type"] != "http.request":
            return self._refuse(INCOMPLETE)
        assert self._loop is not None  # noqa: S101 - started with the server
        assert self._intake is not None  # noqa: S101 - started with the server
        answered: asyncio.Future[Answer] = self._loop.create_future()

        def tell(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        if not self._intake.submit(body, headers, tell):
            return self._refuse(BUSY)
        return await answered

    def _refuse(self, answer: Answer) -> Answer:
        self._app.metrics.refuse(answer.reason, answer.status)
        return answer


async def _rest(body: bytes, receive: Receive) -> tuple[bytes, Message]:
    """Read the rest of a body, no further than it may go; return it and the last message."""
    chunks, size = [body], len(body)
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY or not message.get("more_body"):
            return b"".join(chunks), message


def _tell(answers: Answers) -> None:
    for tell, answer in answers:
        tell(answer)


def _problem(answer: Answer) -> list[Message]:
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
        headers.append((b"connection", b"close"))
    return [
        {"type": "http.response.start", "status": answer.status, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]


def front(events: EventsRoute, api: Asgi) -> Asgi:
    """Return the API with the events route in front of it."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in EVENTS_PATHS and scope["method"] == "POST":
            await events(scope, receive, send)
        else:
            await api(scope, receive, send)

    return serve


def public(events: EventsRoute) -> Asgi:
    """Return what the public listener knows: the intake routes and GET /health, nothing else."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in EVENTS_PATHS and scope["method"] == "POST":
            await events(scope, receive, send)
        elif scope["path"] in {"/health", "/api/health"} and scope["method"] == "GET":
            for message in _OK:
                await send(message)
        else:
            for message in _problem(Answer(404, "not-found")):
                await send(message)

    return serve


FILES = 16_384
"""Open files the process asks for, where the system lets it."""


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


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, held to a time for each request to arrive in and a size of its head."""

    since: float | None = None
    """When the request began that is not whole yet (loop time), None while none is awaited."""
    head: int | None = None
    """Bytes of a head that is not whole yet, None while none is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) > _most_connections():
            transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.head is not None:
            self.head += len(data)
            if self.head > MAX_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.since = self.loop.time()
        self.head = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.head = None

    def on_message_complete(self) -> None:
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


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: two of them share one loop and one set of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        """End the connections, once a second, whose request has been on its way for too long."""
        if counter % 10 == 0:
            early = asyncio.get_running_loop().time() - REQUEST_SECONDS
            for each in list(self.server_state.connections):
                if isinstance(each, _Connection) and each.since is not None and each.since < early:
                    each.transport.close()
        return await super().on_tick(counter)


def _config(asgi: Asgi) -> uvicorn.Config:
    return uvicorn.Config(
        asgi,
        loop="none",
        http=_Connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,  # its warnings are a line for each stranger who speaks no HTTP
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=20,
        backlog=2_048,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises SettingsError if the address cannot be had."""
    try:
        return socket.create_server((host, port), backlog=2_048, reuse_port=False)
    except OSError as error:
        raise SettingsError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from None


def address_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(
    app: App,
    listener: socket.socket,
    intake_listener: socket.socket | None = None,
    background: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was taken and return.

    `background` runs beside the server and is cancelled with it.
    """
    import uvloop  # noqa: PLC0415 - the only place that needs it, and not on every platform

    uvloop.run(_serve(app, listener, intake_listener, background))


async def _serve(
    app: App,
    listener: socket.socket,
    intake_listener: socket.socket | None,
    background: Callable[[], Awaitable[None]] | None,
) -> None:
    events = EventsRoute(app)
    api: Any = app.api()
    servers = [(_Server(_config(front(events, api))), listener)]
    if intake_listener is not None:
        servers.append((_Server(_config(public(events))), intake_listener))

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    events.start()
    beside = asyncio.ensure_future(background()) if background is not None else None
    try:
        await asyncio.gather(*(server.serve(sockets=[held]) for server, held in servers))
    finally:
        try:
            if beside is not None:
                beside.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await beside
        finally:
            events.stop()
