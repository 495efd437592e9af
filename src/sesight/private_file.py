"""Files with people or keys in them: for their owner alone, and whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

MODE = 0o600
"""What a file may be to others: nothing."""

FOLDER_MODE = 0o700

PARTIAL = ".partial"
"""Ending of a file that is not whole yet."""


def opener(path: str, flags: int) -> int:
    """Open a file as `open` asks for it; a new one, and one that is emptied, is its owner's alone."""
    held = os.open(path, flags, MODE)
    if flags & os.O_TRUNC and stat.S_ISREG(os.fstat(held).st_mode):
        with suppress(PermissionError):  # another's file that one may write to
            os.fchmod(held, MODE)
    return held


def make(path: Path) -> None:
    """Make an empty file where there is none, for what others open by its name. Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, MODE))


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone, if it is not there. Raises OSError."""
    path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes its name, in place of what had it, once it is whole and on
    disk; after an error all is as it was. What is no file (a pipe, a terminal) is written to at once.
    Raises OSError.
    """
    # before links are followed: what /dev/stdout leads to may be a pipe, which has no path
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            yield out
        return
    path = path.resolve()
    with _partial(path) as (out, part):
        yield out
        _flush(out)
        part.replace(path)
    flush_folder(path)


def write(path: Path, data: bytes) -> None:
    """Write a small file whole, or leave what is there. Raises OSError."""
    with written(path) as out:
        out.write(data)


def write_new(path: Path, data: bytes) -> None:
    """Write a small file whole, unless there is one: also one that another process has just made.
    Raises OSError.
    """
    path = path.resolve()
    with _partial(path) as (out, part):
        out.write(data)
        _flush(out)
        with suppress(FileExistsError):
            try:
                os.link(part, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                if not path.exists():
                    part.replace(path)
    flush_folder(path)


@contextmanager
def _partial(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    held, name = tempfile.mkstemp(PARTIAL, f"{path.name}.", path.parent)
    part = Path(name)
    try:
        with os.fdopen(held, "wb") as out:
            yield out, part
    finally:
        part.unlink(missing_ok=True)


def _flush(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())


def flush_folder(path: Path) -> None:
    """Have the name of a file on disk, which was given or taken. Raises OSError."""
    held = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
