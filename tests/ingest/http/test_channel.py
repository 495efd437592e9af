"""The channel between the server and the commit process: whole messages, and a clear end."""

import asyncio
from socket import socketpair

import pytest

from sesight.ingest.http.channel import ProcessChannel, ServerChannel


@pytest.mark.parametrize("message", [b"", b"a", b"x" * 300_000], ids=len)
def test_messages_arrive_whole(message: bytes) -> None:
    """A message of any size, also an empty one or one larger than a socket's buffer, comes back whole."""
    ours, theirs = socketpair()
    other_end = ProcessChannel(theirs)

    def echo() -> bytes | None:
        received = other_end.receive()
        assert received is not None
        other_end.send(received)
        return received

    async def exchange() -> tuple[bytes | None, bytes | None]:
        channel = await ServerChannel.open(ours)
        channel.send(message)
        echoed = await asyncio.gather(asyncio.to_thread(echo), channel.receive())
        channel.close()
        return echoed[0], echoed[1]

    assert asyncio.run(exchange()) == (message, message)
    other_end.close()


def test_server_sees_the_end() -> None:
    """When the process closes its end, even in the middle of a message, the server receives None."""
    ours, theirs = socketpair()
    theirs.sendall(b"\x00\x00\x00\x09half")
    theirs.close()

    async def receive() -> bytes | None:
        channel = await ServerChannel.open(ours)
        message = await channel.receive()
        channel.close()
        return message

    assert asyncio.run(receive()) is None


def test_process_sees_the_end() -> None:
    """When the server closes its end, the process receives None and cannot send any more."""
    ours, theirs = socketpair()
    ours.sendall(b"\x00\x00\x00\x09half")
    ours.close()
    channel = ProcessChannel(theirs)

    assert (channel.receive(), channel.send(b"late")) == (None, False)
    channel.close()
