"""Connections that want too much: memory before any proof, or time of ours with no request in it."""

import json
import select
import socket
import sqlite3
import threading
import tomllib
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from sesight.server.connection import MAX_HEADERS, MAX_OVERHEAD
from tests.server.harness import EVENTS, PATIENCE, ask, read_all, request, running, say, until

LOOKUP = "/api/recipients/lookup"
LINK = "/unsubscribe/k1.x"
TOO_MANY = 30_000_000
"""Bytes of which a part stays in the buffers of both ends, and no part with a server that reads on."""


@pytest.fixture(scope="module")
def server(tmp_path_factory, signer):
    """One server for tests that leave nothing behind."""
    with running(tmp_path_factory.mktemp("connection"), signer) as server:
        yield server
        assert server.faults == ""


@contextmanager
def connected(port: int):
    """A connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        yield connection


def chunked(path: str = EVENTS, **headers: str) -> bytes:
    """The head of a request whose body comes in chunks, of which its own length is not said."""
    given = request(b"", path, transfer_encoding="chunked", **headers)
    return given.replace(b"content-length: 0\r\n", b"")


def statuses(said: bytes) -> list[int]:
    """The status of each answer."""
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


def problem_of(said: bytes) -> dict:
    """The problem that a connection ended with."""
    head, _, body = said.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json\r\n" in head + b"\r\n"
    assert b"connection: close" in head
    assert b"cache-control: no-store\r\n" in head + b"\r\n"
    return json.loads(body)


# -- memory ------------------------------------------------------------------------------------------

ENDLESS = {
    "headers": (lambda path: request(b"", path)[:-2], b"x-filler: %b\r\n" % (b"x" * 1_000)),
    "small-headers": (lambda path: request(b"", path)[:-2], b"a:\r\n" * 250),
    "a-header": (lambda path: request(b"", path)[:-2] + b"x: ", b"x" * 1_000),
    "a-header-name": (lambda path: request(b"", path)[:-2], b"x" * 1_000),
    "an-address": (lambda path: f"POST {path}?".encode(), b"x" * 1_000),
    "trailers": (lambda path: chunked(path) + b"0\r\n", b"x-filler: %b\r\n" % (b"x" * 1_000)),
    "trailers-after-a-body": (
        lambda path: chunked(path) + b"5\r\nhello\r\n0\r\n",
        b"x-filler: %b\r\n" % (b"x" * 1_000),
    ),
    "small-trailers": (lambda path: chunked(path) + b"0\r\n", b"a:\r\n" * 250),
    "a-trailer": (lambda path: chunked(path) + b"0\r\nx: ", b"x" * 1_000),
    "a-chunk-extension": (lambda path: chunked(path) + b"1;", b"x" * 1_000),
    "chunk-extensions": (chunked, b"1;%b\r\nx\r\n" % (b"x" * 1_000)),
    "a-chunk-size": (chunked, b"0" * 1_000),
    "line-ends": (lambda _: b"", b"\r\n" * 500),
}


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("listener", ["api", "public"])
def test_what_has_no_end_beside_a_body_is_cut_off(server, listener, what) -> None:
    """On both listeners and every kind of route, before any proof: what a client can make a server keep
    is bounded, and so is what it can make it read.
    """
    begin, more = ENDLESS[what]
    for path in (EVENTS, LOOKUP, "/api/health") if listener == "api" else (EVENTS, LINK, "/health"):
        with connected(server.port if listener == "api" else server.public) as connection:
            say(connection, begin(path))
            sent = 0
            while sent < TOO_MANY and say(connection, more):
                sent += len(more)
        assert sent < TOO_MANY, path


@pytest.mark.parametrize(
    "begin",
    [
        request(b"", EVENTS)[:-2] + b"x: ",
        request(b"", LOOKUP)[:-2] + b"x: ",
        chunked(EVENTS) + b"0\r\nx: ",
        chunked(LOOKUP, content_type="application/json") + b"0\r\nx: ",
        chunked(EVENTS) + b"1;",
    ],
    ids=["head", "head-of-the-api", "trailer", "trailer-of-the-api", "chunk-extension"],
)
def test_it_is_told_why(server, begin) -> None:
    """431, as a problem, and the connection is closed; up to the bound all is well."""
    with connected(server.port) as connection:
        connection.sendall(begin + b"x" * (MAX_OVERHEAD - len(begin) + 1))
        said = read_all(connection)
    assert statuses(said) == [431]
    problem = problem_of(said)
    assert (problem["type"], problem["reason"]) == ("too-large", "head-too-large")
    filler = "x" * (MAX_OVERHEAD - 1_000)
    assert server.get("/api/health", x_filler=filler).status == 200


def test_headers_are_counted(server) -> None:
    """Each takes more room than its bytes."""
    few, many = (
        request(b"", "/api/health", "GET", **{f"x-{n}": "" for n in range(count - 2)})
        for count in (MAX_HEADERS, MAX_HEADERS + 1)
    )
    assert ask(server.port, few).status == 200
    with connected(server.port) as connection:
        connection.sendall(many)
        said = read_all(connection)
    assert (statuses(said), problem_of(said)["reason"]) == ([431], "head-too-large")


def test_a_body_in_the_smallest_chunks_is_read(server, signer, traffic) -> None:
    """What chunks need by themselves is nothing beside a body, however small they are."""
    body = traffic.notifications[0] + b" " * 100_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with connected(server.port) as connection:
        connection.sendall(chunked(connection="close") + chunks + b"0\r\n\r\n")
        assert statuses(read_all(connection)) == [200]


def test_trailers_are_no_headers(server, traffic) -> None:
    """They come after what headers are held against: neither this request has them, nor the next."""
    body = traffic.notifications[0]
    whole = b"%x\r\n%b\r\n0\r\nx-amz-sns-message-type: Other\r\nhost: evil.example\r\n\r\n"
    asked = [
        chunked() + whole % (len(body), body),
        request(body),
        chunked("/api/health").replace(b"POST", b"GET") + whole % (1, b"x"),
        request(b"", "/api/health", "GET", connection="close"),
    ]
    with connected(server.port) as connection:
        connection.sendall(b"".join(asked))
        assert statuses(read_all(connection)) == [200] * 4


def test_requests_ahead_of_answers_are_read_a_few_at_a_time(server) -> None:
    """A hundred thousand at once, of thirty bytes each, are answered in their order."""
    count = 20_000
    few = b"GET /health HTTP/1.1\r\n\r\n" * (count - 1)
    last = request(b"", "/unsubscribe/k1.x", "GET", connection="close")
    with connected(server.public) as connection:
        talker = threading.Thread(target=say, args=(connection, few + last))
        talker.start()
        said = statuses(read_all(connection))
        talker.join(PATIENCE)
    assert said == [200] * (count - 1) + [404]


@pytest.mark.parametrize("path", [EVENTS, "/health"])
def test_who_asks_and_takes_no_answer_is_heard_no_further(tmp_path, signer, path) -> None:
    """Answers that nobody takes are kept for a while, and then with their connection no more."""
    few = request(b"", path, "POST" if path == EVENTS else "GET") * 1_000
    with running(tmp_path, signer, stall_seconds=0.5) as server:
        with connected(server.public) as connection:
            sent = 0
            while sent < TOO_MANY and say(connection, few):
                sent += len(few)
        assert sent < TOO_MANY
        assert server.get("/api/health").status == 200


def test_bodies_on_their_way_have_so_much_room_together(tmp_path, signer) -> None:
    """Where more is kept than that, who has been on the way for longest makes room."""
    asked = request(b"x" * 60_000)
    few = {"request_seconds": 3600, "buffered_bytes": 300_000}
    with running(tmp_path, signer, **few) as server, ExitStack() as held:
        lines = [held.enter_context(connected(server.public)) for _ in range(10)]
        for line in lines:
            line.sendall(asked[:-1])
            assert ask(server.public, request(b"", "/health", "GET")).status == 200
        for line in lines[:5]:
            assert read_all(line) == b""
        for line in lines[-4:]:
            line.sendall(asked[-1:])
            line.shutdown(socket.SHUT_WR)
            assert statuses(read_all(line)) == [400]


# -- time --------------------------------------------------------------------------------------------


def gone(connection: socket.socket) -> bool:
    """Whether the other side has cut a connection off, without reading from it."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))  # hanging up is said always


