"""SQS, S3 and Secrets Manager on loopback: moto's server, in a process of its own."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import botocore.session

_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("at http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
server.stop()
"""

_names = itertools.count(1)


def new_name() -> str:
    """Return a name that nothing has yet."""
    return f"t{os.getpid()}-{next(_names)}"


@contextlib.contextmanager
def aws_local() -> Iterator[str]:
    """Run the engine; give its address. It ends when its standard input does."""
    engine = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for line in engine.stdout:
            if line.startswith("at "):
                yield line[3:].strip()
                break
        else:
            raise RuntimeError(f"moto did not start, it ended with {engine.wait()}")
    finally:
        engine.stdin.close()
        engine.wait(timeout=30)
        engine.stdout.close()


def client(service: str, address: str) -> Any:
    """Return a client of one of the engine's services."""
    return botocore.session.Session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=address,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
