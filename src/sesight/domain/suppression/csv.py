"""Suppression lists as CSV files: reading those of other tools, and writing files that can be read again."""

from __future__ import annotations

import csv
import re
from itertools import chain, groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec import Struct

from sesight.domain.csv_rows import BROKEN_QUOTE, BrokenQuote, CsvRows, delimiter_of
from sesight.domain.errors import InvalidRequest
from sesight.domain.suppression.item import Suppression, SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import SuppressionRequest
from sesight.domain.suppression.policy import ActiveSuppression, streams_in_scope
from sesight.domain.text import spreadsheet_text
from sesight.domain.timestamps import DAY, day_number, iso, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sesight.domain.stream import Stream

COLUMNS = ("email", "stream", "reason", "scope", "until", "note", "firstAt", "lastAt")
"""The columns that are written. All are read except `lastAt`, which only informs people."""

_COLUMN_NAMES = {
    "email": ("email", "emailaddress", "address", "recipient", "mail"),
    "stream": ("stream",),
    "reason": ("reason",),
    "scope": ("scope",),
    "until": ("until",),
    "note": ("note", "notes", "comment"),
    "firstAt": ("firstat", "created", "createdat", "since", "date", "lastupdatetime"),
}
"""The names that other tools give the columns: lower case, letters only."""

_COLUMN_BY_NAME = {name: column for column, names in _COLUMN_NAMES.items() for name in names}
_REASONS = {
    **{str(reason): reason for reason in SuppressionReason},
    "bounce": SuppressionReason.BOUNCED,
    "unsubscribe": SuppressionReason.UNSUBSCRIBED,
}
_SCOPES = {str(scope): scope for scope in SuppressionScope}
_Word = TypeVar("_Word")
_ESCAPED_FORMULA = re.compile(r"'+[=+\-@\t\r]")
_LATEST = 4_102_444_800_000
"""The year 2100. A later time is an error in the file."""


class SuppressionDefaults(Struct, frozen=True, kw_only=True):
    """Values for rows that do not have them."""

    reason: SuppressionReason = SuppressionReason.IMPORT
    scope: SuppressionScope | None = None
    stream: str | None = None
    note: str | None = None


class SuppressionRow(NamedTuple):
    """A row that was read; `line` is its last line in the file."""

    line: int
    request: SuppressionRequest


class InvalidRow(NamedTuple):
    """A row that cannot be read, and the reason in a sentence that does not repeat the address."""

    line: int
    reason: str


class SuppressionFile:
    """Reads rows from the lines of a file. The first line names the columns; a file that begins with an
    address is a list of addresses without a header.
    """

    def __init__(self, lines: Iterable[str], defaults: SuppressionDefaults) -> None:
        """Read the first line. Raises InvalidRequest if no column holds addresses."""
        self._defaults = defaults
        rest = iter(lines)
        first = next(rest, "").removeprefix("\ufeff")
        self._rows = iter(CsvRows(chain([first], rest)))
        first_cell = first.strip().split(delimiter_of(first))[0]
        self.ignored: list[str] = []
        """Names of columns that are not read."""
        self._columns: list[str | None] = ["email"]
        if "@" not in first_cell or _column(first_cell) is not None:
            header = next(self._rows, None)
            if isinstance(header, BrokenQuote):
                raise InvalidRequest(f"Line {header.line}: {BROKEN_QUOTE}")
            names = [] if header is None else header.cells
            self._columns = [_column(name) for name in names]
            self.ignored = [
                name
                for name, column in zip(names, self._columns, strict=True)
                if column is None and name.strip() and _letters(name) != "lastat"
            ]
            if "email" not in self._columns:
                raise InvalidRequest(
                    "The first line names no column with addresses: call one of them email."
                )

    def __iter__(self) -> Iterator[SuppressionRow | InvalidRow]:
        """Yield every row that is not empty."""
        for row in self._rows:
            if isinstance(row, BrokenQuote):
                yield InvalidRow(row.line, BROKEN_QUOTE)
            elif any(cell.strip() for cell in row.cells):
                yield self._row(row.line, row.cells)

    def _row(self, line: int, cells: Sequence[str]) -> SuppressionRow | InvalidRow:
        values: dict[str, str] = {}
        for column, cell in zip(self._columns, cells, strict=False):
            if column is not None and column not in values:
                values[column] = _unescaped(cell)
        defaults = self._defaults
        try:
            request = SuppressionRequest(
                address=values.get("email", ""),
                reason=_word("reason", values, _REASONS) or defaults.reason,
                scope=_word("scope", values, _SCOPES) or defaults.scope,
                stream=values.get("stream") or defaults.stream,
                until=_time("until", values, DAY),
                note=values.get("note") or defaults.note,
                at=_time("firstAt", values, 0),
            )
        except InvalidRequest as error:
            return InvalidRow(line, str(error))
        return SuppressionRow(line, request)


