"""Signing certificates: fetched from SNS's own host, one at a time, kept by address."""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict
from http.client import HTTPException, HTTPSConnection
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sesight.domain.errors import SesightError, Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

MAX_BYTES = 16_384
"""Bytes of a certificate or of a confirmation's answer; SNS's are about 2 KB."""

TIMEOUT = 5.0
"""Seconds for a whole fetch."""

MAX_KEPT = 32
"""Certificates and failures remembered; SNS uses about one a region."""

FAILURE_SECONDS = 30.0
"""How long a failure is remembered, so that a flood of forgeries costs one fetch."""


class CertificateUnavailable(SesightError):
    """The certificate cannot be had now: the sender must try again."""


class CertificateNeeded(SesightError):
    """The certificate is not here yet: call `fetch` from where waiting hurts nobody."""


def get(url: str) -> bytes:
    """Fetch a URL over verified TLS without following redirects.

    Raises OSError or HTTPException; ValueError for another status than 200 or too long an answer.
    """
    parts = urlsplit(url)
    deadline = monotonic() + TIMEOUT
    connection = HTTPSConnection(
        parts.netloc, timeout=TIMEOUT, context=ssl.create_default_context()
    )
    try:
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{parts.netloc} answered {answer.status}")
        body = b""
        while chunk := answer.read1(MAX_BYTES + 1 - len(body)):
            body += chunk
            if len(body) > MAX_BYTES or monotonic() > deadline:
                raise ValueError(f"{parts.netloc} answered too much or too slowly")
        return body
    finally:
        connection.close()


class Certificates:
    """Keys by certificate URL. `key` never waits; `fetch` does, and only one fetch at a time."""

    def __init__(self, fetch: Callable[[str], bytes], now: Callable[[], datetime]) -> None:
        """Keep how to fetch a URL and how to tell the time (aware, for validity dates)."""
        self._get = fetch
        self._now = now
        self._kept: OrderedDict[str, tuple[RSAPublicKey, datetime]] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, url: str) -> RSAPublicKey:
        """Return the key, if it was fetched. Raises CertificateNeeded or CertificateUnavailable."""
        kept = self._kept.get(url)
        if kept is not None and kept[1] > self._now():
            return kept[0]
        failed = self._failed.get(url)
        if failed is not None and failed > monotonic():
            raise CertificateUnavailable("The signing certificate could not be fetched just now.")
        raise CertificateNeeded("The signing certificate is not here yet.")

    def fetch(self, url: str) -> None:
        """Fetch one certificate and keep its key. Raises CertificateUnavailable or Untrusted."""
        with self._lock:
            try:
                self.key(url)
            except CertificateNeeded:
                self._fetch(url)

    def _fetch(self, url: str) -> None:
        try:
            key, until = read_certificate(self._get(url), self._now())
        except (OSError, HTTPException, ValueError) as error:
            self._failed[url] = monotonic() + FAILURE_SECONDS
            _trim(self._failed)
            raise CertificateUnavailable(
                f"The signing certificate cannot be had: {error}"
            ) from None
        self._kept[url] = key, until
        _trim(self._kept)


def read_certificate(pem: bytes, now: datetime) -> tuple[RSAPublicKey, datetime]:
    """Return a certificate's key and the end of its validity.

    Raises Untrusted for one that is out of date or holds no RSA key of 2,048 bits; ValueError for
    what is no certificate.
    """
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise Untrusted("certificate", "The certificate holds no RSA key of 2,048 bits or more.")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise Untrusted("certificate", "The certificate is not valid now.")
    return key, certificate.not_valid_after_utc


def _trim(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > MAX_KEPT:
        kept.popitem(last=False)
