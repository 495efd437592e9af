"""The local server: API and intake on a loopback listener, intake alone on an optional public listener."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn

from sesight.api.middleware import UNSUBSCRIBE_PREFIX, is_loopback
from sesight.app import App
from sesight.domain.errors import SettingsError
from sesight.ingest.http.intake import TAKEN, Answer, Intake
from sesight.server.connection import Connection, http_response
from sesight.server.log import configure_logging

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[AsgiMessage]]
AsgiSend = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]


@dataclass(frozen=True)
class ServerLimits:
    """What a listener allows its clients. Not settings: tests pass other values."""

    request_seconds: float = 20.0
    """Time for a request to arrive in full, or for the first byte of a new connection; then the connection
    is closed. SNS itself gives up after 15 s."""

    idle_seconds: float = 75.0
    """Time between an answer and the next request; then the connection is closed."""

    stall_seconds: float = 20.0
    """Time in which a client must read `stall_bytes` of an answer; then the connection is reset."""

    stall_bytes: int = 16_384

    buffered_bytes: int = 256_000_000
    """Bytes of incomplete requests that a listener buffers: ten thousand notifications of the usual size."""

    tidy_up_idle_seconds: float | None = None
    """Time without events after which the commit process tidies up; None for intake's default."""


def public_app(unsubscribe: AsgiApp) -> AsgiApp:
    """Return the ASGI app of the public listener: GET /health and, below /unsubscribe/, `unsubscribe`.

    Events do not get here: `Connection` passes them to intake.
    """

    async def app(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        path = scope["path"].removeprefix("/api")
        is_read = scope["method"] in {"GET", "HEAD"}
        if path.startswith(UNSUBSCRIBE_PREFIX) and (is_read or scope["method"] == "POST"):
            await unsubscribe(scope, receive, send)
            return
        answer = TAKEN if path == "/health" and is_read else Answer(404, "not-found")
        headers, body = http_response(answer)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


class _Server(uvicorn.Server):
    """A uvicorn server with our connections, and without uvicorn's signal handlers: two servers share one
    event loop and one set of signals.
    """

    def __init__(self, app: Any, intake: Intake, limits: ServerLimits) -> None:
        self._limits = limits
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        super().__init__(_config(app, partial(Connection, intake, self._waiting)))

    def _connections(self) -> Iterator[Connection]:
        return (
            connection
            for connection in self.server_state.connections
            if isinstance(connection, Connection)
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        """Once a second, close connections whose request takes too long or whose client does not read the
        answer, and, those that wait longest first, connections that buffer more than there is room for.
        """
        if counter % 10 == 0:
            limits, now = self._limits, asyncio.get_running_loop().time()
            for connection in [*self._connections()]:
                if connection.has_stalled(now, limits.stall_seconds, limits.stall_bytes):
                    connection.reset()
                elif connection.has_timed_out(now, limits.request_seconds, limits.idle_seconds):
                    connection.transport.close()
            buffered = sum(connection.buffered for connection in self._connections())
            for connection in [*self._waiting] if buffered > limits.buffered_bytes else ():
                if buffered > limits.buffered_bytes and connection.buffered:
                    buffered -= connection.buffered
                    connection.reset()
        return await super().on_tick(counter)


def _config(asgi: Any, http: Any) -> uvicorn.Config:
    return uvicorn.Config(
        asgi,
        loop="none",
        http=http,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,  # its warnings are a line for each connection that sends no HTTP
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=20,
        backlog=2_048,
    )


def resolve(host: str, *, public: bool = False) -> tuple[socket.AddressFamily, str]:
    """Return the address of a host name, IPv4 if it has both. Unless `public`, only loopback addresses are
    allowed. Raises SettingsError.
    """
    try:
        addresses = socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise SettingsError(f"Cannot listen on {host}: {error.strerror or error}.") from None
    family, *_, (address, *_) = min(addresses, key=lambda found: found[0] != socket.AF_INET)
    if not public and not is_loopback(str(address)):
        raise SettingsError(
            f"The API does not listen on {host or address}: it has no access keys yet, so anyone who "
            "reaches it could read everything and send mail. Let it listen on 127.0.0.1, and connect "
            "from another machine through a tunnel: ssh -L 8025:127.0.0.1:8025 HOST. SNS and unsubscribe "
            "links use a listener of their own: sesight serve --intake HOST:PORT."
        )
    return family, str(address)


def listen(host: str, port: int, *, public: bool = False) -> socket.socket:
    """Return a listening socket. Raises SettingsError if the address cannot be used."""
    family, address = resolve(host, public=public)
    try:
        return socket.create_server((address, port), family=family, backlog=2_048)
    except OSError as error:
        why = {
            errno.EADDRINUSE: "another program listens there. Stop it, or choose another port.",
            errno.EACCES: "only root may. Choose a port from 1024 on.",
            errno.EADDRNOTAVAIL: "this machine has no such address.",
        }.get(error.errno or 0, f"{error.strerror or error}.")
        raise SettingsError(f"Cannot listen on {host}:{port}: {why}") from None


def address_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(
    app: App,
    listener: socket.socket,
    intake_listener: socket.socket | None = None,
    limits: ServerLimits | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then answer the requests under way and return.

    Raises StoreUnavailable if the commit process ends by itself.
    """
    configure_logging()
    import uvloop  # noqa: PLC0415 - the only place that needs it, and not on every platform

    uvloop.run(_serve(app, listener, intake_listener, limits or ServerLimits()))


async def _serve(
    app: App,
    listener: socket.socket,
    intake_listener: socket.socket | None,
    limits: ServerLimits,
) -> None:
    servers: list[tuple[_Server, socket.socket]] = []
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        for server, _ in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    intake = app.open_intake(limits.tidy_up_idle_seconds)
    servers.append((_Server(app.api(), intake, limits), listener))
    if intake_listener is not None:
        unsubscribe: Any = app.public()
        servers.append((_Server(public_app(unsubscribe), intake, limits), intake_listener))
    await asyncio.sleep(0)  # lets the loop deliver a signal that arrived before the servers existed
    if stopping.is_set():
        stop()
    try:
        await app.start_commit_process(intake, stop)
        await asyncio.gather(*(server.serve(sockets=[sock]) for server, sock in servers))
    finally:
        await app.close_intake()
