"""Lists as CSV files: whole, or with the way to the rest, and safe to open in a spreadsheet."""

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
"""Rows that one read of the store gives a file. The store is not held while they are sent."""

CURSOR_HEADER = "Sesight-Next-Cursor"
"""The header with the cursor that continues a file which is not whole; `Link` has it as an address."""

PARTIAL_HEADER = "Sesight-Partial"
"""The header with what is missing of a list, which its JSON form has in `meta.partial`."""


class CsvPage(NamedTuple):
    """Part of a list: each row as CSV, and the cursor that continues after them, None at the end."""

    lines: list[str]
    cursor: str | None


class CsvFile(NamedTuple):
    """A list to be written as a file. `read(limit, cursor)` gives up to `limit` rows after a cursor."""

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
            rows, following = read(limit, cursor)
            return CsvPage([csv_row(columns, flat(row)) for row in rows], following)

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


def _chunks(file: CsvFile, rows: CsvPage) -> Iterator[bytes]:
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


def _read(file: CsvFile, cursor: str | None, limit: int) -> CsvPage:
    return file.read(limit, cursor)


def _weights(rows: CsvPage) -> Iterator[int]:
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
