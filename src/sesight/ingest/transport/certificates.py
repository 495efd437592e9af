"""SNS signing certificates: fetched one at a time and cached by URL."""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from math import inf
from socket import SHUT_RDWR, socket
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sesight.domain.errors import SesightError, Untrusted

if TYPE_CHECKING:
    from datetime import datetime

MAX_BYTES = 16_384
"""Bytes of a certificate or of the answer to a confirmation. SNS's are about 2 KB."""

TIMEOUT = 5.0
"""Seconds to connect, and for the whole answer."""

CACHE_SIZE = 32
"""Certificates and failures that are cached. SNS uses about one certificate in each region."""

FAILURE_SECONDS = 30.0
"""How long a failure is cached, so that a flood of forgeries causes one fetch."""


class CertificateUnavailable(SesightError):
    """The certificate cannot be fetched now: the sender must retry."""


class CertificateNeeded(SesightError):
    """The certificate is not cached: call `fetch`, from a thread that may block."""


def _connection(host: str, seconds: float) -> HTTPConnection:
    return HTTPSConnection(host, timeout=seconds, context=ssl.create_default_context())


def get(
    url: str,
    seconds: float = TIMEOUT,
    connection_to: Callable[[str, float], HTTPConnection] = _connection,
) -> bytes:
    """Fetch a URL over verified TLS, without following redirects.

    Raises OSError if the host cannot be reached or answers too slowly, ValueError for a status other
    than 200 and for too long an answer.
    """
    parts = urlsplit(url)
    connection = connection_to(parts.netloc, seconds)
    try:
        connection.connect()
        with _deadline(connection.sock, seconds, parts.netloc):
            path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            connection.request("GET", path)
            with connection.getresponse() as answer:
                if answer.status != 200:
                    raise ValueError(f"{parts.netloc} answered {answer.status}")
                body = answer.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise ValueError(f"{parts.netloc} answered too much")
        return body
    except HTTPException as error:
        raise ConnectionError(f"{parts.netloc} broke off: {error!r}") from None
    finally:
        connection.close()


@contextmanager
def _deadline(sock: socket, seconds: float, host: str) -> Iterator[None]:
    """Shut a socket down after a time: its own timeout starts again with every byte received.

    Raises TimeoutError if the time has passed at the end.
    """
    passed = threading.Event()

    def shut_down() -> None:
        passed.set()
        with suppress(OSError):
            sock.shutdown(SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        # a socket that is shut down ends its reader with a short answer, or an error of any kind
        if not passed.is_set():
            raise
    finally:
        timer.cancel()
    if passed.is_set():
        raise TimeoutError(f"{host} answered too slowly")


_NEVER: tuple[float, Callable[[], SesightError]] = (-inf, SesightError)


class Certificates:
    """A cache of public keys by certificate URL. `key` never blocks; `fetch` does, one at a time."""

    def __init__(
        self,
        fetch: Callable[[str], bytes],
        now: Callable[[], datetime],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`now` returns the time for validity dates, `clock` the seconds for cached failures."""
        self._get = fetch
        self._now = now
        self._clock = clock
        self._keys: OrderedDict[str, tuple[RSAPublicKey, datetime]] = OrderedDict()
        self._failed: OrderedDict[str, tuple[float, Callable[[], SesightError]]] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, url: str) -> RSAPublicKey:
        """Return a cached key. Raises CertificateNeeded, or CertificateUnavailable or Untrusted if a fetch
        has just failed with it.
        """
        cached = self._keys.get(url)
        if cached is not None and cached[1] > self._now():
            return cached[0]
        until, make_error = self._failed.get(url, _NEVER)
        if until > self._clock():
            raise make_error()
        raise CertificateNeeded("The signing certificate is not cached.")

    def fetch(self, url: str) -> None:
        """Fetch a certificate and cache its key. Raises CertificateUnavailable or Untrusted."""
        with self._lock:
            try:
                self.key(url)
            except CertificateNeeded:
                self._fetch(url)

    def _fetch(self, url: str) -> None:
        make_error: Callable[[], SesightError]
        try:
            self._keys[url] = read_certificate(self._get(url), self._now())
        except Untrusted as error:
            make_error = partial(Untrusted, error.reason, str(error), error.status)
        except (OSError, ValueError) as error:
            make_error = partial(
                CertificateUnavailable, f"The certificate cannot be fetched: {error}"
            )
        else:
            self._failed.pop(url, None)
            _trim(self._keys)
            return
        self._failed.pop(url, None)
        self._failed[url] = self._clock() + FAILURE_SECONDS, make_error
        _trim(self._failed)
        raise make_error()


def read_certificate(pem: bytes, now: datetime) -> tuple[RSAPublicKey, datetime]:
    """Return a certificate's key and the end of its validity.

    Raises Untrusted if the certificate is not valid now or its key is not RSA of 2,048 bits or more, and
    ValueError if the bytes are not a certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise Untrusted("certificate", "The certificate has no RSA key of 2,048 bits or more.")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise Untrusted("certificate", "The certificate is not valid now.")
    return key, certificate.not_valid_after_utc


def _trim(cache: OrderedDict[str, Any]) -> None:
    while len(cache) > CACHE_SIZE:
        cache.popitem(last=False)
