"""Reads HTTP requests as operations of SES v2, and validates them against AWS's own model.

The model is the one botocore ships (`sesv2/2019-09-27/service-2`): its paths, shapes, limits and error
statuses. So this simulation accepts what a real client can send, and nothing else.
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
"""Errors of AWS's front end, which are in no service's model."""

MAX_PAGE_SIZE = 1_000

_VARIABLE = re.compile(r"\{(\w+)\}")
_BOOLEANS = {"true": True, "false": False}


class SesError(Exception):
    """An error answer of SES: its code and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Operation = Callable[[dict[str, Any]], dict[str, Any]]
"""Performs an operation: from its parameters to its output. Raises SesError."""


class ApiCall(NamedTuple):
    """One call of an operation; parameters are named as in boto3, blobs are bytes."""

    operation: str
    parameters: dict[str, Any]


def page(parameters: dict[str, Any], rows: list[Any], name: str) -> dict[str, Any]:
    """Return one page of a list: at most PageSize rows, NextToken if more follow. Raises SesError."""
    token = parameters.get("NextToken", "0")
    if not (token.isascii() and token.isdigit()):
        raise SesError("BadRequestException", "The token is not valid.")
    size = parameters.get("PageSize", 100)
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise SesError("BadRequestException", f"The page size must be from 1 to {MAX_PAGE_SIZE}.")
    start = int(token)
    output: dict[str, Any] = {name: rows[start : start + size]}
    if start + size < len(rows):
        output["NextToken"] = str(start + size)
    return output


class ApiModel:
    """The operations of SES v2 that this simulation answers."""

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
        """Return the HTTP status of an error code."""
        return self._statuses[code]

    def read(self, method: str, target: str, body: bytes) -> ApiCall:
        """Return the call that a request makes. Raises SesError."""
        parts = urlsplit(target)
        for verb, pattern, operation in self._routes:
            match = pattern.fullmatch(parts.path)
            if verb == method and match is not None:
                members = _members(operation.input_shape, match.groupdict(), parts.query, body)
                return ApiCall(operation.name, _structure(operation.input_shape, members, ""))
        raise SesError(
            "UnknownOperationException",
            f"This simulation has no such operation: {method} {parts.path}.",
        )


def _members(shape: Any, path: dict[str, str], query: str, body: bytes) -> dict[str, Any]:
    """Collect the members of an operation's input from path, query and body."""
    try:
        members = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeError):
        raise SesError("BadRequestException", "Could not parse the body as JSON.") from None
    if not isinstance(members, dict):
        raise SesError("BadRequestException", "The body is not a JSON object.")
    query_values = parse_qs(query)
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if location == "uri":
            members[name] = unquote(path[wire_name])
        elif location == "querystring" and wire_name in query_values:
            values = query_values[wire_name]
            members[name] = values if member.type_name == "list" else _scalar(member, values[0])
    return members


def _scalar(shape: Any, text: str) -> Any:
    if shape.type_name == "integer":
        return int(text) if text.isascii() and text.isdigit() else text
    return _BOOLEANS.get(text, text) if shape.type_name == "boolean" else text


def _structure(shape: Any, members: dict[str, Any], parent: str) -> dict[str, Any]:
    structure = {}
    for name, member in shape.members.items():
        path = f"{parent}.{name}" if parent else name
        value = members.get(name)
        if value is not None:
            structure[name] = _value(member, value, path)
        elif name in shape.required_members:
            raise _violation("null", path, "Member must not be null")
    return structure


def _value(shape: Any, value: Any, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, _instance(dict, value, path), path)
    if kind == "list":
        items = _instance(list, value, path)
        _check_length(shape, len(items), path)
        member = shape.member
        return [
            _value(member, item, f"{path}.{number}.member") for number, item in enumerate(items, 1)
        ]
    if kind == "map":
        return dict(_instance(dict, value, path))
    if kind == "blob":
        try:
            return base64.b64decode(_instance(str, value, path), validate=True)
        except (binascii.Error, ValueError):
            raise _violation("...", path, "Member must be base64") from None
    if kind == "string":
        return _string(shape, _instance(str, value, path), path)
    if kind == "boolean":
        return _instance(bool, value, path)
    if kind == "timestamp":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _violation("...", path, "Member must be a number")
    return value


def _string(shape: Any, value: str, path: str) -> str:
    _check_length(shape, len(value), path)
    pattern = shape.metadata.get("pattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        raise _violation("...", path, f"Member must satisfy regular expression pattern: {pattern}")
    if shape.enum and value not in shape.enum:
        raise _violation("...", path, f"Member must satisfy enum value set: {list(shape.enum)}")
    return value


def _check_length(shape: Any, length: int, path: str) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if most is not None and length > most:
        raise _violation("...", path, f"Member must have length less than or equal to {most}")
    if least is not None and length < least:
        raise _violation("...", path, f"Member must have length greater than or equal to {least}")


def _instance(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, kind):
        raise _violation("...", path, f"Member must be of type {kind.__name__}")
    return value


def _violation(value: str, path: str, constraint: str) -> SesError:
    return SesError(
        "BadRequestException",
        f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
        f"{constraint}",
    )
