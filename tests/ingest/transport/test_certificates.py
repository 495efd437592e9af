"""Signing certificates: fetched one at a time, bounded in number, time and size."""

import datetime as dt
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sesight.domain.errors import Untrusted
from sesight.ingest.transport.certificates import (
    CACHE_SIZE,
    FAILURE_SECONDS,
    MAX_BYTES,
    CertificateNeeded,
    Certificates,
    CertificateUnavailable,
    get,
)

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-ab12.pem"


def certificate(key=None, begin: int = -30, end: int = 30) -> bytes:
    """Return a self-signed certificate in PEM, valid from and to so many days from NOW."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=begin))
        .not_valid_after(NOW + dt.timedelta(days=end))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def pem() -> bytes:
    """A good certificate."""
    return certificate()


class Fetch:
    """Stands for the network: counts, and can be told what to answer."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_fifty_that_need_one_certificate_at_once_fetch_it_once(pem) -> None:
    """All the others wait for the one fetch and then have the key."""
    at_once, most, calls = 0, 0, 0
    gate = threading.Barrier(50)

    def fetch(url: str) -> bytes:
        nonlocal at_once, most, calls
        at_once += 1
        calls += 1
        most = max(most, at_once)
        entered.set()
        others.wait(10)
        at_once -= 1
        return pem

    entered, others = threading.Event(), threading.Event()
    certificates = Certificates(fetch, lambda: NOW)
    keys = []

    def need() -> None:
        gate.wait(10)
        certificates.fetch(URL)
        keys.append(certificates.key(URL).public_numbers())

    threads = [threading.Thread(target=need) for _ in range(50)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    others.set()
    for thread in threads:
        thread.join(10)
    assert (len(keys), len(set(keys)), calls, most) == (50, 1, 1, 1)


def test_fetches_of_different_certificates_take_turns(pem) -> None:
    """However many are needed, the network sees one request at a time."""
    under_way, overlaps = threading.Lock(), []

    def fetch(url: str) -> bytes:
        alone = under_way.acquire(blocking=False)
        overlaps.append(not alone)
        threading.Event().wait(0.001)  # long enough for another thread to get in, if it could
        if alone:
            under_way.release()
        return pem

    certificates = Certificates(fetch, lambda: NOW)
    threads = [
        threading.Thread(target=certificates.fetch, args=(URL.replace("ab12", f"ab{n}"),))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert overlaps == [False] * 20


@pytest.mark.parametrize("answer", [OSError("no route"), ValueError("404"), b"no certificate"])
def test_a_failure_is_remembered_but_briefly(answer, pem) -> None:
    """A flood of forgeries costs one fetch; after that time a genuine certificate is had."""
    seconds = 100.0
    fetch = Fetch(answer)
    certificates = Certificates(fetch, lambda: NOW, lambda: seconds)
    for _ in range(3):
        with pytest.raises(CertificateUnavailable):
            certificates.fetch(URL)
    with pytest.raises(CertificateUnavailable):
        certificates.key(URL)
    assert len(fetch.asked) == 1
    seconds += FAILURE_SECONDS
    fetch.answer = pem
    with pytest.raises(CertificateNeeded):
        certificates.key(URL)
    certificates.fetch(URL)
    assert certificates.key(URL).key_size == 2048
    assert len(fetch.asked) == 2


def test_a_failure_of_one_address_is_not_held_against_another(pem) -> None:
    """Who forges with an address of its own making keeps nobody else out."""
    fetch = Fetch(OSError())
    certificates = Certificates(fetch, lambda: NOW)
    with pytest.raises(CertificateUnavailable):
        certificates.fetch(URL.replace("ab12", "forged"))
    fetch.answer = pem
    certificates.fetch(URL)
    assert certificates.key(URL)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: certificate(end=-1),
        lambda: certificate(begin=1),
        lambda: certificate(ec.generate_private_key(ec.SECP256R1())),
        lambda: certificate(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    ],
    ids=["expired", "not yet valid", "no RSA", "1,024 bits"],
)
def test_a_certificate_not_to_be_trusted_is_refused_for_one_fetch(wrong) -> None:
    """Out of date, without an RSA key or with a small one: refused, and not fetched each time."""
    fetch = Fetch(wrong())
    certificates = Certificates(fetch, lambda: NOW)
    for _ in range(3):
        with pytest.raises(Untrusted) as refused:
            certificates.fetch(URL)
        assert (refused.value.reason, refused.value.status) == ("certificate", 403)
    assert len(fetch.asked) == 1


def test_a_kept_certificate_is_fetched_anew_when_its_time_is_over(pem) -> None:
    """SNS renews its certificates under other addresses, but one of the past proves nothing."""
    now = NOW
    fetch = Fetch(pem)
    certificates = Certificates(fetch, lambda: now)
    certificates.fetch(URL)
    now += dt.timedelta(days=31)
    with pytest.raises(CertificateNeeded):
        certificates.key(URL)
    with pytest.raises(Untrusted):
        certificates.fetch(URL)


def test_no_more_than_so_many_certificates_and_failures_are_remembered(pem) -> None:
    """Addresses are the sender's to write: what they cost is bounded, the oldest goes first."""
    fetch = Fetch(pem)
    certificates = Certificates(fetch, lambda: NOW)
    urls = [URL.replace("ab12", f"n{n}") for n in range(CACHE_SIZE + 5)]
    for url in urls:
        certificates.fetch(url)
    needed = 0
    for url in urls:
        try:
            certificates.key(url)
        except CertificateNeeded:
            needed += 1
    assert needed == 5

    fetch.answer = OSError()
    failing = [URL.replace("ab12", f"f{n}") for n in range(CACHE_SIZE + 5)]
    for url in failing:
        with pytest.raises(CertificateUnavailable):
            certificates.fetch(url)
    with pytest.raises(CertificateNeeded):
        certificates.key(failing[4])
    with pytest.raises(CertificateUnavailable):
        certificates.key(failing[5])


# -- the fetch itself --------------------------------------------------------------------------------


@contextmanager
def answering(handler):
    """Serve GET by `handler(request)` on loopback; yield (fetch of a path, paths asked for)."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            handler(self)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            host = f"127.0.0.1:{server.server_port}"

            def fetch(path: str, seconds: float = 5.0) -> bytes:
                return get(
                    f"https://{host}{path}",
                    seconds,
                    lambda netloc, timeout: HTTPConnection(netloc, timeout=timeout),
                )

            yield fetch, asked
        finally:
            server.shutdown()
            thread.join()


def test_a_fetch_asks_for_path_and_query_and_returns_the_body() -> None:
    """The query matters: a subscription is confirmed by it."""

    def handler(request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"ok")

    with answering(handler) as (fetch, asked):
        assert fetch("/?Action=ConfirmSubscription&Token=t") == b"ok"
    assert asked == ["/?Action=ConfirmSubscription&Token=t"]


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500, 204])
def test_redirects_are_not_followed_and_other_answers_refused(status: int) -> None:
    """A redirect would lead away from the host that was checked."""

    def handler(request) -> None:
        request.send_response(status)
        request.send_header("Location", "/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with answering(handler) as (fetch, asked), pytest.raises(ValueError, match=str(status)):
        fetch("/a.pem")
    assert asked == ["/a.pem"]


@pytest.mark.parametrize("said", [True, False], ids=["with its length", "without its length"])
def test_an_answer_that_is_too_long_is_refused_and_not_read_to_the_end(said: bool) -> None:
    """16 KB are eight times SNS's certificate."""
    written = 0

    def handler(request) -> None:
        nonlocal written
        request.send_response(200)
        if said:
            request.send_header("Content-Length", str(100_000_000))
        request.end_headers()
        try:
            for _ in range(1_000):
                request.wfile.write(b"x" * 100_000)
                written += 100_000
        except OSError:
            pass

    with answering(handler) as (fetch, _), pytest.raises(ValueError, match="too much"):
        fetch("/a.pem")
    assert written < 100_000_000
    assert MAX_BYTES == 16_384


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_trickles_in_is_given_up(part: str) -> None:
    """A byte now and then is no progress: the time is for the whole fetch."""
    stop = threading.Event()

    def handler(request) -> None:
        if part == "body":
            request.send_response(200)
            request.end_headers()
        try:
            if part == "head":
                request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.02):
                request.wfile.write(b"x")
        except OSError:
            pass

    try:
        with answering(handler) as (fetch, _), pytest.raises(OSError, match="too slowly"):
            fetch("/a.pem", 0.3)
    finally:
        stop.set()


def test_an_answer_that_is_no_http_is_a_failure_to_be_had() -> None:
    """Whatever a host says, the fetch raises what its callers expect."""

    def handler(request) -> None:
        request.wfile.write(b"220 mail.example ESMTP\r\n")

    with answering(handler) as (fetch, _), pytest.raises(ConnectionError):
        fetch("/a.pem")


def test_a_host_that_does_not_answer_is_a_failure_to_be_had() -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        get(f"https://127.0.0.1:{port}/a.pem", 1.0)


def test_the_fetch_wants_verified_tls() -> None:
    """Plain HTTP on the other side is no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as held:

        def serve() -> None:
            connection, _ = held.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(OSError, match=r"(?i)ssl"):
            get(f"https://127.0.0.1:{held.getsockname()[1]}/a.pem", 5.0)
        thread.join(10)
