"""Suppressions as a CSV file: read whatever tool wrote it, written so that it can be read again."""

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
from sesight.domain.timestamps import DAY, day_number, iso, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sesight.domain.stream import Stream

COLUMNS = ("email", "stream", "reason", "scope", "until", "note", "firstAt", "lastAt")
"""What is written. Read are all but `lastAt`, which is there for people."""

_NAMES = {
    "email": ("email", "emailaddress", "address", "recipient", "mail"),
    "stream": ("stream",),
    "reason": ("reason",),
    "scope": ("scope",),
    "until": ("until",),
    "note": ("note", "notes", "comment"),
    "firstAt": ("firstat", "created", "createdat", "since", "date", "lastupdatetime"),
}
"""How files call the columns, in lower case and without marks."""

_BY_NAME = {name: column for column, names in _NAMES.items() for name in names}
_REASONS = {
    **{str(reason): reason for reason in SuppressionReason},
    "bounce": SuppressionReason.BOUNCED,
    "unsubscribe": SuppressionReason.UNSUBSCRIBED,
}
_SCOPES = {str(scope): scope for scope in SuppressionScope}
_Word = TypeVar("_Word")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_OURS = re.compile(r"'+[=+\-@\t\r]")
_LATEST = 4_102_444_800_000
"""The year 2100: what a time has to be before."""


class SuppressionDefaults(Struct, frozen=True, kw_only=True):
    """What holds for rows that do not say otherwise."""

    reason: SuppressionReason = SuppressionReason.IMPORT
    scope: SuppressionScope | None = None
    stream: str | None = None
    note: str | None = None


class SuppressionRow(NamedTuple):
    """What one row wishes for; `line` is its last line in the file."""

    line: int
    wish: SuppressionRequest


class InvalidRow(NamedTuple):
    """A row that cannot be read, and why, in a sentence that repeats no address."""

    line: int
    reason: str


