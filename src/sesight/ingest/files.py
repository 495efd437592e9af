"""Files of envelopes: NDJSON, JSON, gzip, zstd, folders and standard input -> bodies, with progress."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import msgspec
import zstandard
from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.ingest.envelope import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS = (".json", ".ndjson", ".jsonl", ".log")
"""Files of a folder that are read, also with .gz or .zst behind; Firehose's have no ending at all."""

MAX_DOCUMENT = 64 * MAX_BODY
"""Bytes of a file that is one JSON document over several lines."""

STANDARD_INPUT = "-"

GLUE = b"}{"
"""What stands between two documents without a delimiter."""

MISSES = 64
"""How often in a row it may stand within a text before the rest counts as one document."""


class Source(Struct, frozen=True):
    """One file to read; `size` is its bytes as they are kept, None where nobody knows."""

    path: str
    size: int | None

    def open(self) -> BinaryIO:
        """Open it for reading. Raises OSError."""
        if self.path == STANDARD_INPUT:
            return cast("BinaryIO", io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False)))
        return Path(self.path).open("rb", buffering=1 << 20)


class Progress(Struct):
    """How far reading is: bytes read on disk, of all sources so far."""

    done: int = 0


def sources(paths: list[str]) -> list[Source]:
    """Return the files that paths name: files, folders (by ending, in order of name) or `-`.

    Raises SettingsError for a path that is not there, or a folder with nothing to read.
    """
    found: list[Source] = []
    for each in paths:
        path = Path(each)
        if each == STANDARD_INPUT:
            found.append(Source(each, None))
        elif path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_ours(file))
            if not inside:
                raise SettingsError(
                    f"The folder {each} holds no file to read ({', '.join(ENDINGS)})."
                )
            found.extend(Source(str(file), file.stat().st_size) for file in inside)
        elif path.is_file():
            found.append(Source(each, path.stat().st_size))
        else:
            raise SettingsError(f"There is no file {each}.")
    return found


def _is_ours(file: Path) -> bool:
    name = file.name.removesuffix(".gz").removesuffix(".zst")
    return not name.startswith(".") and (name.endswith(ENDINGS) or "." not in name)


def bodies(found: list[Source], progress: Progress) -> Iterator[bytes]:
    """Yield one body after the other of all sources: one a line, or a whole document.

    Raises SettingsError for a file that cannot be read or is cut off.
    """
    before = 0
    for source in found:
        try:
            with source.open() as raw:
                for n, body in enumerate(_bodies(_plain(raw))):
                    if n % 1_024 == 0:
                        progress.done = before + _position(raw)
                    yield body
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise SettingsError(f"{source.path} cannot be read to its end: {error}.") from None
        before += source.size or 0
        progress.done = before


def _position(raw: BinaryIO) -> int:
    return raw.tell() if raw.seekable() else 0


def _plain(raw: BinaryIO) -> IO[bytes]:
    """Unpack by what the file begins with, not by its name."""
    start = cast("io.BufferedReader", raw).peek(4)[:4]
    if start[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.open(raw))
    if start == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader, 1 << 20)
    return raw


def _bodies(lines: IO[bytes]) -> Iterator[bytes]:
    first = _next_line(lines)
    if first is None:
        return
    if not _is_document(first) and first.lstrip()[:1] in (b"{", b"["):
        yield from _whole(first.strip(), lines)
    else:
        yield from _apart(chain([first], _pieces(lines)))


def _pieces(lines: IO[bytes]) -> Iterator[bytes]:
    """Yield lines as they are; one longer than a body can be comes in pieces."""
    return iter(partial(lines.readline, MAX_BODY + 1), b"")


def _next_line(lines: IO[bytes]) -> bytes | None:
    """Return the next line that is not blank."""
    return next((line for line in _pieces(lines) if line.strip()), None)


def _apart(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what stands on lines: documents glued to each other, as Firehose leaves them in S3
    without a delimiter, one by one, however long the line.
    """
    rest = b""
    for piece in pieces:
        ends = len(piece) <= MAX_BODY or piece.endswith(b"\n")
        if ends and not rest and GLUE not in piece:
            if line := piece.strip():
                yield line
            continue
        line = rest + piece
        rest = b""
        if GLUE not in line:
            if line := line.strip():
                yield line
            continue
        *documents, last = _documents(line.strip() if ends else line.lstrip())
        yield from documents
        if ends or len(last) > MAX_BODY:
            yield last
        else:
            rest = last
    if rest:
        yield rest


def _documents(line: bytes) -> list[bytes]:
    """Cut between documents, not where a text within one looks like it; the last may be unfinished."""
    found = []
    start = misses = 0
    at = line.find(GLUE)
    while at >= 0 and misses < MISSES:
        if _is_json(line[start : at + 1]):
            found.append(line[start : at + 1])
            start, misses = at + 1, 0
        else:
            misses += 1
        at = line.find(GLUE, at + 1)
    return [*found, line[start:]]


def _is_document(line: bytes) -> bool:
    return GLUE in line or _is_json(line)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _whole(first: bytes, lines: IO[bytes]) -> Iterator[bytes]:
    """Yield a document written over several lines; lines one by one if it is none after all."""
    whole = first + b"\n" + lines.read(MAX_DOCUMENT)
    if _is_json(whole):
        yield whole
        return
    yield from (line for line in whole.split(b"\n") if line.strip())
    yield from _apart(_pieces(lines))
