"""Signing certificates: fetched from SNS's own host, one at a time, kept by address."""

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
"""Bytes of a certificate or of a confirmation's answer; SNS's are about 2 KB."""

TIMEOUT = 5.0
"""Seconds for a connection, and for the whole answer on it."""

MAX_KEPT = 32
"""Certificates and failures remembered; SNS uses about one a region."""

FAILURE_SECONDS = 30.0
"""How long a failure is remembered, so that a flood of forgeries costs one fetch."""


class CertificateUnavailable(SesightError):
    """The certificate cannot be had now: the sender must try again."""


class CertificateNeeded(SesightError):
    """The certificate is not here yet: call `fetch` from where waiting hurts nobody."""


def _connection(host: str, seconds: float) -> HTTPConnection:
    return HTTPSConnection(host, timeout=seconds, context=ssl.create_default_context())


def get(
    url: str,
    seconds: float = TIMEOUT,
    connection_to: Callable[[str, float], HTTPConnection] = _connection,
) -> bytes:
    """Fetch a URL over verified TLS without following redirects.

    Raises OSError if it cannot be had now; ValueError for another status than 200, too long an
    answer or one that took too long in all.
    """
    parts = urlsplit(url)
    connection = connection_to(parts.netloc, seconds)
    try:
        connection.connect()
        with _watched(connection.sock, seconds) as late:
            path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            connection.request("GET", path)
            with connection.getresponse() as answer:
                if answer.status != 200:
                    raise ValueError(f"{parts.netloc} answered {answer.status}")
                body = answer.read(MAX_BYTES + 1)
            if late.is_set():
                raise TimeoutError(f"{parts.netloc} answered too slowly")
        if len(body) > MAX_BYTES:
            raise ValueError(f"{parts.netloc} answered too much")
        return body
    except HTTPException as error:
        raise ConnectionError(f"{parts.netloc} broke off: {error!r}") from None
    finally:
        connection.close()


@contextmanager
def _watched(sock: socket, seconds: float) -> Iterator[threading.Event]:
    """Cut a socket off after so long; its own timeout starts anew with every byte that comes."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            sock.shutdown(SHUT_RDWR)

    watch = threading.Timer(seconds, cut)
    watch.daemon = True
    watch.start()
    try:
        yield late
    finally:
        watch.cancel()


_NEVER: tuple[float, Callable[[], SesightError]] = (-inf, SesightError)


class Certificates:
    """Keys by certificate URL. `key` never waits; `fetch` does, and only one fetch at a time."""

    def __init__(
        self,
        fetch: Callable[[str], bytes],
        now: Callable[[], datetime],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Keep how to fetch a URL, how to tell the time (aware, for validity dates) and the seconds
        that failures are remembered by.
        """
        self._get = fetch
        self._now = now
        self._clock = clock
        self._kept: OrderedDict[str, tuple[RSAPublicKey, datetime]] = OrderedDict()
        self._failed: OrderedDict[str, tuple[float, Callable[[], SesightError]]] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, url: str) -> RSAPublicKey:
        """Return the key, if it was fetched. Raises CertificateNeeded; CertificateUnavailable or
        Untrusted if it was fetched in vain just now.
        """
        kept = self._kept.get(url)
        if kept is not None and kept[1] > self._now():
            return kept[0]
        until, why = self._failed.get(url, _NEVER)
        if until > self._clock():
            raise why()
        raise CertificateNeeded("The signing certificate is not here yet.")

    def fetch(self, url: str) -> None:
        """Fetch one certificate and keep its key. Raises CertificateUnavailable or Untrusted."""
        with self._lock:
            try:
                self.key(url)
            except CertificateNeeded:
                self._fetch(url)

    def _fetch(self, url: str) -> None:
        why: Callable[[], SesightError]
        try:
            self._kept[url] = read_certificate(self._get(url), self._now())
        except Untrusted as error:
            why = partial(Untrusted, error.reason, str(error), error.status)
        except (OSError, ValueError) as error:
            why = partial(CertificateUnavailable, f"The certificate cannot be had: {error}")
        else:
            self._failed.pop(url, None)
            _trim(self._kept)
            return
        self._failed.pop(url, None)
        self._failed[url] = self._clock() + FAILURE_SECONDS, why
        _trim(self._failed)
        raise why()


def read_certificate(pem: bytes, now: datetime) -> tuple[RSAPublicKey, datetime]:
    """Return a certificate's key and the end of its validity.

    Raises Untrusted for one that is out of date or holds no RSA key of 2,048 bits; ValueError for
    what is no certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise Untrusted("certificate", "The certificate holds no RSA key of 2,048 bits or more.")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise Untrusted("certificate", "The certificate is not valid now.")
    return key, certificate.not_valid_after_utc


def _trim(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > MAX_KEPT:
        kept.popitem(last=False)