def test_an_answer_that_is_not_taken_is_cut_off(tmp_path, signer) -> None:
    """Who asks for much and reads nothing of it holds neither a connection nor the answer for ever;
    who takes it at last, if slowly, gets all of it.
    """
    asked = request(b"", "/api/openapi.json", "GET")
    with running(tmp_path, signer, stall_seconds=1) as server:
        whole = len(server.get("/api/openapi.json").body)
        with connected(server.port) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            say(connection, asked * 100)
            until(lambda: gone(connection), "the end of the connection")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.settimeout(PATIENCE)
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(asked * 19 + request(b"", "/api/openapi.json", "GET", connection="close"))
            said = read_all(slow)
        assert statuses(said) == [200] * 20
        assert len(said) > 20 * whole
        assert server.faults == ""


AFTERWARDS = {
    "silence": lambda connection, stop: stop.wait(PATIENCE),
    "a-line-end": lambda connection, stop: say(connection, b"\r\n") and stop.wait(PATIENCE),
    "line-ends": lambda connection, stop: keep_saying(connection, stop, b"\r\n"),
}


def keep_saying(connection: socket.socket, stop: threading.Event, data: bytes) -> None:
    """Say something now and then."""
    while say(connection, data) and not stop.wait(0.02):
        pass


@pytest.mark.parametrize("afterwards", AFTERWARDS)
def test_a_connection_without_a_request_ends(tmp_path, signer, afterwards) -> None:
    """After an answer, whatever comes that is no request, on both listeners and of every kind: the time
    to begin another passes, and five thousand of them keep nobody out.
    """
    early = request(b"x" * 10, "/api/nothing", content_length="2000000")
    with running(tmp_path, signer, idle_seconds=0.5) as server:
        for port, asked in (
            (server.public, request(b"{}")),
            (server.public, request(b"", "/health", "GET")),
            (server.port, request(b"", "/api/health", "GET")),
            (server.port, request(b"", "/", "OPTIONS")),
            (server.port, early + b"x" * 1_999_990),
        ):
            with connected(port) as connection:
                say(connection, asked)
                stop = threading.Event()
                talker = threading.Thread(target=AFTERWARDS[afterwards], args=(connection, stop))
                talker.start()
                said = read_all(connection)
                stop.set()
                talker.join(PATIENCE)
            assert len(statuses(said)) == 1
        assert server.get("/api/health").status == 200


