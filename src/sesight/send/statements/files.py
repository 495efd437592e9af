"""Reads statements from CSV and JSON files and from requests. Invalid ones are kept with their problems."""

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
    read_statement,
)
from sesight.send.statements.money import Number

FILE_LIMIT = 50_000_000
"""The largest number of bytes of a file."""

ROWS = 200_000
"""The largest number of rows of a CSV file, or of lines of all statements together."""

COLUMNS = ("statement", "recipient", "label", "amount", "total")
"""Columns that a CSV file must have."""

OPTIONAL_COLUMNS = (
    *("name", "month", "currency", "locale"),
    *("quantity", "unit_price", "section", "subtotal"),
)
"""Columns that it may have."""

_STATEMENT_COLUMNS = ("recipient", "name", "month", "currency", "locale", "total")
_MEMBERS = frozenset({"id", *_STATEMENT_COLUMNS, "lines", "subtotals"})
_LINE_MEMBERS = frozenset({"label", "amount", "quantity", "unit_price", "section"})

NumberedRow = tuple[int, Mapping[str, str]]
"""The first line of a CSV row in its file, and the cells by column."""


class RefusedStatement(Struct, frozen=True, kw_only=True):
    """A statement that is not sent: its id and recipient as far as they are known, and its problems."""

    id: str | None
    recipient: str
    problems: tuple[StatementProblem, ...]

    @property
    def code(self) -> str:
        """Return the code of the first problem."""
        return self.problems[0].code

    @property
    def sentence(self) -> str:
        """Return the first problem, with its line in the file, and the number of further ones."""
        problem, more = self.problems[0], len(self.problems) - 1
        line = "" if problem.line is None else f"Line {problem.line}: "
        return f"{line}{problem.sentence}{f' ({more} more)' if more else ''}"


class StatementDefaults(Struct, frozen=True, kw_only=True):
    """The values of statements that do not have their own."""

    month: str | None = None
    currency: str | None = None
    locale: str | None = None


Statements = tuple[Statement | RefusedStatement, ...]
"""The statements of a file or a request, in its order."""


def from_csv(content: bytes, defaults: StatementDefaults | None = None) -> Statements:
    """Read CSV: one row for each line of a statement; rows with the same `statement` are one statement.

    What a statement has once (recipient, total …) is in its first row and may be repeated. Raises
    InvalidRequest for a file that is not CSV or in which a quote is not closed properly: rows that such
    a quote swallowed could belong to any statement.
    """
    groups: dict[str, list[NumberedRow]] = {}
    refused: dict[str, RefusedStatement] = {}
    for n, (line, row) in enumerate(_rows(_text(content))):
        if n >= ROWS:
            raise InvalidRequest(f"The file has more than {ROWS:,} rows: split it.")
        if isinstance(row, StatementProblem):
            key = f"\0{line}"  # no cell has a NUL, so no statement has this id
            refused[key] = RefusedStatement(id=None, recipient="", problems=(row,))
            groups[key] = []
        else:
            groups.setdefault(row["statement"], []).append((line, row))
    return tuple(
        refused[id_] if id_ in refused else _from_rows(id_, rows, defaults or StatementDefaults())
        for id_, rows in groups.items()
    )


def from_json(content: bytes, defaults: StatementDefaults | None = None) -> Statements:
    """Read JSON: a statement or an array of them. Numbers are read digit by digit, as decimals.

    Raises InvalidRequest for a file that is not JSON.
    """
    try:
        value = json.loads(
            _text(content),
            parse_float=Number,
            parse_int=Number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        is_readable = isinstance(error, json.JSONDecodeError | _InvalidJson)
        reason = str(error) if is_readable else "it cannot be read"
        raise InvalidRequest(f"The file is not JSON: {reason}.") from None
    return from_objects(value if isinstance(value, list) else [value], defaults)


def from_objects(values: Sequence[Any], defaults: StatementDefaults | None = None) -> Statements:
    """Read statements from decoded JSON, in which figures are strings or integers.

    Raises InvalidRequest for too many lines.
    """
    lines = sum(
        len(value["lines"])
        if isinstance(value, dict) and isinstance(value.get("lines"), list)
        else 1
        for value in values
    )
    if lines > ROWS:
        raise InvalidRequest(f"The statements have more than {ROWS:,} lines: split them.")
    seen: set[str] = set()
    return tuple(_from_object(value, defaults or StatementDefaults(), seen) for value in values)


# CSV


def _text(content: bytes) -> str:
    if len(content) > FILE_LIMIT:
        raise InvalidRequest(f"The file is over {FILE_LIMIT // 1_000_000} MB: split it.")
    return decode_csv(content)


def _rows(text: str) -> Iterator[tuple[int, dict[str, str] | StatementProblem]]:
    rows = valid_rows(text)
    last_line, names = next(rows, CsvRow(0, []))
    header = [cell.strip() for cell in names]
    _check_header(header)
    for row_end, cells in rows:
        # a row with a line break in a cell is reported with its first line
        line, last_line = last_line + 1, row_end
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
    known = (*COLUMNS, *OPTIONAL_COLUMNS)
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in known]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if missing:
        raise InvalidRequest(
            f"The first row must name the columns; {', '.join(missing)} is missing."
        )
    if unknown:
        raise InvalidRequest(
            f"There is no column {unknown[0][:50]!r}; there are {', '.join(known)}."
        )
    if repeated:
        raise InvalidRequest(f"The file has the column {repeated[0]} twice.")


