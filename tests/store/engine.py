"""AWS's DynamoDB Local, started on loopback and stopped again (fetched by `make test`)."""

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".dynamodb-local"


_names = itertools.count(1)


def url_of(engine: str) -> str:
    """Return the URL of a new, empty store."""
    return f"dynamodb://eu-west-1?endpoint={engine}&prefix=t{os.getpid()}-{next(_names)}-"


@contextlib.contextmanager
def dynamodb_local() -> Iterator[str]:
    """Run an engine in memory, with a change feed for every table that has one; yield its address."""
    assert (FOLDER / "fetched").is_file(), "no DynamoDB Local yet: run scripts/fetch-dynamodb-local"
    engine = subprocess.Popen(
        [
            "java",
            "-Xmx768m",
            "-XX:+UseSerialGC",
            f"-Djava.library.path={FOLDER / 'lib'}",
            "-classpath",
            f"{FOLDER}:{FOLDER / 'lib'}/*",
            "LoopbackEngine",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for line in engine.stdout:
            if line.startswith("port "):
                yield f"http://127.0.0.1:{int(line[5:])}"
                break
        else:
            raise RuntimeError(f"DynamoDB Local did not start, it ended with {engine.wait()}")
    finally:
        engine.terminate()
        engine.wait(timeout=30)
        engine.stdout.close()
