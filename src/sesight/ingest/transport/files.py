"""Files to replay: the bodies in NDJSON and JSON files, gzip, zstd, folders and standard input."""

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
"""Files of a folder that are read, also with .gz or .zst appended. Firehose's have no extension."""

STANDARD_INPUT = "-"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some programs write it in front of UTF-8."""

UTF_16 = (b"\xff\xfe", b"\xfe\xff")

BEGINNINGS = (b"{", b"[", b'"{')
"""How a document begins. A file may have other lines, too, but at least one like this."""


class InputFile(Struct, frozen=True):
    """One file to read. `size` is its bytes on disk, None if unknown."""

    path: str
    size: int | None

    def open(self) -> BinaryIO:
        """Open it for reading. Raises OSError."""
        if self.path == STANDARD_INPUT:
            return cast("BinaryIO", io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False)))
        return Path(self.path).open("rb", buffering=1 << 20)


class Progress(Struct):
    """The bytes read from disk so far, of all files."""

    done: int = 0


def input_files(paths: list[str]) -> list[InputFile]:
    """Return the files of paths: files, folders (by extension, in order of name), or `-` for standard
    input. Raises SettingsError for a path that does not exist, or a folder with nothing to read.
    """
    files: list[InputFile] = []
    for name in paths:
        path = Path(name)
        if name == STANDARD_INPUT:
            files.append(InputFile(name, None))
        elif path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_input(file))
            if not inside:
                raise SettingsError(
                    f"The folder {name} holds no file to read ({', '.join(ENDINGS)})."
                )
            files.extend(InputFile(str(file), file.stat().st_size) for file in inside)
        elif path.is_file():
            files.append(InputFile(name, path.stat().st_size))
        else:
            raise SettingsError(f"There is no file {name}.")
    return files


def _is_input(file: Path) -> bool:
    name = file.name.removesuffix(".gz").removesuffix(".zst")
    return not name.startswith(".") and (name.endswith(ENDINGS) or "." not in name)


def bodies(files: list[InputFile], progress: Progress) -> Iterator[bytes]:
    """Yield the bodies of all files, one for each document.

    Raises SettingsError for a file that cannot be read, is cut off or holds no JSON.
    """
    before = 0
    for file in files:
        try:
            with file.open() as raw:
                for n, body in enumerate(_bodies(raw, file.path)):
                    if n % 1_024 == 0:
                        progress.done = before + _position(raw)
                    yield body
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise SettingsError(f"{file.path} cannot be read to its end: {error}.") from None
        except TooLarge:
            raise SettingsError(
                f"{file.path} holds a document of more than {MAX_DOCUMENT >> 20} MB, or one that "
                "never ends, and was read only up to there: split it."
            ) from None
        before += file.size or 0
        progress.done = before


def _position(raw: BinaryIO) -> int:
    return raw.tell() if raw.seekable() else 0


def _decompressed(raw: BinaryIO) -> IO[bytes]:
    """Decompress a file, which is recognised by its first bytes and not by its name."""
    start = cast("io.BufferedReader", raw).peek(4)[:4]
    if start[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.open(raw))
    if start == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader, 1 << 20)
    return raw


def _bodies(raw: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the documents of one file. Raises SettingsError if none of them is JSON."""
    plain = _decompressed(raw)
    start = cast("io.BufferedReader", plain).peek(4)[:4]
    if start[:2] in UTF_16 or b"\0" in start[:2]:
        raise SettingsError(
            f"{path} is written in UTF-16 and nothing of it was read: write it in UTF-8 "
            "(iconv -f UTF-16 -t UTF-8), then replay that."
        )
    if start.startswith(BYTE_ORDER_MARK):
        plain.read(len(BYTE_ORDER_MARK))
    remaining = documents(plain)
    size, leading = 0, []
    for body in remaining:
        leading.append(body)
        if body.startswith(BEGINNINGS):
            yield from leading
            yield from remaining
            return
        size += len(body)
        if size > MAX_BODY:
            break
    if leading:
        raise SettingsError(f"{path} holds no JSON and nothing of it was read.")
