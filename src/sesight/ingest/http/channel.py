"""The channel between the server and the commit process: messages over a pair of sockets.

Each message is preceded by its length in 4 bytes. Either process ends when the other closes its socket.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from socket import socket

_LENGTH = 4


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH) + message


class ServerChannel:
    """The server's end, on its event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket) -> Self:
        """Return a channel over a connected socket."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, message: bytes) -> None:
        """Send a message as soon as the socket accepts it."""
        self._writer.write(_framed(message))

    async def receive(self) -> bytes | None:
        """Return the next message, None once the other end is closed."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH))
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None

    def close(self) -> None:
        """Close this end, once everything is sent."""
        self._writer.close()


class ProcessChannel:
    """The commit process's end, which blocks."""

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")

    def receive(self) -> bytes | None:
        """Return the next message, None once the other end is closed."""
        try:
            head = self._file.read(_LENGTH)
            length = int.from_bytes(head)
            message = self._file.read(length)
        except OSError:
            return None
        return message if len(head) == _LENGTH and len(message) == length else None

    def send(self, message: bytes) -> bool:
        """Send a message; return whether the other end is still open."""
        try:
            self._socket.sendall(_framed(message))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close this end."""
        self._file.close()
        self._socket.close()
