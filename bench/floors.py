"""Floors: the least that each part of the work costs on this machine, measured in the same run."""

from __future__ import annotations

import sqlite3
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from bench.figures import median_seconds
from sesight.ingest.transport.sns import parse, string_to_sign


class _Nothing(msgspec.Struct):
    """A struct without fields: the decoder scans everything and keeps nothing."""


class _Outer(msgspec.Struct):
    Message: str


_scan = msgspec.json.Decoder(_Nothing).decode
_outer = msgspec.json.Decoder(_Outer).decode


@dataclass
class Floors:
    """Events a second."""

    scan_event: float
    scan_both: float
    insert_envelope: float
    insert_100: float
    verify: float


def measure(notifications: list[bytes], certificate: Path, folder: Path) -> Floors:
    """Measure the floors over signed notifications."""
    n = len(notifications)
    events = [_outer(body).Message.encode() for body in notifications]
    key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
    signatures = []
    for body in notifications[:2_000]:
        notification = parse(body, {})
        signatures.append((b64decode(notification.signature), string_to_sign(notification)))
    padding, digest = PKCS1v15(), SHA256()

    def scan_event() -> None:
        for event in events:
            _scan(event)

    def scan_both() -> None:
        for body in notifications:
            _scan(_outer(body).Message)

    def verify() -> None:
        for signature, signed in signatures:
            key.verify(signature, signed, padding, digest)

    return Floors(
        n / median_seconds(scan_event),
        n / median_seconds(scan_both),
        n / median_seconds(lambda: _insert(folder, notifications), 3),
        n / median_seconds(lambda: _insert(folder, [event[:100] for event in events]), 3),
        len(signatures) / median_seconds(verify),
    )


def _insert(folder: Path, values: list[bytes]) -> None:
    path = folder / "floor.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body BLOB)")
    for start in range(0, len(values), 5_000):
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO bare (body) VALUES (?)",
            [(value,) for value in values[start : start + 5_000]],
        )
        connection.execute("COMMIT")
    connection.close()
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
