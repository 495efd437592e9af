"""Files of envelopes: NDJSON, JSON, gzip, zstd, folders and standard input -> bodies, with progress."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import zstandard
from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.ingest.transport.envelope import MAX_BODY
from sesight.ingest.transport.json_stream import MAX_DOCUMENT, TooLarge, documents

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS = (".json", ".ndjson", ".jsonl", ".log")
"""Files of a folder that are read, also with .gz or .zst behind; Firehose's have no ending at all."""

STANDARD_INPUT = "-"

MARK = b"\xef\xbb\xbf"
"""A byte order mark, as some programs write it in front of UTF-8."""

UTF_16 = (b"\xff\xfe", b"\xfe\xff")

BEGINNINGS = (b"{", b"[", b'"{')
"""How a document begins. A file may have other lines, but not those alone."""


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
    """Yield one body after the other of all sources: one a document.

    Raises SettingsError for a file that cannot be read, is cut off or holds no JSON.
    """
    before = 0
    for source in found:
        try:
            with source.open() as raw:
                for n, body in enumerate(_bodies(raw, source.path)):
                    if n % 1_024 == 0:
                        progress.done = before + _position(raw)
                    yield body
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise SettingsError(f"{source.path} cannot be read to its end: {error}.") from None
        except TooLarge:
            raise SettingsError(
                f"{source.path} holds a document of more than {MAX_DOCUMENT >> 20} MB, or one that "
                "never ends, and was read only up to there: split it."
            ) from None
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


def _bodies(raw: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the documents of one file. Raises SettingsError for one that is not made of JSON."""
    plain = _plain(raw)
    start = cast("io.BufferedReader", plain).peek(4)[:4]
    if start[:2] in UTF_16 or b"\0" in start[:2]:
        raise SettingsError(
            f"{path} is written in UTF-16 and nothing of it was read: write it in UTF-8 "
            "(iconv -f UTF-16 -t UTF-8), then replay that."
        )
    if start.startswith(MARK):
        plain.read(len(MARK))
    found = documents(plain)
    size, text = 0, []
    for body in found:
        text.append(body)
        if body.startswith(BEGINNINGS):
            yield from text
            yield from found
            return
        size += len(body)
        if size > MAX_BODY:
            break
    if text:
        raise SettingsError(f"{path} holds no JSON and nothing of it was read.")
