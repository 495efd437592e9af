"""Statements out of CSV and JSON files, and out of requests: what is wrong is told line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from sesight.domain.csv_rows import CsvRow, decode_csv, valid_rows
from sesight.domain.errors import InvalidRequest
from sesight.send.statements.model import (
    InvalidStatement,
    LineInput,
    Statement,
    StatementInput,
    StatementProblem,
    statement,
)
from sesight.send.statements.money import Number

BYTES = 50_000_000
"""Bytes of a file at most."""

ROWS = 200_000
"""Rows of a CSV file, or lines of all statements together, at most."""

COLUMNS = ("statement", "recipient", "label", "amount", "total")
"""Columns that a CSV file has."""

MORE = (
    *("name", "month", "currency", "locale"),
    *("quantity", "unit_price", "section", "subtotal"),
)
"""Columns that it may have."""

_OF_STATEMENT = ("recipient", "name", "month", "currency", "locale", "total")
_MEMBERS = frozenset({"id", *_OF_STATEMENT, "lines", "subtotals"})
_LINE_MEMBERS = frozenset({"label", "amount", "quantity", "unit_price", "section"})


class RefusedStatement(Struct, frozen=True, kw_only=True):
    """A statement that is not sent: its id and recipient as far as they are known, and its faults."""

    id: str | None
    recipient: str
    faults: tuple[StatementProblem, ...]

    @property
    def code(self) -> str:
        """Return the first fault's code."""
        return self.faults[0].code

    @property
    def sentence(self) -> str:
        """Return the first fault in a sentence without figures, and how many more there are."""
        more = len(self.faults) - 1
        return self.faults[0].sentence + (f" ({more} more)" if more else "")


class StatementDefaults(Struct, frozen=True, kw_only=True):
    """What statements that do not say it themselves are taken to say."""

    month: str | None = None
    currency: str | None = None
    locale: str | None = None


class Statements(Struct, frozen=True, kw_only=True):
    """What a file or a request holds, in its order."""

    entries: tuple[Statement | RefusedStatement, ...]

    @property
    def refused(self) -> tuple[RefusedStatement, ...]:
        """Return what is not sent."""
        return tuple(each for each in self.entries if isinstance(each, RefusedStatement))


def from_csv(content: bytes, defaults: StatementDefaults | None = None) -> Statements:
    """Read CSV: one row for each line of a statement, rows of one statement told by their `statement`.

    What a statement has once (recipient, total …) stands in its first row, and may be repeated.
    Raises InvalidRequest for a file that is not CSV or in which a quote is not closed properly: rows
    that such a quote swallowed could belong to any statement.
    """
    rows = _rows(_text(content))
    groups: dict[str, list[tuple[int, dict[str, str]]]] = {}
    loose: dict[str, RefusedStatement] = {}
    for n, (line, row) in enumerate(rows):
        if n >= ROWS:
            raise InvalidRequest(f"The file has more than {ROWS:,} rows: split it.")
        if isinstance(row, StatementProblem):
            key = f"\0{line}"  # no cell has a NUL
            loose[key] = RefusedStatement(id=None, recipient="", faults=(row,))
            groups[key] = []
        else:
            groups.setdefault(row["statement"], []).append((line, row))
    return Statements(
        entries=tuple(
            loose[key] if key in loose else _of_rows(key, held, defaults or StatementDefaults())
            for key, held in groups.items()
        )
    )


def from_json(content: bytes, defaults: StatementDefaults | None = None) -> Statements:
    """Read JSON: a statement or an array of them. Numbers are taken digit by digit, as decimals.

    Raises InvalidRequest for what is no such file.
    """
    try:
        value = json.loads(
            _text(content),
            parse_float=Number,
            parse_int=Number,
            parse_constant=_no_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        why = (
            str(error) if isinstance(error, json.JSONDecodeError | _Twice) else "it cannot be read"
        )
        raise InvalidRequest(f"The file is not JSON: {why}.") from None
    return from_objects(value if isinstance(value, list) else [value], defaults)


def from_objects(values: Sequence[Any], defaults: StatementDefaults | None = None) -> Statements:
    """Read statements out of decoded JSON, where figures are text or whole numbers.

    Raises InvalidRequest for too many of them.
    """
    size = sum(
        len(each["lines"]) if isinstance(each, dict) and isinstance(each.get("lines"), list) else 1
        for each in values
    )
    if size > ROWS:
        raise InvalidRequest(f"The statements have more than {ROWS:,} lines: split them.")
    seen: set[str] = set()
    return Statements(
        entries=tuple(_of_object(each, defaults or StatementDefaults(), seen) for each in values)
    )


# CSV


def _text(content: bytes) -> str:
    if len(content) > BYTES:
        raise InvalidRequest(f"The file is over {BYTES // 1_000_000} MB: split it.")
    return decode_csv(content)


def _rows(text: str) -> Iterator[tuple[int, dict[str, str] | StatementProblem]]:
    rows = valid_rows(text)
    last, names = next(rows, CsvRow(0, []))
    header = [cell.strip() for cell in names]
    _check_header(header)
    for row_end, cells in rows:
        line, last = (
            last + 1,
            row_end,
        )  # a row with a line break in a cell is named by its first line
        if not any(cell.strip() for cell in cells):
            continue
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        if len(cells) != len(header):
            sentence = f"The row has {len(cells)} cells and the first row {len(header)}."
            yield line, StatementProblem(code="row", sentence=sentence, line=line)
        elif "\0" in row["statement"] or not row["statement"]:
            sentence = "The row names no statement."
            yield line, StatementProblem(code="row", sentence=sentence, line=line)
        else:
            yield line, row


def _check_header(header: Sequence[str]) -> None:
    known = (*COLUMNS, *MORE)
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in known]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing:
        raise InvalidRequest(
            f"The first row must name the columns; {', '.join(missing)} is missing."
        )
    if unknown:
        raise InvalidRequest(
            f"There is no column {unknown[0][:50]!r}; there are {', '.join(known)}."
        )
    if twice:
        raise InvalidRequest(f"The column {twice[0]} is there twice.")