def refuse_broken_quotes(file: SuppressionFile) -> None:
    """Read a file to its end. Raises InvalidRequest with the first line whose quotes are broken: what
    such a row swallowed is unknown, so nothing of the file is imported unless the caller insists.
    """
    lines = [row.line for row in file if isinstance(row, InvalidRow) and row.reason == BROKEN_QUOTE]
    if lines:
        others = f" The file has {len(lines):,} such lines." if len(lines) > 1 else ""
        raise InvalidRequest(f"Line {lines[0]}: {BROKEN_QUOTE}{others} Nothing was imported.")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _column(name: str) -> str | None:
    return _COLUMN_BY_NAME.get(_letters(name))


def _unescaped(cell: str) -> str:
    """Return a cell without the apostrophe that keeps a spreadsheet from reading it as a formula."""
    text = cell.strip()
    return text[1:].strip() if _ESCAPED_FORMULA.match(text) else text


def _escaped(text: str) -> str:
    # an apostrophe that looks like an escape is escaped itself, so that what is written is read back
    return f"'{text}" if _ESCAPED_FORMULA.match(text) else spreadsheet_text(text)


def _word(column: str, values: Mapping[str, str], known: Mapping[str, _Word]) -> _Word | None:
    text = values.get(column, "").lower()
    if not text:
        return None
    if text not in known:
        raise InvalidRequest(
            f"{column}: unknown value. Write {', '.join(known)}, or leave it empty."
        )
    return known[text]


def _time(column: str, values: Mapping[str, str], whole_day: int) -> int | None:
    text = values.get(column, "")
    at = parse_time(text, whole_day) if text else None
    if text and at is None:
        raise InvalidRequest(
            f"{column}: this is not a time. Write a date (2026-11-24) or an instant "
            "(2026-11-24T09:00:00Z), or leave it empty."
        )
    return at


def parse_time(text: str, whole_day: int) -> int | None:
    """Read a time as epoch ms: a date (to which `whole_day` ms are added), an instant (UTC unless it names
    a zone), or a number of seconds or milliseconds. None for anything else, and beyond the year 2100.
    """
    if text.isdecimal() and len(text) in (10, 13):
        at = int(text) * (1_000 if len(text) == 10 else 1)
    elif len(text) == len("2026-11-24"):
        try:
            at = day_number(text) * DAY + whole_day
        except ValueError:
            return None
    else:
        timestamp = parse_timestamp(text)
        if timestamp is None:
            return None
        at = timestamp[0]
    return at if 0 <= at < _LATEST else None


# Writing


class BlockingItem(NamedTuple):
    """An item that blocks, and why."""

    item: Suppression
    active: ActiveSuppression


def file_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a file: the header, then a line for each row."""
    return map(csv_line, chain([COLUMNS], rows))


def csv_line(row: Sequence[str]) -> str:
    """Return a row as a line of CSV (RFC 4180)."""
    lines = _Lines()
    csv.writer(lines).writerow(map(_escaped, row))
    return "".join(lines)


class _Lines(list[str]):
    """A list that `csv.writer` can write to."""

    def write(self, line: str) -> None:
        """Append a line."""
        self.append(line)


def address_rows(
    blocking: Sequence[BlockingItem], streams: Mapping[str, Stream]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one address, given the items that block it in each stream.

    Read again, the rows block the same streams for the same reason and the same time. There are as few
    of them as possible: one row with a wider scope where it covers exactly the blocked streams.
    """

    def cause_of(blocked: BlockingItem) -> tuple[str, ...]:
        cause = blocked.active.cause
        return (
            cause.reason,
            cause.scope,
            cause.stream or "",
            iso(blocked.active.since) or "",
            iso(blocked.active.until) or "",
            cause.detail or "",
        )

    for (_, scope, origin, *_), group in groupby(sorted(blocking, key=cause_of), cause_of):
        alike = list(group)
        in_scope = set(streams_in_scope(scope, origin, streams))
        if in_scope == {blocked.item.stream for blocked in alike}:
            yield _cells(alike[0], origin, scope)
        else:
            for blocked in alike:
                yield _cells(blocked, blocked.item.stream, SuppressionScope.STREAM)


def _cells(blocked: BlockingItem, stream: str, scope: str) -> tuple[str, ...]:
    item, active = blocked
    return (
        item.spelling or item.address,
        stream,
        active.cause.reason,
        scope,
        iso(active.until) or "",
        active.cause.detail or "",
        iso(active.since) or "",
        iso(max(cause.at for cause in item.causes)) or "",
    )
