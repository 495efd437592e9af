"""Rows of a CSV file by RFC 4180, and the line where a quote opened that does not end properly."""

from __future__ import annotations

import csv
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST = 1_000
"""Lines of one row at most. A row of more is one whose quote was never meant to open."""


class CsvRow(NamedTuple):
    """The cells of a row; `line` is its last line in the file."""

    line: int
    cells: list[str]


class BrokenQuote(NamedTuple):
    """A row whose quotes are broken; `line` is where the quote opened."""

    line: int


class CsvRows:
    """Reads rows one by one. After a broken one it goes on with the line after the quote's, so that a
    stray quote costs its own line and no more.
    """

    def __init__(self, lines: Iterable[str], delimiter: str) -> None:
        """Take lines with their ends, as they are in the file."""
        self._rest = iter(lines)
        self._delimiter = delimiter
        self._again: deque[str] = deque()
        self._row: list[str] = []
        self._line = 0

    def __iter__(self) -> Iterator[CsvRow | BrokenQuote]:
        """Yield each row, empty ones too."""
        while True:
            self._row.clear()
            try:
                # a reader of its own for each row: one that failed says nothing of what it took
                cells = next(csv.reader(self._lines(), delimiter=self._delimiter, strict=True))
            except StopIteration:
                return
            except csv.Error:
                opened = _opened(self._row, self._delimiter)
                self._again.extendleft(reversed(self._row[opened + 1 :]))
                self._line += opened + 1
                yield BrokenQuote(self._line)
            else:
                self._line += len(self._row)
                yield CsvRow(self._line, cells)

    def _lines(self) -> Iterator[str]:
        while len(self._row) < LONGEST:
            line = self._again.popleft() if self._again else next(self._rest, None)
            if line is None:
                return
            self._row.append(line)
            yield line


def _opened(lines: list[str], delimiter: str) -> int:
    """Return in which line the quote opened that ends wrongly, or not at all: the last that did."""
    opened, quoted = 0, False
    before = delimiter
    for n, line in enumerate(lines):
        for mark in line:
            # within quotes a doubled one closes and opens again: no delimiter is before it
            if mark == '"' and (quoted or before in (delimiter, "\n", "\r")):
                quoted = not quoted
                if quoted:
                    opened = n
            elif mark == '"' and before == '"':
                quoted = True
            before = mark
    return opened
