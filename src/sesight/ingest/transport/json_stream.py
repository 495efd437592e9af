"""JSON documents in a byte stream: one a line, without separators, over several lines, or in arrays.

A document is never split. One that is broken or cut off ends before the next line on which a document
begins. The elements of a long array are documents of their own.
"""

from __future__ import annotations

import re
from functools import partial
from typing import IO, TYPE_CHECKING

import msgspec

from sesight.ingest.transport.envelope import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOCUMENT = 64 * MAX_BODY
"""Bytes of one document; an array may be of any size."""

MAX_TEXT = 4 * MAX_BODY
"""Bytes of one string in a document."""

MAX_NESTING = 128
"""Nested brackets beyond which a document counts as broken."""

SAME_START = 12
"""Bytes in which the beginnings of two similar documents agree."""

SEARCH = 65_536
"""Bytes within which a similar beginning is searched for."""

_BLANK = b" \t\r\n"
_BETWEEN = re.compile(rb"[ \t\r\n,]*+")
# no possessive group: one that fails midway leaves CPython 3.11 at the wrong position
_TEXT = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*'
_STRING = re.compile(_TEXT)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _TEXT + rb'")*')
_ELEMENT = re.compile(_TEXT + rb'"|[^",\[\]{}]*+')
_NEXT_START = re.compile(rb"\n(?=[{\[])")
_OPENERS = b"{["
_CONTINUES = (b",", b"}", b"]")
_BEFORE = {"": (b"",), "{": (b":",), "[": (b",", b"[")}
"""What may precede an object or array in a document, by the bracket that encloses it."""


class TooLarge(Exception):
    """A document is larger than `MAX_DOCUMENT`, or a string in one larger than `MAX_TEXT`."""


def documents(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the documents without the blanks between them, and anything else in the stream as well.

    Raises TooLarge.
    """
    pieces = iter(partial(stream.readline, MAX_BODY + 1), b"")
    pending = b""  # a line that is one document, unless the next line continues it
    for piece in pieces:
        line = piece.strip()
        if not line:
            continue
        if pending and line[:1] in _CONTINUES:
            yield from _DocumentScanner(pending + b"\n" + piece, pieces).documents()
            pending = b""
            continue
        if pending:
            yield pending
            pending = b""
        if _is_one(line) and (len(piece) <= MAX_BODY or piece.endswith(b"\n")):
            pending = line
        else:
            yield from _DocumentScanner(piece, pieces).documents()
    if pending:
        yield pending


def _is_one(line: bytes) -> bool:
    """Return whether a line is one document, judging by its beginning and end."""
    return line[:1] == b"{" and line[-1:] == b"}" and b"}{" not in line and b"} {" not in line


class _DocumentScanner:
    """Scans documents that begin on a line which is not one document by itself, up to the end of the
    line on which the last of them ends.
    """

    def __init__(self, piece: bytes, pieces: Iterator[bytes]) -> None:
        self._buffer = bytearray(piece)
        self._pieces = pieces
        self._in_array = False

    def documents(self) -> Iterator[bytes]:
        """Yield the documents."""
        while True:
            del self._buffer[: _BETWEEN.match(self._buffer).end()]  # type: ignore[union-attr]  # it matches ""
            if not self._buffer:
                if self._in_array and self._read_on():
                    continue
                return
            first = bytes(self._buffer[:1])
            if first == b"]" and self._in_array:
                self._in_array = False
                del self._buffer[:1]
            elif first == b"[" and not self._in_array and (size := self._end(MAX_BODY)):
                yield self._take(size)
            elif first == b"[" and not self._in_array and self._holds_objects():
                self._in_array = True
                del self._buffer[:1]
            elif first in (b"{", b"["):
                yield self._take(self._end_by_the_next() or self._end() or self._next_start())
            else:
                yield self._take(self._end_of_text())

    def _holds_objects(self) -> bool:
        """Return whether the first element of the array that begins here is an object, or one in a
        string. Any other array is one document.
        """
        while not (inside := bytes(self._buffer[1:4_096]).lstrip(_BLANK)) and self._read_on():
            pass
        return inside[:1] == b"{" or inside[:2] == b'"{'

    def _read_on(self) -> bool:
        """Read on; return False at the end of the stream. Raises TooLarge."""
        if len(self._buffer) > MAX_DOCUMENT:
            raise TooLarge
        piece = next(self._pieces, b"")
        self._buffer += piece
        return bool(piece)

    def _take(self, size: int) -> bytes:
        document = bytes(self._buffer[:size]).strip()
        del self._buffer[:size]
        return document

    def _end_of_text(self) -> int:
        """Return where anything but an object or array ends: with its line, or as an array's element."""
        end = self._buffer.find(b"\n")
        size = len(self._buffer) if end < 0 else end
        if self._in_array:
            ends = _ELEMENT.match(self._buffer, 0, size).end()  # type: ignore[union-attr]  # it matches ""
            size = ends or size
        return max(size, 1)

    def _end_by_the_next(self) -> int:
        """Return where the document ends if the next one begins in the same way, as most do; else 0.

        This is only for speed: `_end` finds the same.
        """
        beginning = bytes(self._buffer[:SAME_START])
        at = self._buffer.find(beginning, 1, SEARCH)
        if at < 0 or b'"' not in beginning:
            return 0
        document = bytes(self._buffer[:at]).rstrip(_BLANK + b",")
        try:
            msgspec.json.decode(document, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            return 0
        return len(document)

    def _end(self, limit: int = MAX_DOCUMENT) -> int:
        """Return where the document that begins here ends; 0 if it is broken or longer than `limit`."""
        nesting = bytearray()
        before = at = 0
        while before <= limit:
            end = _TO_BRACKET.match(self._buffer, at).end()  # type: ignore[union-attr]  # it matches ""
            if end == len(self._buffer) or self._buffer[end] == ord('"'):
                if end < len(self._buffer) and self._is_cut_text(end):
                    return 0
                at = end
                if len(self._buffer) - end > MAX_TEXT:
                    raise TooLarge
                if len(self._buffer) > limit or not self._read_on():
                    return 0
                continue
            gap = bytes(self._buffer[before:end]).rstrip(_BLANK)
            last = gap[-1:] or bytes(self._buffer[before - 1 : before])
            before = at = end + 1
            bracket = self._buffer[end]
            if bracket in _OPENERS:
                if len(nesting) == MAX_NESTING or last not in _BEFORE[nesting[-1:].decode()]:
                    return 0
                nesting.append(bracket)
            elif last in (b",", b":") or nesting[-1] + 2 != bracket:  # "{}" and "[]" are two apart
                return 0
            else:
                nesting.pop()
                if not nesting:
                    return before
        return 0

    def _is_cut_text(self, start: int) -> bool:
        """Return whether the string that begins here contains a control character, such as a newline.
        False also if more has to be read to tell.
        """
        end = _STRING.match(self._buffer, start).end()  # type: ignore[union-attr]  # there is a quote
        return self._buffer[end : end + 1] > b"" and self._buffer[end:] != b"\\"

    def _next_start(self) -> int:
        """Return where the next line that begins with a document starts; the end if there is none."""
        position = 0
        while (match := _NEXT_START.search(self._buffer, position)) is None:
            position = max(len(self._buffer) - 1, 0)
            if not self._read_on():
                return len(self._buffer)
        return match.end()
