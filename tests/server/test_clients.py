"""Clients that are slow, silent, garbled or endless: they get their answer, the others do not wait."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from sesight.ingest.transport.sns import MAX_BODY
from tests.server.harness import PATIENCE, Line, read_all, request, running, say, until


@contextmanager
def doing(act, port: int):
    """Run `act(socket, stop)` on a connection of its own for the length of a block."""
    stop = threading.Event()

    def run() -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            begun.set()
            act(connection, stop)

    begun = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(PATIENCE)
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def silent(connection, stop) -> None:
    """Connect and say nothing."""
    stop.wait(PATIENCE)


def slow_head(connection, stop) -> None:
    """Say the head one byte now and then."""
    say(connection, b"POST /api/ses/events HTTP/1.1\r\nx-filler: ")
    while not stop.wait(0.02) and say(connection, b"x"):
        pass


def slow_body(connection, stop) -> None:
    """Say the body one byte now and then."""
    say(connection, request(b"", content_length="4000"))
    while not stop.wait(0.02) and say(connection, b"x"):
        pass


def garbage(connection, stop) -> None:
    """Say what is no HTTP, again and again on new connections."""
    while not stop.wait(0.005):
        with socket.create_connection(connection.getpeername(), PATIENCE) as another:
            say(another, b"\x16\x03\x01\x02\x00\x01\xff\x00SSH-2.0-\r\n\r\n\x00" * 50)


def endless_body(connection, stop) -> None:
    """Open a body of 10 MB and send it until nobody wants it."""
    while not stop.is_set():
        with socket.create_connection(connection.getpeername(), PATIENCE) as another:
            say(another, request(b"", content_length="10000000"))
            while not stop.is_set() and say(another, b"x" * 10_000):
                pass


def test_bad_clients_do_not_stop_a_good_one(server, traffic) -> None:
    """200 posts all get 200 while six others misbehave on both listeners."""
    with (
        doing(silent, server.port),
        doing(silent, server.public),
        doing(slow_head, server.port),
        doing(slow_body, server.port),
        doing(garbage, server.port),
        doing(endless_body, server.port),
    ):
        assert server.post(traffic.notifications[:200], connections=1).statuses == {200: 200}
    assert server.faults == ""


def test_a_body_said_to_be_too_large_gets_413_before_any_of_it_is_sent(server) -> None:
    """The length is enough to know."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(request(b"", content_length="10000000", expect="100-continue"))
        said = read_all(connection)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in said
    assert b"100 Continue" not in said
    assert server.refusals() == {("too-large", 413): 1}


def test_a_body_that_grows_too_large_gets_413_before_its_end(server) -> None:
    """Chunked: its length shows only as it comes. The rest is not read."""
    chunk = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
    head = request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(head)
        sent = 0
        while sent < 100_000_000 and say(connection, chunk):
            sent += 50_000
        assert sent < 100_000_000
    assert until(server.refusals, "a refusal") == {("too-large", 413): 1}


def test_the_largest_body_there_can_be_is_read(server) -> None:
    """At the bound it is not JSON, beyond it too large."""
    refused = server.post([b"x" * MAX_BODY, b"x" * (MAX_BODY + 1)], connections=1).refused
    assert [(answer.status, answer.reason) for _, answer in sorted(refused.items())] == [
        (400, "not-json"),
        (413, "too-large"),
    ]


def test_a_request_whose_sender_leaves_is_counted_and_taken_by_nobody(server, traffic) -> None:
    """Half a notification is nothing that could be understood."""
    whole = request(traffic.notifications[0])
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(whole[: len(whole) // 2])
    assert until(server.refusals, "a count") == {("incomplete", 408): 1}
    assert server.holds().records == {}


@pytest.mark.parametrize("client", [silent, slow_head, slow_body])
def test_who_does_not_get_to_the_end_of_a_request_is_cut_off(tmp_path, signer, client) -> None:
    """Connections are bounded in time, so that they cannot be used up."""
    with running(tmp_path, signer, request_seconds=0.5) as server:
        closed = threading.Event()

        def act(connection, stop) -> None:
            connection.settimeout(PATIENCE)
            talker = threading.Thread(target=client, args=(connection, stop))
            talker.start()
            try:
                assert read_all(connection) == b""
                closed.set()
            finally:
                stop.set()
                talker.join()

        with doing(act, server.public):
            assert closed.wait(PATIENCE)
        assert server.get("/api/health").status == 200


def test_requests_sent_at_once_are_answered_in_their_order(server, traffic) -> None:
    """On one connection, before any answer: notifications that wait for the writer, ones refused
    at once, and questions to the API.
    """
    asked = [
        *(request(notification) for notification in traffic.notifications[:3]),
        request(b"{}"),
        request(b"", "/api/health", "GET"),
        request(traffic.notifications[3]),
        request(b"not JSON"),
        request(b"", "/api/nothing", "GET"),
        *(request(b"") for _ in range(2_000)),
        request(traffic.notifications[4], connection="close"),
    ]
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(b"".join(asked))
        said = read_all(connection)
    statuses = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
    assert statuses[:8] == [200, 200, 200, 400, 200, 200, 400, 404]
    assert statuses[8:] == [400] * 2_000 + [200]
    held = server.holds()
    assert all(held.has(body) for body in traffic.bodies[:5])
    assert server.faults == ""


def test_who_asks_before_sending_a_body_is_told_to_go_on(server, traffic) -> None:
    """Expect: 100-continue; then the answer."""
    whole = request(traffic.notifications[0], expect="100-continue", connection="close")
    head, _, body = whole.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_of_the_old_protocol_is_answered_and_let_go(server, traffic) -> None:
    """HTTP/1.0, and HTTP/1.1 that asks for the end: the connection is closed after the answer."""
    old = request(traffic.notifications[0]).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    for asked in (old, request(traffic.notifications[1], connection="close")):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
            connection.sendall(asked)
            said = read_all(connection)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in said


def test_a_connection_is_kept_for_the_next_request(tmp_path, signer, traffic) -> None:
    """SNS reuses connections; the time allowed is for a request, not for a connection."""
    import asyncio

    async def talk(port: int) -> list[int]:
        line = Line(port)
        statuses = [(await line.ask(request(traffic.notifications[0]))).status]
        until_when = time.monotonic() + 2.5
        for notification in traffic.notifications:
            statuses.append((await line.ask(request(notification))).status)
            assert line.writer is not None
            if time.monotonic() > until_when:
                break
            await asyncio.sleep(0.1)
        line.close()
        return statuses

    with running(tmp_path, signer, request_seconds=0.5) as server:
        statuses = asyncio.run(talk(server.port))
    assert len(statuses) > 3
    assert set(statuses) == {200}
