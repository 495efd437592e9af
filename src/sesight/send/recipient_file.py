"""Lists of people to send to, as files: CSV with a header, or a JSON list."""

from __future__ import annotations

from typing import Any

import msgspec

from sesight.domain.csv_rows import CsvRow, decode_csv, valid_rows
from sesight.domain.errors import InvalidRequest
from sesight.domain.sending import TemplateRecipient

PEOPLE = 1_000_000
"""People of one file at most."""

FILE_LIMIT = 500_000_000
"""Bytes of a file that are read."""

_decode = msgspec.json.Decoder(list[TemplateRecipient]).decode
_decode_context = msgspec.json.Decoder(dict[str, Any]).decode


def people(data: bytes) -> list[TemplateRecipient]:
    """Read people from a file's bytes.

    Of CSV the column `email` must be there; `name` is shown beside the address; every other column is
    given to the template under its name, where its cell is not empty. Raises InvalidRequest with the line
    that is wrong.
    """
    if len(data) > FILE_LIMIT:
        raise InvalidRequest(f"The list is over {FILE_LIMIT // 1_000_000} MB: split it.")
    text = decode_csv(data)
    found = _from_json(data) if text.lstrip().startswith("[") else _from_csv(text)
    if not found:
        raise InvalidRequest("The list has nobody in it.")
    if len(found) > PEOPLE:
        raise InvalidRequest(f"The list has more than {PEOPLE:,} people: split it.")
    return found


def context(data: bytes) -> dict[str, Any]:
    """Read what a template is told of all people alike, a JSON object. Raises InvalidRequest."""
    try:
        return _decode_context(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # its words name the place and the type, never a value
        raise InvalidRequest(f"The context is no JSON object: {error}.") from None


def _from_json(data: bytes) -> list[TemplateRecipient]:
    try:
        return _decode(data.removeprefix(b"\xef\xbb\xbf"))
    except msgspec.ValidationError as error:
        # its words name the place and the type, never a value
        raise InvalidRequest(f"The list is not one of people: {error}.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The list is no JSON: {error}.") from None


def _from_csv(text: str) -> list[TemplateRecipient]:
    rows = valid_rows(text)
    names = [name.strip() for name in next(rows, CsvRow(0, [])).cells]
    columns = {name.lower(): n for n, name in enumerate(names)}
    if "email" not in columns:
        raise InvalidRequest(
            "The list has no column `email`: its first line names the columns, one of them so."
        )
    if len(columns) < len(names) or "" in columns:
        raise InvalidRequest("Two columns of the list have the same name, or one has none.")
    email, name = columns["email"], columns.get("name")
    found = []
    for line, row in rows:
        if not any(row):
            continue
        if len(row) != len(names):
            raise InvalidRequest(
                f"Line {line} has {len(row)} columns, the first line {len(names)}."
            )
        # an empty cell is no value: the context's, the template's own, or a finding
        others = {
            names[n]: value
            for n, value in enumerate(row)
            if n not in {email, name} and value.strip()
        }
        found.append(TemplateRecipient(row[email], row[name] if name is not None else None, others))
    return found
