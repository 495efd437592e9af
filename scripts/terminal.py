"""What the command line prints, for the docs: real commands, at one moment, in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from sesight import cli

ROOT = Path(__file__).parent.parent
NOW = 1_795_500_000_000
"""24 November 2026: a record's state must not depend on the day the docs are made."""

WIDTH = "132"


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Be in a folder that has the tests of this repository, with their payloads, and no more; at `NOW`."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tests").symlink_to(ROOT / "tests")
        os.chdir(folder)
        try:
            with (
                mock.patch("time.time_ns", return_value=NOW * 1_000_000),
                mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}),
            ):
                yield
        finally:
            os.chdir(before)


def run(command: str) -> str:
    """Run one command of `sesight` and return what it prints; set or unset a variable as a shell does."""
    word, _, rest = command.partition(" ")
    if word in ("export", "unset"):
        name, _, value = rest.partition("=")
        os.environ.pop(name, None)
        os.environ.update({name: value} if word == "export" else {})
        return ""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(SystemExit),
        mock.patch("sys.argv", shlex.split(command)),
    ):
        cli.main()
    return out.buffer.getvalue().decode()


def transcript(*commands: str) -> str:
    """Return commands with what they print, without the time they took."""
    parts = []
    with session():
        for command in commands:
            lines = [line.rstrip() for line in run(command).splitlines()]
            told = [line for line in lines if " a second." not in line]
            parts.append("\n".join([f"$ {command}", *told]))
    return "```console\n" + "\n\n".join(parts) + "\n```\n"
