"""HTTP: wrk posts signed notifications to a real server, which commits each before it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from bench.inputs import TOPIC
from bench.replays import remove

SCRIPT = Path(__file__).with_name("post.lua")


@contextmanager
def server(folder: Path, certificate: Path) -> Iterator[str]:
    """Run `sesight serve` over a new store; yield its address."""
    store = folder / "http.db"
    remove(store)
    settings = folder / "http.toml"
    settings.write_text(
        f'[store]\nurl = "sqlite:///{store}"\n[server]\nport = 0\n'
        f'[[topics]]\narn = "{TOPIC}"\ncertificate_file = "{certificate}"\n'
    )
    with (
        (folder / "http.log").open("wb") as log,
        _running([_command(), "serve", "--config", str(settings)], log) as address,
    ):
        yield address
    remove(store)


def _command() -> str:
    return str(Path(sys.executable).with_name("sesight"))


@contextmanager
def raw_asgi() -> Iterator[str]:
    """Run a uvicorn that answers every body at once: the floor."""
    with _running([sys.executable, "-m", "bench.http"], subprocess.DEVNULL) as address:
        yield address


@contextmanager
def _running(command: list[str], log: Any) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    address = ""
    try:
        for line in process.stdout:
            words = line.decode().split()
            addresses = [word for word in words if word.startswith("http://")]
            if addresses:
                address = addresses[0]
                break
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield address
        process.terminate()
        process.wait(30)
        drain.wait(10)
    finally:
        process.kill()


def post(
    address: str, bodies: Path, connections: int, seconds: int, first: int, last: int
) -> dict[str, Any]:
    """Post lines `first` to `last` of a file for some seconds; return requests, rate, p50 and p99 (ms)."""
    if which("wrk") is None:
        message = "wrk is not installed: apt-get install wrk"
        raise SystemExit(message)
    wrk = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT),
         address, "--", str(bodies), str(first), str(last)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    result = json.loads(wrk.stdout.splitlines()[-1])
    return result | {"rate": result["requests"] / result["seconds"]}


def _serve_floor() -> None:
    import uvicorn

    from sesight.server import address_of, listen

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    listener = listen("127.0.0.1", 0)
    print(f"listens on {address_of(listener)}", flush=True)
    config = uvicorn.Config(
        answer, http="httptools", loop="uvloop", lifespan="off", access_log=False, log_config=None
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve_floor()
