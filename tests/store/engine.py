"""AWS's DynamoDB Local, started on loopback and stopped again (fetched by `make test`)."""

import contextlib
import itertools
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".dynamodb-local"
STARTS_WITHIN = 120
"""Seconds: a JVM on a busy machine."""


@contextlib.contextmanager
def dynamodb_local() -> Iterator[str]:
    """Run an engine in memory, with a change feed for every table that has one; give its address."""
    lib = FOLDER / "lib"
    assert lib.is_dir(), "DynamoDB Local is not here yet: run scripts/fetch-dynamodb-local"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as said:
        engine = subprocess.Popen(
            [
                "java",
                "-Xmx768m",
                "-XX:+UseSerialGC",
                f"-Djava.library.path={lib}",
                "-classpath",
                f"{lib}/*",
                "software.amazon.dynamodb.services.local.main.ServerRunner",
                "-inMemory",
                "-sharedDb",
                "-disableTelemetry",
                "-port",
                str(port),
            ],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(engine, port, said)
            yield f"http://127.0.0.1:{port}"
        finally:
            engine.terminate()
            engine.wait(timeout=30)


def _wait(engine: subprocess.Popen, port: int, said) -> None:
    """Wait until the engine listens; say what it said when it ends instead."""
    until = time.monotonic() + STARTS_WITHIN
    for _ in itertools.count():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if engine.poll() is not None or time.monotonic() > until:
            said.seek(0)
            raise RuntimeError(f"DynamoDB Local did not start: {said.read()[-2_000:]!r}")
        time.sleep(0.05)
