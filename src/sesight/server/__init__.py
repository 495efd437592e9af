"""The local server: the API on a loopback listener, intake there and on a public one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import partial
from typing import Any

import uvicorn

from sesight.api.middleware import UNSUBSCRIBE_PREFIX, is_loopback
from sesight.app import App
from sesight.domain.errors import SettingsError
from sesight.ingest.http.intake import TAKEN, Answer, Intake
from sesight.server.connection import Connection, written
from sesight.server.log import lay_out

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[AsgiMessage]]
AsgiSend = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]

REQUEST_SECONDS = 20.0
"""Time for a whole request to arrive, or for the first byte of a connection; then it is closed.
SNS itself gives up after 15 s."""

IDLE_SECONDS = 75.0
"""Time for the next request to begin after an answer; then the connection is closed."""

STALL_SECONDS = 20.0
"""Time in which a client must take `TAKEN_BYTES` of an answer; then the connection is cut off."""

TAKEN_BYTES = 16_384

HELD_BYTES = 256_000_000
"""Bytes of requests on their way that a listener keeps at most: ten thousand times SNS's usual ones."""


def public(links: AsgiApp) -> AsgiApp:
    """Return what answers on the public listener beside events: GET /health, and `links` below
    /unsubscribe/; nothing else.
    """

    async def answer(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        path = scope["path"].removeprefix("/api")
        reads = scope["method"] in {"GET", "HEAD"}
        if path.startswith(UNSUBSCRIBE_PREFIX) and (reads or scope["method"] == "POST"):
            await links(scope, receive, send)
            return
        healthy = path == "/health" and reads
        said = TAKEN if healthy else Answer(404, "not-found")
        headers, body = written(said)
        await send({"type": "http.response.start", "status": said.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: two of them share one loop and one set of signals."""

    def __init__(self, asgi: Any, intake: Intake) -> None:
        """Serve an ASGI app, and notifications to intake."""
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        super().__init__(_config(asgi, partial(Connection, intake, self._waiting)))

    def _connections(self) -> Iterator[Connection]:
        return (each for each in self.server_state.connections if isinstance(each, Connection))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        """End connections, once a second, that wait for a request for too long, whose clients do not take
        an answer, and, the longest first, that keep more together than there is room for.
        """
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for each in [*self._connections()]:
                if each.has_stalled(now, STALL_SECONDS, TAKEN_BYTES):
                    each.cut_off()
                elif each.has_waited(now, REQUEST_SECONDS, IDLE_SECONDS):
                    each.transport.close()
            held = sum(each.holds for each in self._connections())
            for each in [*self._waiting] if held > HELD_BYTES else ():
                if held > HELD_BYTES and each.holds:
                    held -= each.holds
                    each.cut_off()
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
        log_level=logging.ERROR,  # its warnings are a line for each stranger who speaks no HTTP
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=20,
        backlog=2_048,
    )


def place(host: str, *, public: bool = False) -> tuple[socket.AddressFamily, str]:
    """Return the address that a host name stands for, IPv4's where it has both: one of this machine
    alone, unless it is `public`. Raises SettingsError if there is none, or may not be listened on.
    """
    try:
        found = socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise SettingsError(f"Cannot listen on {host}: {error.strerror or error}.") from None
    family, *_, (address, *_) = min(found, key=lambda each: each[0] != socket.AF_INET)
    if not public and not is_loopback(str(address)):
        raise SettingsError(
            f"The API does not listen on {host or address}: it has no access keys yet, so whoever "
            "reaches it could read everything and send mail. Let it listen on 127.0.0.1, and reach it "
            "from another machine through a tunnel: ssh -L 8025:127.0.0.1:8025 HOST. What SNS and "
            "readers of mail must reach has a listener of its own: sesight serve --intake HOST:PORT."
        )
    return family, str(address)


def listen(host: str, port: int, *, public: bool = False) -> socket.socket:
    """Return a listening socket at a `place`. Raises SettingsError if it cannot be had."""
    family, address = place(host, public=public)
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
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was taken and return.

    Raises StoreUnavailable if the process that writes is gone before.
    """
    lay_out()
    import uvloop  # noqa: PLC0415 - the only place that needs it, and not on every platform

    uvloop.run(_serve(app, listener, intake_listener))


async def _serve(
    app: App,
    listener: socket.socket,
    intake_listener: socket.socket | None,
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
    intake = app.open_intake()
    servers.append((_Server(app.api(), intake), listener))
    if intake_listener is not None:
        links: Any = app.public()
        servers.append((_Server(public(links), intake), intake_listener))
    await asyncio.sleep(0)  # a signal that came meanwhile is heard now
    if stopping.is_set():
        stop()
    try:
        await app.start_commit_process(intake, stop)
        await asyncio.gather(*(server.serve(sockets=[held]) for server, held in servers))
    finally:
        await app.close_intake()
