"""Recipient lists as files: CSV with a header, or a JSON array; and the context that all recipients share."""

from __future__ import annotations

from typing import Any

import msgspec

from sesight.domain.csv_rows import CsvRow, decode_csv, valid_rows
from sesight.domain.errors import InvalidRequest
from sesight.domain.sending import TemplateRecipient

MAX_RECIPIENTS = 1_000_000
"""The largest number of recipients of one file."""

FILE_LIMIT = 500_000_000
"""The largest number of bytes of a file."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_decode_recipients = msgspec.json.Decoder(list[TemplateRecipient]).decode
_decode_context = msgspec.json.Decoder(dict[str, Any]).decode


def read_recipients(data: bytes) -> list[TemplateRecipient]:
    """Read the recipients of a file.

    CSV must have a column `email`; `name` is the display name; each other column is a variable of the
    template, unless its cell is empty. Raises InvalidRequest with the line that is wrong.
    """
    if len(data) > FILE_LIMIT:
        raise InvalidRequest(f"The list is over {FILE_LIMIT // 1_000_000} MB: split it.")
    text = decode_csv(data)
    recipients = _from_json(data) if text.lstrip().startswith("[") else _from_csv(text)
    if not recipients:
        raise InvalidRequest("The list has no recipients.")
    if len(recipients) > MAX_RECIPIENTS:
        raise InvalidRequest(f"The list has more than {MAX_RECIPIENTS:,} recipients: split it.")
    return recipients


def read_context(data: bytes) -> dict[str, Any]:
    """Read the variables that all recipients share, a JSON object. Raises InvalidRequest."""
    try:
        return _decode_context(data.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec's message names the place and the type, never a value
        raise InvalidRequest(f"The context is no JSON object: {error}.") from None


def _from_json(data: bytes) -> list[TemplateRecipient]:
    try:
        return _decode_recipients(data.removeprefix(_BYTE_ORDER_MARK))
    except msgspec.ValidationError as error:
        # msgspec's message names the place and the type, never a value
        raise InvalidRequest(f"The list is not an array of recipients: {error}.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The list is no JSON: {error}.") from None


def _from_csv(text: str) -> list[TemplateRecipient]:
    rows = valid_rows(text)
    names = [name.strip() for name in next(rows, CsvRow(0, [])).cells]
    columns = {name.lower(): n for n, name in enumerate(names)}
    if "email" not in columns:
        raise InvalidRequest(
            "The list has no column `email`: its first line must name the columns, one of them so."
        )
    if len(columns) < len(names) or "" in columns:
        raise InvalidRequest("Two columns of the list have the same name, or one has none.")
    email, name = columns["email"], columns.get("name")
    recipients = []
    for line, cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(names):
            raise InvalidRequest(
                f"Line {line} has {len(cells)} columns, the first line {len(names)}."
            )
        # an empty cell is no value: the shared context or the template's default applies
        variables = {
            names[n]: cell
            for n, cell in enumerate(cells)
            if n not in {email, name} and cell.strip()
        }
        recipients.append(
            TemplateRecipient(cells[email], None if name is None else cells[name], variables)
        )
    return recipients
