"""Files that hold personal data or keys: readable by their owner only, and written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

MODE = 0o600
"""Read and write for the owner, nothing for others."""

FOLDER_MODE = 0o700

PARTIAL = ".partial"
"""The suffix of a file that is still being written."""


def opener(path: str, flags: int) -> int:
    """Open a file for `open(opener=…)`. A file that is created or truncated is made private."""
    descriptor = os.open(path, flags, MODE)
    if flags & os.O_TRUNC and stat.S_ISREG(os.fstat(descriptor).st_mode):
        with suppress(PermissionError):  # a file of another owner that this user may write to
            os.fchmod(descriptor, MODE)
    return descriptor


def make(path: Path) -> None:
    """Create an empty file unless it exists, for a library that opens it by name. Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, MODE))


def make_folder(path: Path) -> None:
    """Create a private folder unless it exists. Raises OSError."""
    path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `path` once it is complete and flushed to disk. After an error
    the old file is unchanged. A path that is not a regular file (a pipe, a terminal) is written directly.
    Raises OSError.
    """
    # check before resolving links: /dev/stdout may lead to a pipe, which has no path
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
    """Replace a file by these bytes, or leave it unchanged. Raises OSError."""
    with written(path) as out:
        out.write(data)


def write_new(path: Path, data: bytes) -> None:
    """Create a file with these bytes unless it exists, even if another process creates it at the same time.
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
    descriptor, name = tempfile.mkstemp(PARTIAL, f"{path.name}.", path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out, part
    finally:
        part.unlink(missing_ok=True)


def _flush(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())


def flush_folder(path: Path) -> None:
    """Flush the folder of a file, so that its new name, or its removal, survives a crash. Raises OSError."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