def _from_rows(
    id_: str, rows: Sequence[NumberedRow], defaults: StatementDefaults
) -> Statement | RefusedStatement:
    problems: list[StatementProblem] = []
    once: dict[str, str] = {}
    subtotals: dict[str, object] = {}
    for line, row in rows:
        for name in _STATEMENT_COLUMNS:
            value = row.get(name, "")
            if value and once.setdefault(name, value) != value:
                sentence = f"The {name} differs from a row above of the same statement."
                problems.append(StatementProblem(code=name, sentence=sentence, line=line))
        value, section = row.get("subtotal", ""), row.get("section", "")
        if value and subtotals.setdefault(section, value) != value:
            sentence = "The subtotal differs from a row above of the same section."
            problems.append(StatementProblem(code="subtotal", sentence=sentence, line=line))
    values = StatementInput(
        id=id_,
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
        line=rows[0][0],
    )
    return _checked(values, problems)


def _checked(
    values: StatementInput, problems: Sequence[StatementProblem]
) -> Statement | RefusedStatement:
    """Return a statement, refused if it has problems of its own or those found so far."""
    try:
        statement = read_statement(values)
    except InvalidStatement as error:
        return _refused(values, [*problems, *error.problems])
    return _refused(values, problems) if problems else statement


def _refused(values: StatementInput, problems: Sequence[StatementProblem]) -> RefusedStatement:
    return RefusedStatement(
        id=values.id if isinstance(values.id, str) else None,
        recipient=values.recipient if isinstance(values.recipient, str) else "",
        problems=tuple(problems),
    )


# JSON


class _InvalidJson(ValueError):
    """JSON that the standard library would read, and lose something."""


def _refuse_constant(name: str) -> object:
    raise _InvalidJson(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _InvalidJson("an object has a name twice")
    return members


def _from_object(
    value: Any, defaults: StatementDefaults, seen: set[str]
) -> Statement | RefusedStatement:
    if not isinstance(value, dict):
        problem = StatementProblem(code="statement", sentence="A statement must be an object.")
        return RefusedStatement(id=None, recipient="", problems=(problem,))
    problems = [_unknown_member(name) for name in value if name not in _MEMBERS]
    lines, subtotals = value.get("lines"), value.get("subtotals", {})
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        sentence = "The lines are not an array of objects."
        problems.append(StatementProblem(code="lines", sentence=sentence))
        lines = None
    if not isinstance(subtotals, dict):
        sentence = "The subtotals are not an object."
        problems.append(StatementProblem(code="subtotal", sentence=sentence))
        subtotals = {}
    for line in lines or ():
        problems += [_unknown_member(name) for name in line if name not in _LINE_MEMBERS]
    id_ = value.get("id")
    if isinstance(id_, str):
        if id_ in seen:
            sentence = "A statement above has the same id."
            problems.append(StatementProblem(code="id", sentence=sentence))
        seen.add(id_)
    values = StatementInput(
        id=_not_number(id_),
        recipient=_not_number(value.get("recipient")),
        name=_not_number(value.get("name")),
        month=_not_number(value.get("month") or defaults.month),
        currency=_not_number(value.get("currency") or defaults.currency),
        locale=_not_number(value.get("locale") or defaults.locale),
        total=value.get("total", ""),
        subtotals=subtotals,
        lines=[
            LineInput(**{"label": None, "amount": None, **_line_members(line)})
            for line in lines or ()
        ],
    )
    return _checked(values, problems) if lines is not None else _refused(values, problems)


def _line_members(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _not_number(value) if name in {"label", "section"} else value
        for name, value in line.items()
        if name in _LINE_MEMBERS
    }


def _not_number(value: Any) -> Any:
    """Return the value of a text member: `Number` is a subclass of str, but no text."""
    return None if isinstance(value, Number) else value


def _unknown_member(name: str) -> StatementProblem:
    shown = name[:50] if name.isprintable() else "?"
    return StatementProblem(
        code="member", sentence=f"Statements and their lines have no member {shown!r}."
    )
