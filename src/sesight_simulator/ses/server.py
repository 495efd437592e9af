"""The HTTP of the simulated SES: HTTP/1.1 on loopback, with ways to answer that no framework has."""

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
"""40 MB of message, its bytes in base64."""


class Manner(Enum):
    """How an answer is given."""

    PLAIN = "plain"
    RESET = "reset"
    """Not at all: the connection is reset."""
    CLOSED = "closed"
    """Not at all: the connection is closed."""
    HUNG = "hung"
    """Not at all: the connection stays open until the caller closes it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and how."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    manner: Manner = Manner.PLAIN
    seconds: float = 0.0
    """How long it is held back."""
    content_type: str = "application/json"


Respond = Callable[[Request], Answer]


@dataclass(slots=True)
class Server:
    """Listens on 127.0.0.1; each request is answered by `respond`, on the loop."""

    respond: Respond
    port: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; `port` is then the one in use."""
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=HEADER_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and end all connections."""
        if self._server is not None:
            self._server.close()
        for each in self._connections:
            each.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while (request := await _read(reader, writer)) is not None:
                answer = self.respond(request)
                if answer.seconds:
                    await asyncio.sleep(answer.seconds)
                if not await _give(answer, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the caller went away or speaks no HTTP
        except asyncio.CancelledError:
            # the server stops; streams of Python 3.11 would report a task that ends as cancelled
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
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
    return Request(words[0], words[1], headers, await reader.readexactly(int(length)))


async def _give(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection may be used again."""
    if answer.manner is Manner.RESET:
        # closing with no time to linger sends RST instead of FIN
        line = writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if answer.manner is Manner.CLOSED:
        return False
    if answer.manner is Manner.HUNG:
        await reader.read()
        return False
    head = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        *(f"{name}: {value}" for name, value in answer.headers),
        "\r\n",
    ]
    writer.write("\r\n".join(head).encode() + answer.body)
    await writer.drain()
    return True
