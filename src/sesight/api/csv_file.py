"""Rows as a CSV file that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from litestar import Response
from msgspec import to_builtins

from sesight.domain.text import spreadsheet_text

MEDIA_TYPE = "text/csv"


def cell(value: Any) -> str:
    """Return a value as a cell: null is empty, and text that a spreadsheet would run gets an
    apostrophe in front (edge case 52); numbers stay numbers.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return spreadsheet_text(str(value))


def flat(row: Any) -> dict[str, Any]:
    """Return a row of an answer as cells by column: objects are spread over `name.member` columns,
    rates are their value, lists are written out with `; ` between.
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
            for member, held in value.items():
                _spread(cells, f"{name}.{member}", held)
    elif isinstance(value, Mapping):
        cells[name] = "; ".join(f"{tag}={','.join(values)}" for tag, values in value.items())
    elif isinstance(value, list):
        cells[name] = "; ".join(_written(each) for each in value)
    else:
        cells[name] = value


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(held) for held in value.values() if held is not None)
    return str(value)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write RFC 4180: a header, CRLF line ends, quotes where needed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return file.getvalue()


def csv_answer(name: str, columns: Sequence[str], rows: Iterable[Any]) -> Response[Any]:
    """Return rows of an answer as a download; `name` without its ending."""
    text = csv_text(columns, (flat(row) for row in rows))
    return Response(
        text.encode(),
        media_type=MEDIA_TYPE,
        headers={"content-disposition": f'attachment; filename="{name}.csv"'},
    )


def file_name(what: str, streams: Sequence[str], days: Sequence[str | None]) -> str:
    """Return what ux.md §b.0 calls a file: `sesight-messages_outreach_2026-08-26_2026-11-23`."""
    return "_".join([f"sesight-{what}", "-".join(streams), *[day for day in days if day]])
