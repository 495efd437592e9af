"""JSON documents in a stream of bytes: one a line, glued to each other, over many lines, in arrays.

What is one document is never torn: a document that is broken, or cut off, is one body, up to the next
line on which a document begins. The elements of a long array come one by one.
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
"""Bytes of one text within a document."""

MAX_NESTING = 128
"""Brackets within each other, beyond which a document counts as broken."""

ALIKE = 12
"""Bytes by which a document is known to begin like the one before it."""

NEAR = 65_536
"""Bytes within which it is looked for."""

_BLANK = b" \t\r\n"
_BETWEEN = re.compile(rb"[ \t\r\n,]*+")
# no possessive group: CPython 3.11 leaves one that fails half way at the wrong place
_TEXT = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*'
_STRING = re.compile(_TEXT)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _TEXT + rb'")*')
_ELEMENT = re.compile(_TEXT + rb'"|[^",\[\]{}]*+')
_NEXT_START = re.compile(rb"\n(?=[{\[])")
_OPENERS = b"{["
_GOES_ON = (b",", b"}", b"]")
_BEFORE = {"": (b"",), "{": (b":",), "[": (b",", b"[")}
"""What may stand before an object or array within a document, by what encloses it."""


class TooLarge(Exception):
    """A document does not end within `MAX_DOCUMENT` bytes, or a text in one within `MAX_TEXT`."""


def documents(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield one document after the other, without the blanks between them; what is none, too.

    Raises TooLarge.
    """
    pieces = iter(partial(stream.readline, MAX_BODY + 1), b"")
    waiting = b""  # a line that is one document, unless the next line goes on with it
    for piece in pieces:
        line = piece.strip()
        if not line:
            continue
        if waiting and line[:1] in _GOES_ON:
            yield from _Scan(waiting + b"\n" + piece, pieces).documents()
            waiting = b""
            continue
        if waiting:
            yield waiting
            waiting = b""
        if _is_one(line) and (len(piece) <= MAX_BODY or piece.endswith(b"\n")):
            waiting = line
        else:
            yield from _Scan(piece, pieces).documents()
    if waiting:
        yield waiting


def _is_one(line: bytes) -> bool:
    """Return whether a line is one document by how it begins and ends."""
    return line[:1] == b"{" and line[-1:] == b"}" and b"}{" not in line and b"} {" not in line


class _Scan:
    """Documents that begin on a line which is not one document, to the end of the line on which the
    last of them ends.
    """

    def __init__(self, piece: bytes, pieces: Iterator[bytes]) -> None:
        self._held = bytearray(piece)
        self._pieces = pieces
        self._in_array = False

    def documents(self) -> Iterator[bytes]:
        """Yield the documents."""
        while True:
            del self._held[: _BETWEEN.match(self._held).end()]  # type: ignore[union-attr]  # it matches ""
            if not self._held:
                if self._in_array and self._more():
                    continue
                return
            first = bytes(self._held[:1])
            if first == b"]" and self._in_array:
                self._in_array = False
                del self._held[:1]
            elif first == b"[" and not self._in_array and (size := self._end(MAX_BODY)):
                yield self._take(size)
            elif first == b"[" and not self._in_array and self._holds_objects():
                self._in_array = True
                del self._held[:1]
            elif first in (b"{", b"["):
                yield self._take(self._end_by_the_next() or self._end() or self._next_start())
            else:
                yield self._take(self._end_of_text())

    def _holds_objects(self) -> bool:
        """Return whether the array that begins here begins with an object, or with one in a text: any
        other is a document as a whole.
        """
        while not (inside := bytes(self._held[1:4_096]).lstrip(_BLANK)) and self._more():
            pass
        return inside[:1] == b"{" or inside[:2] == b'"{'

    def _more(self) -> bool:
        """Read on; False at the end. Raises TooLarge."""
        if len(self._held) > MAX_DOCUMENT:
            raise TooLarge
        piece = next(self._pieces, b"")
        self._held += piece
        return bool(piece)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size]).strip()
        del self._held[:size]
        return taken

    def _end_of_text(self) -> int:
        """Return where what is no object and no array ends: with its line, or as an element."""
        end = self._held.find(b"\n")
        size = len(self._held) if end < 0 else end
        if self._in_array:
            ends = _ELEMENT.match(self._held, 0, size).end()  # type: ignore[union-attr]  # it matches ""
            size = ends or size
        return max(size, 1)

    def _end_by_the_next(self) -> int:
        """Return where the document ends if the next begins like it, as most do; 0 if that is not so.

        This is for speed alone: what `_end` finds is the same.
        """
        beginning = bytes(self._held[:ALIKE])
        at = self._held.find(beginning, 1, NEAR)
        if at < 0 or b'"' not in beginning:
            return 0
        document = bytes(self._held[:at]).rstrip(_BLANK + b",")
        try:
            msgspec.json.decode(document, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            return 0
        return len(document)

    def _end(self, limit: int = MAX_DOCUMENT) -> int:
        """Return where the document ends that begins here; 0 if it is broken, or longer than a limit."""
        nesting = bytearray()
        before = at = 0
        while before <= limit:
            end = _TO_BRACKET.match(self._held, at).end()  # type: ignore[union-attr]  # it matches ""
            if end == len(self._held) or self._held[end] == ord('"'):
                if end < len(self._held) and self._is_cut_text(end):
                    return 0
                at = end
                if len(self._held) - end > MAX_TEXT:
                    raise TooLarge
                if len(self._held) > limit or not self._more():
                    return 0
                continue
            gap = bytes(self._held[before:end]).rstrip(_BLANK)
            last = gap[-1:] or bytes(self._held[before - 1 : before])
            before = at = end + 1
            bracket = self._held[end]
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
        """Return whether the text that begins here has a control character, such as a line's end, in
        it; False also if more has to be read to know.
        """
        end = _STRING.match(self._held, start).end()  # type: ignore[union-attr]  # there is a quote
        return self._held[end : end + 1] > b"" and self._held[end:] != b"\\"

    def _next_start(self) -> int:
        """Return where the next line begins that begins with a document, the end if there is none."""
        at = 0
        while (found := _NEXT_START.search(self._held, at)) is None:
            at = max(len(self._held) - 1, 0)
            if not self._more():
                return len(self._held)
        return found.end()
