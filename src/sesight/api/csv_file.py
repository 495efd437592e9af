"""Lists as CSV downloads: streamed whole, or in parts with a cursor to the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from litestar import Litestar, Response
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send
from msgspec import to_builtins

from sesight.api.exception_handler import request_id_of
from sesight.api.route import AnyRequest
from sesight.domain.errors import StoreUnavailable
from sesight.services import Services
from sesight.services.answers import Missing, fitting, weight
from sesight.services.csv_table import csv_line, csv_row, flat

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/csv"

PAGE = 500
"""Rows per read of the store. No read is open while the rows are sent."""

CURSOR_HEADER = "Sesight-Next-Cursor"
"""The header with the cursor that continues a partial file; `Link` has it as a URL."""

PARTIAL_HEADER = "Sesight-Partial"
"""The header with what the list lacks; the JSON form has it in `meta.partial`."""


class CsvPage(NamedTuple):
    """Part of a list: its rows as lines of CSV, and the cursor after them (None at the end)."""

    lines: list[str]
    cursor: str | None


class CsvFile(NamedTuple):
    """A list as a CSV file. `read(limit, cursor)` returns up to `limit` rows after a cursor."""

    name: str
    header: str
    read: Callable[[int, str | None], CsvPage]

    @classmethod
    def of(
        cls,
        name: str,
        columns: Sequence[str],
        read: Callable[[int, str | None], tuple[Iterable[Any], str | None]],
    ) -> CsvFile:
        """Return the file of a list whose rows are those of its JSON form."""

        def lines(limit: int, cursor: str | None) -> CsvPage:
            rows, next_cursor = read(limit, cursor)
            return CsvPage([csv_row(columns, flat(row)) for row in rows], next_cursor)

        return cls(name, csv_line(columns), lines)


def csv_answer(
    services: Services,
    request: AnyRequest,
    file: CsvFile,
    limit: int | None,
    cursor: str | None,
) -> Response[Any]:
    """Return a list as a download.

    Without a `limit` it has every row from the cursor on, streamed as it is read. With a `limit`, or where
    the bytes of an answer are limited, it may end earlier: then its headers have the cursor that continues
    it, and its name ends in `_part`.
    """
    if limit is None and services.answer_bytes is None:
        first = file.read(PAGE, cursor)
        is_head = "sesight_head" in request.scope  # only the headers are sent
        return _Download(
            [b""] if is_head else _chunks(file, first),
            media_type=MEDIA_TYPE,
            headers=_disposition(file.name if cursor is None else f"{file.name}_part"),
        )
    lines, next_cursor = _bounded(services, file, limit, cursor)
    is_part = cursor is not None or next_cursor is not None
    headers = _disposition(f"{file.name}_part" if is_part else file.name)
    if next_cursor is not None:
        headers |= {"link": _link(request, next_cursor), CURSOR_HEADER.lower(): next_cursor}
    text = "".join([file.header, *lines])
    return Response(text.encode(), media_type=MEDIA_TYPE, headers=headers)


def _chunks(file: CsvFile, rows: CsvPage) -> Iterator[bytes]:
    yield "".join([file.header, *rows.lines]).encode()
    while rows.cursor is not None:
        try:
            rows = file.read(PAGE, rows.cursor)
            text = "".join(rows.lines).encode()
        except ValueError as error:
            # Litestar takes a ValueError for the end of the iterator, and would complete a cut file
            raise RuntimeError("A row of the file cannot be read.") from error
        yield text


def _bounded(
    services: Services, file: CsvFile, limit: int | None, cursor: str | None
) -> tuple[list[str], str | None]:
    """Return the lines of a page, or without a limit of as many pages as fit into an answer, and the cursor
    after them.
    """
    room = services.answer_bytes
    lines: list[str] = []
    while True:
        rows, is_cut = fitting(room, limit or PAGE, partial(_read, file, cursor), _weights)
        size = sum(_weights(rows))
        if lines and room is not None and size > room:
            return lines, cursor
        lines += rows.lines
        cursor = rows.cursor
        if cursor is None or limit is not None or is_cut:
            return lines, cursor
        room = None if room is None else room - size


def _read(file: CsvFile, cursor: str | None, limit: int) -> CsvPage:
    return file.read(limit, cursor)


def _weights(rows: CsvPage) -> Iterator[int]:
    return map(weight, rows.lines)


def partial_header(missing: Missing) -> str:
    """Return what the list lacks as a header value: `messages; reason=detail-expired; asOf=…`."""
    members = {name: value for name, value in to_builtins(missing).items() if value is not None}
    part = members.pop("part")
    return "; ".join([part, *[f"{name}={value}" for name, value in members.items()]])


def _disposition(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}.csv"'}


def _link(request: AnyRequest, cursor: str) -> str:
    """Return the Link header (RFC 8288) of the next part, relative to the request's URL."""
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))
    return f'<?{urlencode({**query, "cursor": cursor})}>; rel="next"'


class _Download(Stream):
    """A file that is streamed as it is read."""

    def to_asgi_response(
        self, app: Litestar | None, request: AnyRequest, **options: Any
    ) -> ASGIResponse:
        """Return the response that streams the file."""
        del app
        return _Sending(
            iterator=self.iterator,
            headers=self.headers,
            media_type=self.media_type,
            is_head_response=options.get("is_head_response", False),
            request_id=request_id_of(request),
        )


class _Sending(ASGIStreamingResponse):
    """Streams a file page by page. If the store fails, the response is left incomplete: the server closes the
    connection, so that no client takes a cut file for a whole one.
    """

    def __init__(self, *, request_id: str, **options: Any) -> None:
        super().__init__(**options)
        self._request_id = request_id

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send the rows; log if the store fails."""
        try:
            await super().send_body(send, receive)
        except* StoreUnavailable:
            log.warning("API_EXPORT_CUT %s StoreUnavailable", self._request_id)


def file_name(what: str, streams: Sequence[str], days: Sequence[str | None]) -> str:
    """Return a file's name: `sesight-messages_outreach_2026-08-26_2026-11-23`."""
    return "_".join([f"sesight-{what}", "-".join(streams), *[day for day in days if day]])
