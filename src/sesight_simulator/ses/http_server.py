"""An HTTP/1.1 server on loopback that can also reset, close or hang a connection, as faults need."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

HEADER_BYTES = 64 * 1024
BODY_BYTES = 64 * 1024 * 1024
"""A message of 40 MB in base64."""


class ResponseMode(Enum):
    """How the server responds."""

    NORMAL = "normal"
    RESET = "reset"
    """It resets the connection."""
    CLOSED = "closed"
    """It closes the connection."""
    HUNG = "hung"
    """It keeps the connection open until the client closes it."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, and how it is given."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    mode: ResponseMode = ResponseMode.NORMAL
    seconds: float = 0.0
    """How long the server waits before it responds."""
    content_type: str = "application/json"


Respond = Callable[[HttpRequest], HttpResponse]


@dataclass(slots=True)
class HttpServer:
    """Listens on 127.0.0.1; `respond` responses each request on the event loop."""

    respond: Respond
    port: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen, and set `port` to the port in use."""
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=HEADER_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while (request := await _read(reader, writer)) is not None:
                response = self.respond(request)
                if response.seconds:
                    await asyncio.sleep(response.seconds)
                if not await _write(response, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or does not speak HTTP
        except asyncio.CancelledError:
            # The server stops. Streams of Python 3.11 would report a cancelled task as an error.
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpRequest | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    words = first.split(" ")
    length = headers.get("content-length", "0")
    if len(words) != 3 or not length.isdigit() or int(length) > BODY_BYTES:
        writer.write(
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        return None
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return HttpRequest(words[0], words[1], headers, await reader.readexactly(int(length)))


async def _write(
    response: HttpResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Return whether the connection can be used again."""
    if response.mode is ResponseMode.RESET:
        # SO_LINGER with 0 seconds makes close() send RST instead of FIN.
        line = writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if response.mode is ResponseMode.CLOSED:
        return False
    if response.mode is ResponseMode.HUNG:
        await reader.read()
        return False
    head = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
        "\r\n",
    ]
    writer.write("\r\n".join(head).encode() + response.body)
    await writer.drain()
    return True
