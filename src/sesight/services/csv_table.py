"""Rows of answers as CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import to_builtins

from sesight.domain.text import spreadsheet_text


def cell(value: Any) -> str:
    """Return a value as a cell. Null is empty, numbers stay numbers, and text that a spreadsheet would run as
    a formula gets an apostrophe in front.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return spreadsheet_text(str(value))


def flat(row: Any) -> dict[str, Any]:
    """Return a row of an answer as values by column: objects become `name.member` columns, rates their value,
    and lists text with `; ` between the elements.
    """
    cells: dict[str, Any] = {}
    for name, value in to_builtins(row).items():
        _spread(cells, name, value)
    return cells


def _spread(cells: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, Mapping) and name != "tags":
        if value.keys() == {"value", "numerator", "denominator"}:
            cells[name] = value["value"]
        else:
            for member, inner in value.items():
                _spread(cells, f"{name}.{member}", inner)
    elif isinstance(value, Mapping):
        cells[name] = "; ".join(f"{tag}={','.join(values)}" for tag, values in value.items())
    elif isinstance(value, list):
        cells[name] = "; ".join(_element_text(element) for element in value)
    else:
        cells[name] = value


def _element_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(member) for member in value.values() if member is not None)
    return str(value)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a CSV file: a header, then a line for each row."""
    return "".join([csv_line(columns), *[csv_row(columns, row) for row in rows]])


def csv_line(cells: Iterable[str]) -> str:
    """Return one line of RFC 4180: with CRLF, and quotes where needed."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerow(cells)
    return file.getvalue()


def csv_row(columns: Sequence[str], row: Mapping[str, Any]) -> str:
    """Return a row as a line, with a cell for each column."""
    return csv_line(cell(row.get(column)) for column in columns)
