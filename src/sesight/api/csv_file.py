"""Lists as CSV files: whole, or with the way to the rest, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from litestar import Litestar, Response
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send
from msgspec import to_builtins

from sesight.api.dependencies import Services
from sesight.api.problem import request_id_of
from sesight.api.responses import Missing, fitting, weight
from sesight.api.route import AnyRequest
from sesight.domain.errors import StoreUnavailable
from sesight.domain.text import spreadsheet_text

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/csv"

PAGE = 500
"""Rows that one read of the store gives a file. The store is not held while they are sent."""

CURSOR_HEADER = "Sesight-Next-Cursor"
"""The header with the cursor that continues a file which is not whole; `Link` has it as an address."""

PARTIAL_HEADER = "Sesight-Partial"
"""The header with what is missing of a list, which its JSON form has in `meta.partial`."""


def cell(value: Any) -> str:
    """Return a value as a cell: null is empty, and text that a spreadsheet would run gets an
    apostrophe in front; numbers stay numbers.
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
    """Write a file: a header, then a line for each row."""
    return "".join([csv_line(columns), *[_row_line(columns, row) for row in rows]])


def csv_line(cells: Iterable[str]) -> str:
    """Write one line of RFC 4180: CRLF at its end, quotes where needed."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerow(cells)
    return file.getvalue()


def _row_line(columns: Sequence[str], row: Mapping[str, Any]) -> str:
    return csv_line(cell(row.get(column)) for column in columns)


class Rows(NamedTuple):
    """Part of a list: each row as CSV, and the cursor that continues after them, None at the end."""

    lines: list[str]
    cursor: str | None


class CsvFile(NamedTuple):
    """A list to be written as a file. `read(limit, cursor)` gives up to `limit` rows after a cursor."""

    name: str
    header: str
    read: Callable[[int, str | None], Rows]

    @classmethod
    def of(
        cls,
        name: str,
        columns: Sequence[str],
        read: Callable[[int, str | None], tuple[Iterable[Any], str | None]],
    ) -> CsvFile:
        """Return the file of a list whose rows are those of its JSON form."""

        def lines(limit: int, cursor: str | None) -> Rows:
            rows, following = read(limit, cursor)
            return Rows([_row_line(columns, flat(row)) for row in rows], following)

        return cls(name, csv_line(columns), lines)


def csv_answer(
    services: Services,
    request: AnyRequest,
    file: CsvFile,
    limit: int | None,
    cursor: str | None,
) -> Response[Any]:
    """Return a list as a download.

    Without a `limit` it is every row from the cursor on, sent while it is read. Where an answer may
    only have so many bytes, or with a `limit`, it may end earlier: then its headers have the cursor
    that continues it, and its name ends in `_part`.
    """
    if limit is None and services.answer_bytes is None:
        first = file.read(PAGE, cursor)
        is_head = "sesight_head" in request.scope  # of which nothing but the headers is sent
        return _Download(
            [b""] if is_head else _chunks(file, first),
            media_type=MEDIA_TYPE,
            headers=_disposition(file.name if cursor is None else f"{file.name}_part"),
        )
    lines, following = _bounded(services, file, limit, cursor)
    is_part = cursor is not None or following is not None
    headers = _disposition(f"{file.name}_part" if is_part else file.name)
    if following is not None:
        headers |= {"link": _link(request, following), CURSOR_HEADER.lower(): following}
    text = "".join([file.header, *lines])
    return Response(text.encode(), media_type=MEDIA_TYPE, headers=headers)


def _chunks(file: CsvFile, rows: Rows) -> Iterator[bytes]:
    yield "".join([file.header, *rows.lines]).encode()
    while rows.cursor is not None:
        try:
            rows = file.read(PAGE, rows.cursor)
            text = "".join(rows.lines).encode()
        except ValueError as error:
            # Litestar takes a ValueError of an iterator for its end, and would end the file as if whole
            raise RuntimeError("A row of the file cannot be read.") from error
        yield text


def _bounded(
    services: Services, file: CsvFile, limit: int | None, cursor: str | None
) -> tuple[list[str], str | None]:
    """Return the lines of a page, or without a limit of as many pages as an answer may have bytes, and
    the cursor after them.
    """
    room = services.answer_bytes
    lines: list[str] = []
    while True:
        rows, is_cut = fitting(room, limit or PAGE, partial(_read, file, cursor), _weights)
        taken = sum(_weights(rows))
        if lines and room is not None and taken > room:
            return lines, cursor
        lines += rows.lines
        cursor = rows.cursor
        if cursor is None or limit is not None or is_cut:
            return lines, cursor
        room = None if room is None else room - taken


def _read(file: CsvFile, cursor: str | None, limit: int) -> Rows:
    return file.read(limit, cursor)


def _weights(rows: Rows) -> Iterator[int]:
    return map(weight, rows.lines)


def partial_header(missing: Missing) -> str:
    """Return what is missing, as a header has it: `messages; reason=detail-expired; asOf=…`."""
    told = {name: value for name, value in to_builtins(missing).items() if value is not None}
    part = told.pop("part")
    return "; ".join([part, *[f"{name}={value}" for name, value in told.items()]])


def _disposition(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}.csv"'}


def _link(request: AnyRequest, cursor: str) -> str:
    """Return where a list continues, relative to where it was asked for (RFC 8288)."""
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))
    return f'<?{urlencode({**query, "cursor": cursor})}>; rel="next"'


class _Download(Stream):
    """A file that is sent while it is read."""

    def to_asgi_response(
        self, app: Litestar | None, request: AnyRequest, **options: Any
    ) -> ASGIResponse:
        """Return what sends it."""
        del app
        return _Sending(
            iterator=self.iterator,
            headers=self.headers,
            media_type=self.media_type,
            is_head_response=options.get("is_head_response", False),
            request_id=request_id_of(request),
        )


class _Sending(ASGIStreamingResponse):
    """Sends a file page by page. If the store fails before the end, the response is left without its
    end: the server then closes the connection, and no client can take the file for a whole one.
    """

    def __init__(self, *, request_id: str, **options: Any) -> None:
        """Keep the id to be logged."""
        super().__init__(**options)
        self._request_id = request_id

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send the rows."""
        try:
            await super().send_body(send, receive)
        except* StoreUnavailable:
            log.warning("API_EXPORT_CUT %s StoreUnavailable", self._request_id)


def file_name(what: str, streams: Sequence[str], days: Sequence[str | None]) -> str:
    """Return how a file is called: `sesight-messages_outreach_2026-08-26_2026-11-23`."""
    return "_".join([f"sesight-{what}", "-".join(streams), *[day for day in days if day]])
