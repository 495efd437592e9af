"""Calls: HTTP requests read as operations of SES v2, held to AWS's own model of them.

The model is the one botocore ships (`sesv2/2019-09-27/service-2`): its paths, its shapes, its limits
and the status of its errors. So what this simulation takes is what a real client can say.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.loaders
import botocore.model
import msgspec

_OTHER_STATUSES = {
    "MissingAuthenticationTokenException": 403,
    "UnknownOperationException": 404,
    "RequestEntityTooLargeException": 413,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
}
"""Statuses of errors that AWS's front answers, not SES: they are in no model."""

_VARIABLE = re.compile(r"\{(\w+)\}")
_TRUTHS = {"true": True, "false": False}


class Refused(Exception):
    """An error SES answers: its code and the sentence of its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Operation = Callable[[dict[str, Any]], dict[str, Any]]
"""What answers an operation: from its parameters to its output. Raises Refused."""


class Call(NamedTuple):
    """One operation asked for; the parameters as a client writes them, blobs as bytes."""

    operation: str
    parameters: dict[str, Any]


def page(given: dict[str, Any], rows: list[Any], name: str, *, most: int = 1_000) -> dict[str, Any]:
    """One page of a list: at most PageSize rows, NextToken where there are more. Raises Refused."""
    token = given.get("NextToken", "0")
    if not (token.isascii() and token.isdigit()):
        raise Refused("BadRequestException", "The token is not one of ours.")
    size = given.get("PageSize", 100)
    if not 1 <= size <= most:
        raise Refused("BadRequestException", f"The page size must be from 1 to {most}.")
    begin = int(token)
    answer: dict[str, Any] = {name: rows[begin : begin + size]}
    if begin + size < len(rows):
        answer["NextToken"] = str(begin + size)
    return answer


class Model:
    """What of SES v2 this simulation answers."""

    def __init__(self, operations: frozenset[str]) -> None:
        service = botocore.model.ServiceModel(
            botocore.loaders.Loader().load_service_model("sesv2", "service-2")
        )
        self._statuses = dict(_OTHER_STATUSES)
        for shape in service.error_shapes:
            self._statuses[shape.name] = shape.metadata["error"]["httpStatusCode"]
        self._routes = [
            (
                operation.http["method"],
                re.compile(_VARIABLE.sub(r"(?P<\1>[^/]+)", operation.http["requestUri"])),
                operation,
            )
            for operation in map(service.operation_model, sorted(operations))
        ]

    def status(self, code: str) -> int:
        """The HTTP status of an error."""
        return self._statuses[code]

    def read(self, method: str, target: str, body: bytes) -> Call:
        """The call a request makes. Raises Refused."""
        parts = urlsplit(target)
        for verb, pattern, operation in self._routes:
            found = pattern.fullmatch(parts.path)
            if verb == method and found is not None:
                given = _given(operation.input_shape, found.groupdict(), parts.query, body)
                return Call(operation.name, _structure(operation.input_shape, given, ""))
        raise Refused("UnknownOperationException", f"This simulation knows no {method} here.")


def _given(shape: Any, path: dict[str, str], query: str, body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeError):
        raise Refused("BadRequestException", "Could not parse the body as JSON.") from None
    if not isinstance(given, dict):
        raise Refused("BadRequestException", "The body is no JSON object.")
    asked = parse_qs(query)
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        known_as = member.serialization.get("name", name)
        if where == "uri":
            given[name] = unquote(path[known_as])
        elif where == "querystring" and known_as in asked:
            values = asked[known_as]
            given[name] = values if member.type_name == "list" else _plain(member, values[0])
    return given


def _plain(shape: Any, text: str) -> Any:
    if shape.type_name == "integer":
        return int(text) if text.isascii() and text.isdigit() else text
    return _TRUTHS.get(text, text) if shape.type_name == "boolean" else text


def _structure(shape: Any, given: dict[str, Any], where: str) -> dict[str, Any]:
    read = {}
    for name, member in shape.members.items():
        path = f"{where}.{name}" if where else name
        value = given.get(name)
        if value is not None:
            read[name] = _value(member, value, path)
        elif name in shape.required_members:
            raise _wrong("null", path, "Member must not be null")
    return read


def _value(shape: Any, value: Any, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, _of(dict, value, path), path)
    if kind == "list":
        items = _of(list, value, path)
        _bounded(shape, len(items), path)
        member = shape.member
        return [_value(member, each, f"{path}.{n}.member") for n, each in enumerate(items, 1)]
    if kind == "map":
        return dict(_of(dict, value, path))
    if kind == "blob":
        try:
            return base64.b64decode(_of(str, value, path), validate=True)
        except (binascii.Error, ValueError):
            raise _wrong("...", path, "Member must be base64") from None
    if kind == "string":
        return _string(shape, _of(str, value, path), path)
    if kind == "boolean":
        return _of(bool, value, path)
    if kind == "timestamp":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong("...", path, "Member must be a number")
    return value


def _string(shape: Any, value: str, path: str) -> str:
    _bounded(shape, len(value), path)
    pattern = shape.metadata.get("pattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        raise _wrong("...", path, f"Member must satisfy regular expression pattern: {pattern}")
    if shape.enum and value not in shape.enum:
        raise _wrong("...", path, f"Member must satisfy enum value set: {list(shape.enum)}")
    return value


def _bounded(shape: Any, length: int, path: str) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if most is not None and length > most:
        raise _wrong("...", path, f"Member must have length less than or equal to {most}")
    if least is not None and length < least:
        raise _wrong("...", path, f"Member must have length greater than or equal to {least}")


def _of(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong("...", path, f"Member must be of type {kind.__name__}")
    return value


def _wrong(value: str, path: str, constraint: str) -> Refused:
    return Refused(
        "BadRequestException",
        f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
        f"{constraint}",
    )