def _of_rows(
    key: str, rows: Sequence[tuple[int, Mapping[str, str]]], defaults: StatementDefaults
) -> Statement | RefusedStatement:
    first = rows[0][0]
    faults: list[StatementProblem] = []
    once: dict[str, str] = {}
    subtotals: dict[str, object] = {}
    for line, row in rows:
        for name in _OF_STATEMENT:
            held = row.get(name, "")
            if held and once.setdefault(name, held) != held:
                faults.append(
                    StatementProblem(
                        code=name,
                        sentence=f"The {name} is another than in a row above of the same statement.",
                        line=line,
                    )
                )
        held, section = row.get("subtotal", ""), row.get("section", "")
        if held and subtotals.setdefault(section, held) != held:
            faults.append(
                StatementProblem(
                    code="subtotal",
                    sentence="The subtotal is another than in a row above of the same section.",
                    line=line,
                )
            )
    given = StatementInput(
        id=key,
        recipient=once.get("recipient"),
        name=once.get("name"),
        month=once.get("month") or defaults.month,
        currency=once.get("currency") or defaults.currency,
        locale=once.get("locale") or defaults.locale,
        total=once.get("total", ""),
        subtotals=subtotals,
        lines=[
            LineInput(
                label=row["label"],
                amount=row["amount"],
                quantity=row.get("quantity"),
                unit_price=row.get("unit_price"),
                section=row.get("section"),
                line=line,
            )
            for line, row in rows
        ],
        line=first,
    )
    return _made(given, faults)


def _made(
    given: StatementInput, faults: Sequence[StatementProblem]
) -> Statement | RefusedStatement:
    found: Statement | None = None
    try:
        found = statement(given)
    except InvalidStatement as error:
        faults = [*faults, *error.faults]
    return found if found is not None and not faults else _refused(given, faults)


def _refused(given: StatementInput, faults: Sequence[StatementProblem]) -> RefusedStatement:
    return RefusedStatement(
        id=given.id if isinstance(given.id, str) else None,
        recipient=given.recipient if isinstance(given.recipient, str) else "",
        faults=tuple(faults),
    )


# JSON


class _Twice(ValueError):
    """An object that has a name twice."""


def _no_constant(name: str) -> object:
    raise _Twice(f"{name} is no figure")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("an object has a name twice")
    return found


def _of_object(
    value: Any, defaults: StatementDefaults, seen: set[str]
) -> Statement | RefusedStatement:
    if not isinstance(value, dict):
        fault = StatementProblem(code="statement", sentence="A statement is an object.")
        return RefusedStatement(id=None, recipient="", faults=(fault,))
    faults = [_unknown(name) for name in value if name not in _MEMBERS]
    lines, subtotals = value.get("lines"), value.get("subtotals", {})
    if not isinstance(lines, list) or not all(isinstance(each, dict) for each in lines):
        faults.append(
            StatementProblem(code="lines", sentence="The lines are not an array of objects.")
        )
        lines = None
    if not isinstance(subtotals, dict):
        faults.append(
            StatementProblem(code="subtotal", sentence="The subtotals are not an object.")
        )
        subtotals = {}
    for each in lines or ():
        faults += [_unknown(name) for name in each if name not in _LINE_MEMBERS]
    key = value.get("id")
    if isinstance(key, str):
        if key in seen:
            faults.append(
                StatementProblem(code="id", sentence="There is another statement of this id above.")
            )
        seen.add(key)
    given = StatementInput(
        id=_words(key),
        recipient=_words(value.get("recipient")),
        name=_words(value.get("name")),
        month=_words(value.get("month") or defaults.month),
        currency=_words(value.get("currency") or defaults.currency),
        locale=_words(value.get("locale") or defaults.locale),
        total=value.get("total", ""),
        subtotals=subtotals,
        lines=[
            LineInput(**{"label": None, "amount": None, **_known(each)}) for each in lines or ()
        ],
    )
    return _made(given, faults) if lines is not None else _refused(given, faults)


def _known(line: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in line.items() if name in _LINE_MEMBERS}
    return {
        **found,
        **{name: _words(found[name]) for name in ("label", "section") if name in found},
    }


def _words(value: Any) -> Any:
    """Return a value of which a number is no text."""
    return None if isinstance(value, Number) else value


def _unknown(name: str) -> StatementProblem:
    shown = name[:50] if name.isprintable() else "?"
    return StatementProblem(
        code="member", sentence=f"There is no {shown!r} in a statement or its lines."
    )