def test_a_request_in_progress_waits_for_as_long_as_it_takes(tmp_path, signer, traffic) -> None:
    """The times are for clients: who waits for us is not cut off, nor is what was asked meanwhile."""
    asked = request(traffic.notifications[0]) + request(
        b"", "/api/health", "GET", connection="close"
    )
    few = {"request_seconds": 1, "idle_seconds": 1}
    with (
        running(tmp_path, signer, store="busy_timeout_ms = 60000", **few) as server,
        connected(server.port) as connection,
        connected(server.public) as silent,
    ):
        with closing(sqlite3.connect(server.database, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            connection.sendall(asked)
            assert read_all(silent) == b""
            with connected(server.public) as idle:
                say(idle, request(b"{}"))
                assert statuses(read_all(idle)) == [400]
            lock.execute("ROLLBACK")
        assert statuses(read_all(connection)) == [200, 200]


def test_who_comes_to_a_full_listener_takes_the_place_of_who_waited_longest(
    tmp_path, signer, traffic
) -> None:
    """With room for 50, 300 silent connections, such as had an answer, and such as began another request
    before they had it keep out nobody: not on the public listener, where they are, and not elsewhere.
    """
    few = "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))"
    ever = {"request_seconds": 3600, "idle_seconds": 3600}
    with running(tmp_path, signer, before=few, **ever) as server, ExitStack() as flood:
        clients = []
        for n in range(300):
            client = flood.enter_context(
                socket.create_connection(("127.0.0.1", server.public), PATIENCE)
            )
            if n % 2:
                client.sendall(request(b"", "/health", "GET") + b"G" * (n % 4 == 1))
                assert client.recv(1_000)
            clients.append(client)
        for client in clients[:250]:
            assert read_all(client) == b""
        for notification in traffic.notifications[:40]:
            assert ask(server.public, request(notification)).status == 200
        assert server.post(traffic.notifications[40:80], connections=4).statuses == {200: 40}
        assert server.get("/api/campaigns").status == 200
        assert server.faults == ""


# -- what is no HTTP ---------------------------------------------------------------------------------

SMUGGLED = request(b"", "/api/health", "GET")
MALFORMED = {
    "tls": b"\x16\x03\x01\x02\x00\x01\xff\x00",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no-version": b"GET /\r\n\r\n",
    "another-version": b"GET / HTTP/2.0\r\nhost: localhost\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
    "method": b"FETCH / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "address": b"GET http:// HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "no-path": b"POST http://localhost HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "letters": b"GET /\xc3\xa9 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "no-colon": b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
    "space-before-colon": b"GET / HTTP/1.1\r\nhost : localhost\r\n\r\n",
    "nul": b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
    "bare-cr": b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\rb: c\r\n\r\n",
    "two-lengths": request(b"", EVENTS)[:-2] + b"content-length: 5\r\n\r\n",
    "length": request(b"", EVENTS, content_length="+5"),
    "length-list": request(b"", EVENTS, content_length="5, 5"),
    "length-overflow": request(b"", EVENTS, content_length="99999999999999999999999"),
    "length-and-chunks": request(b"", EVENTS, transfer_encoding="chunked"),
    "chunks-not-last": chunked().replace(b"chunked", b"chunked, identity"),
    "chunk-size": chunked() + b"zz\r\n",
    "chunk-size-sign": chunked() + b"-1\r\n",
    "chunk-size-overflow": chunked() + b"fffffffffffffffff\r\n",
    "chunk-end": chunked() + b"1\r\nxx\r\n",
    "chunk-of-the-api": chunked(LOOKUP, content_type="application/json") + b"1\r\nxx\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_http_is_told_so_as_a_problem(server, what) -> None:
    """400 once, and the connection is closed: nothing after it is taken for a request."""
    for port in (server.port, server.public):
        with connected(port) as connection:
            connection.sendall(MALFORMED[what] + SMUGGLED)
            said = read_all(connection)
        assert statuses(said) == [400]
        problem = problem_of(said)
        assert (problem["type"], problem["reason"]) == ("bad-request", "malformed-http")
        assert problem["requestId"]


@pytest.mark.parametrize("broken", [b"\x16\x03\x01\r\n\r\n", chunked() + b"zz\r\n"])
def test_it_has_its_turn_among_what_was_asked_before(server, traffic, broken) -> None:
    """Answers keep their order: a proxy would take a 400 that overtakes for the answer to another."""
    asked = [
        request(traffic.notifications[0]),
        request(b"", "/api/overview", "GET"),
        request(traffic.notifications[1]),
        broken,
    ]
    with connected(server.port) as connection:
        connection.sendall(b"".join(asked) + SMUGGLED)
        said = read_all(connection)
    assert statuses(said) == [200, 200, 200, 400]
    assert problem_of(said)["reason"] == "malformed-http"


def test_an_offer_to_speak_another_protocol_is_not_taken_up(server, traffic) -> None:
    """A request with one is answered as it is, and so is the next. With a body it is refused: where that
    body ends and the next request begins the parser does not say.
    """
    upgrade = {"upgrade": "h2c", "connection": "Upgrade, HTTP2-Settings", "http2_settings": "AAA"}
    given = request(b"", "/api/health", "GET").replace(b"content-length: 0\r\n", b"")
    offers = [
        given[:-2] + b"".join(f"{n}: {v}\r\n".encode() for n, v in each.items()) + b"\r\n"
        for each in (upgrade, {"upgrade": "websocket", "connection": "upgrade"})
    ]
    with connected(server.port) as connection:
        connection.sendall(b"".join(offers) + request(traffic.notifications[1], connection="close"))
        assert statuses(read_all(connection)) == [200] * 3
    for path in (EVENTS, LOOKUP, "/unsubscribe/k1.x"):
        with connected(server.port) as connection:
            connection.sendall(request(b"", path, content_length=str(len(SMUGGLED)), **upgrade))
            say(connection, SMUGGLED)
            assert statuses(read_all(connection)) == [400]


# -- clients that hang up ----------------------------------------------------------------------------


def test_who_hangs_up_costs_no_trace(tmp_path, signer, traffic) -> None:
    """In the middle of a body, before an answer, within one, with more behind it: nothing is logged."""
    lookup = {"content_type": "application/json"}
    half = request(b'{"address"', LOOKUP, content_length="100", **lookup)
    with running(tmp_path, signer) as server:
        for said in (
            half,
            half * 2,
            chunked(LOOKUP, **lookup) + b"5\r\nhe",
            request(b"", "/api/overview", "GET"),
            request(b"", "/api/openapi.json", "GET") * 200,
            request(traffic.notifications[0]) * 3 + request(b"", "/api/overview", "GET") * 3,
            request(b"", "/api/health", "GET", expect="100-continue", content_length="5"),
            request(b"", LOOKUP, expect="100-continue", content_length="5", **lookup),
        ):
            for reset in (False, True):
                with connected(server.port) as connection:
                    if reset:
                        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    connection.sendall(said)
            assert server.get("/api/health").status == 200
        until(lambda: server.metrics()["sesight_queue_depth",] == 0, "what was under way")
        server.stop()
        assert server.faults == ""


def test_uvicorn_is_pinned_exactly() -> None:
    """pyproject.toml pins the installed uvicorn exactly, since connections build on its internals."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert f"uvicorn=={version('uvicorn')}" in project["project"]["dependencies"]