class SuppressionFile:
    """Reads rows from the lines of a file. Separators are commas, semicolons or tabs; the first line
    names the columns, or is an address already where there is but a list of them.
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
            row = next(self._rows, None)
            if isinstance(row, BrokenQuote):
                raise InvalidRequest(f"Line {row.line}: {BROKEN_QUOTE}")
            names = [] if row is None else row.cells
            self._columns = [_column(name) for name in names]
            self.ignored = [
                name
                for name, column in zip(names, self._columns, strict=True)
                if column is None and name.strip() and _plain(name) != "lastat"
            ]
            if "email" not in self._columns:
                raise InvalidRequest(
                    "The first line names no column with addresses: call one of them email."
                )

    def __iter__(self) -> Iterator[SuppressionRow | InvalidRow]:
        """Yield each row that is not empty."""
        for row in self._rows:
            if isinstance(row, BrokenQuote):
                yield InvalidRow(row.line, BROKEN_QUOTE)
            elif any(cell.strip() for cell in row.cells):
                yield self._row(row.line, row.cells)

    def _row(self, line: int, cells: Sequence[str]) -> SuppressionRow | InvalidRow:
        found: dict[str, str] = {}
        for column, cell in zip(self._columns, cells, strict=False):
            if column is not None and column not in found:
                found[column] = _bare(cell)
        given = self._defaults
        try:
            wish = SuppressionRequest(
                address=found.get("email", ""),
                reason=_word("reason", found, _REASONS) or given.reason,
                scope=_word("scope", found, _SCOPES) or given.scope,
                stream=found.get("stream") or given.stream,
                until=_time("until", found, DAY),
                note=found.get("note") or given.note,
                at=_time("firstAt", found, 0),
            )
        except InvalidRequest as error:
            return InvalidRow(line, str(error))
        return SuppressionRow(line, wish)


def refuse_broken_quotes(file: SuppressionFile) -> None:
    """Read a file to its end. Raises InvalidRequest with the first line whose quotes are broken: what
    it swallowed, nobody knows, so nothing of such a file is imported unless somebody asks for that.
    """
    broken = [
        row.line for row in file if isinstance(row, InvalidRow) and row.reason == BROKEN_QUOTE
    ]
    if broken:
        others = f" It is so in {len(broken):,} lines." if len(broken) > 1 else ""
        raise InvalidRequest(f"Line {broken[0]}: {BROKEN_QUOTE}{others} Nothing was imported.")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _column(name: str) -> str | None:
    return _BY_NAME.get(_plain(name))


def _bare(cell: str) -> str:
    """Return a cell without the apostrophe that keeps spreadsheets from running it."""
    text = cell.strip()
    return text[1:].strip() if _OURS.match(text) else text


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) or _OURS.match(text) else text


def _word(column: str, found: Mapping[str, str], known: Mapping[str, _Word]) -> _Word | None:
    text = found.get(column, "").lower()
    if not text:
        return None
    if text not in known:
        raise InvalidRequest(
            f"{column}: there is no such word; it is {', '.join(known)}, or empty."
        )
    return known[text]


def _time(column: str, found: Mapping[str, str], whole_day: int) -> int | None:
    text = found.get(column, "")
    at = parse_time(text, whole_day) if text else None
    if text and at is None:
        raise InvalidRequest(
            f"{column}: it is no time; write a date (2026-11-24), an instant (2026-11-24T09:00:00Z), "
            "or leave it empty."
        )
    return at


def parse_time(text: str, whole_day: int) -> int | None:
    """Read a time as epoch ms: a date (with `whole_day` ms added), an instant (UTC if it has no
    zone), or a count of seconds or milliseconds; None for anything else.
    """
    if text.isdecimal() and len(text) in (10, 13):
        at = int(text) * (1_000 if len(text) == 10 else 1)
    elif len(text) == len("2026-11-24"):
        try:
            at = day_number(text) * DAY + whole_day
        except ValueError:
            return None
    else:
        read = parse_timestamp(text)
        if read is None:
            return None
        at = read[0]
    return at if 0 <= at < _LATEST else None


# Writing


class BlockingItem(NamedTuple):
    """An item that blocks, and why."""

    item: Suppression
    why: ActiveSuppression


def file_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a file: its head, then a line for each row."""
    return map(csv_line, chain([COLUMNS], rows))


def csv_line(row: Sequence[str]) -> str:
    """Return the line of a row (RFC 4180)."""
    lines = _Lines()
    csv.writer(lines).writerow(map(_safe, row))
    return "".join(lines)


class _Lines(list[str]):
    """What csv writes to."""

    def write(self, line: str) -> None:
        """Keep a line."""
        self.append(line)


def address_rows(
    blocked: Sequence[BlockingItem], streams: Mapping[str, Stream]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one address, given what blocks it by stream: as few as say exactly where it
    is blocked. Read again, they block the same streams, for the same reason, since and until.
    """

    def said(each: BlockingItem) -> tuple[str, ...]:
        cause = each.why.cause
        return (
            cause.reason,
            cause.scope,
            cause.stream or "",
            iso(each.why.since) or "",
            iso(each.why.until) or "",
            cause.detail or "",
        )

    for (_, scope, origin, *_), some in groupby(sorted(blocked, key=said), said):
        alike = list(some)
        reach = set(streams_in_scope(scope, origin, streams))
        if reach == {each.item.stream for each in alike}:
            yield _cells(alike[0], origin, scope)
        else:
            for each in alike:
                yield _cells(each, each.item.stream, SuppressionScope.STREAM)


def _cells(blocked: BlockingItem, stream: str, scope: str) -> tuple[str, ...]:
    item, why = blocked
    return (
        item.spelling or item.address,
        stream,
        why.cause.reason,
        scope,
        iso(why.until) or "",
        why.cause.detail or "",
        iso(why.since) or "",
        iso(max(held.at for held in item.causes)) or "",
    )
