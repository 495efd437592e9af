"""Values that many records share, stored once and referred to by number; short codes for IP networks."""

from __future__ import annotations

from collections.abc import Callable
from socket import inet_aton, inet_ntoa
from typing import Any

import msgspec

from sesight.domain.tally import TallyDimensions
from sesight.domain.timestamps import DAY

_encode = msgspec.msgpack.Encoder().encode
_CACHED = 65_536
_SPAN_DAYS = 16
SPAN = _SPAN_DAYS * DAY
"""Milliseconds of a span of send days: the numbers that one `ValueIds` remembers are good for a span."""


class ValueIds(dict[Any, int]):
    """The numbers of shared values, for records of one span. A missing value is looked up, or stored."""

    def __init__(self, number: Callable[[Any, int], int], last_day: int) -> None:
        """`number` returns the number of a value that is to be kept to a day, here to `last_day`."""
        super().__init__({None: 0})
        self._number = number
        self._last_day = last_day

    def __missing__(self, value: Any) -> int:
        number = self[value] = self._number(value, self._last_day)
        return number


class Networks(dict[Any, Any]):
    """IPv4 networks (/24, as `a.b.c.0`) as 24-bit numbers; None as -1; other texts as they are."""

    def __missing__(self, ip: str) -> int | str:
        code: int | str = ip
        try:
            packed = inet_aton(ip)
        except (OSError, ValueError):
            packed = b""
        if packed[3:] == b"\0" and inet_ntoa(packed) == ip:  # as it is written back
            code = int.from_bytes(packed[:3])
        if len(self) >= _CACHED:
            self.clear()
            self[None] = -1
        self[ip] = code
        return code


class NetworkNames(dict[Any, Any]):
    """The networks by number: the inverse of `Networks`."""

    def __missing__(self, code: int | str) -> str:
        if type(code) is str:
            return code
        if len(self) >= _CACHED:
            self.clear()
            self[-1] = None
        name = self[code] = inet_ntoa(int(code).to_bytes(3) + b"\0")
        return name


NETWORKS = Networks({None: -1})
NETWORK_NAMES = NetworkNames({-1: None})


def pack_value(value: Any) -> bytes:
    """Return the bytes of a shared value: a text, a head (a tuple) or the dimensions of a tally."""
    if type(value) is tuple:
        return _encode((0, *value))
    if type(value) is TallyDimensions:
        return _encode((1, value))
    return _encode(value)


def unpack_value(data: bytes) -> Any:
    """Return the shared value in some bytes."""
    value = msgspec.msgpack.decode(data)
    if type(value) is not list:
        return value
    if value[0] == 0:
        *texts, tags = value[1:]
        return (*texts, tuple([(name, text) for name, text in tags]))
    return msgspec.convert(value[1], TallyDimensions)


class SharedValues(dict[int, Any]):
    """Shared values by number. A missing one is read; a number never gets another value."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """`read` returns the stored bytes of a number."""
        super().__init__({0: None})
        self._read = read

    def __missing__(self, number: int) -> Any:
        if len(self) >= _CACHED:
            self.clear()
            self[0] = None
        value = self[number] = unpack_value(self._read(number))
        return value


def last_day(span: int) -> int:
    """Return the last send day of a span."""
    return (span + 1) * _SPAN_DAYS - 1
