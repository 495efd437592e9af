"""Reading CSV (RFC 4180): encoding, delimiter, and quotes that are not closed properly.

Every CSV file that Sesight reads is read here: suppression lists, recipient lists and statements.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from sesight.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DELIMITERS = ",;\t"
"""Spreadsheets set to a language with decimal commas write semicolons; what is pasted from one has tabs."""

MAX_ROW_LINES = 1_000
"""Lines of one row at most. A longer row means that a quote was opened by mistake."""

BROKEN_QUOTE = (
    "A quote opens in this line and is not closed properly, so the row cannot be read. Inside quotes, "
    "write a quote twice."
)
"""What to tell the author of a file about a `BrokenQuote`."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


class CsvRow(NamedTuple):
    """The cells of a row; `line` is its last line in the file."""

    line: int
    cells: list[str]


class BrokenQuote(NamedTuple):
    """A row whose quotes are broken; `line` is where the quote opened."""

    line: int


def decode_csv(data: bytes) -> str:
    """Decode a file as UTF-8, with or without a byte order mark.

    Raises InvalidRequest with the first line that is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(
            f"Line {line} of the file is not UTF-8: save the file as UTF-8."
        ) from None


def split_lines(text: str) -> Iterator[str]:
    """Yield the lines of a text with their line ends: CR, LF or CRLF, and no other Unicode separator."""
    return (match[0] for match in _LINE.finditer(text))


def delimiter_of(header: str) -> str:
    """Return the delimiter that a file's first line has most of; a comma if it has none."""
    return max(DELIMITERS, key=header.count)


def valid_rows(text: str) -> Iterator[CsvRow]:
    """Yield the rows of a file that is accepted as a whole or not at all.

    Raises InvalidRequest at the first broken quote: what such a row swallowed is unknown.
    """
    for row in CsvRows(split_lines(text)):
        if isinstance(row, BrokenQuote):
            raise InvalidRequest(f"Line {row.line}: {BROKEN_QUOTE}")
        yield row


class CsvRows:
    """Reads the rows of a file one by one. After a broken row it continues with the line below the one
    where the quote opened, so a stray quote costs its own line only.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Take the lines of a file with their line ends. The first may begin with a byte order mark; it
        tells the delimiter.
        """
        rest = iter(lines)
        header = next(rest, None)
        self._delimiter = ","
        if header is not None:
            header = header.removeprefix("\ufeff")
            self._delimiter = delimiter_of(header)
            rest = chain([header], rest)
        self._rest = rest
        self._reread: deque[str] = deque()
        """Lines that a broken row had consumed."""
        self._row: list[str] = []
        """The lines of the current row."""
        self._line = 0

    def __iter__(self) -> Iterator[CsvRow | BrokenQuote]:
        """Yield every row, empty ones too."""
        while True:
            self._row.clear()
            try:
                # a new reader for each row: one that failed does not say what it consumed
                cells = next(csv.reader(self._lines(), delimiter=self._delimiter, strict=True))
            except StopIteration:
                return
            except csv.Error:
                opened = _opening_line(self._row, self._delimiter)
                self._reread.extendleft(reversed(self._row[opened + 1 :]))
                self._line += opened + 1
                yield BrokenQuote(self._line)
            else:
                self._line += len(self._row)
                yield CsvRow(self._line, cells)

    def _lines(self) -> Iterator[str]:
        while len(self._row) < MAX_ROW_LINES:
            line = self._reread.popleft() if self._reread else next(self._rest, None)
            if line is None:
                return
            self._row.append(line)
            yield line


def _opening_line(lines: list[str], delimiter: str) -> int:
    """Return the index of the line in which the last quote opened: the one that is closed wrongly or
    not at all.
    """
    opening, is_quoted = 0, False
    before = delimiter
    for n, line in enumerate(lines):
        for character in line:
            # within quotes a doubled quote closes and opens again: no delimiter precedes it
            if character == '"' and (is_quoted or before in (delimiter, "\n", "\r")):
                is_quoted = not is_quoted
                if is_quoted:
                    opening = n
            elif character == '"' and before == '"':
                is_quoted = True
            before = character
    return opening
