"""Explain why a decoded value does not match a type: where, what is expected, and what was likely meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from msgspec import inspect

ValuePath = tuple[str | int, ...]
"""Names and list positions, from the outermost value inwards."""


class Mismatch(NamedTuple):
    """The first difference between a value and its type: an unknown name, a missing one, or a wrong value.

    `path` leads to it. `expected` describes the expected value in words; `allowed` lists the allowed names
    or values if they can be listed.
    """

    what: Literal["unknown", "missing", "wrong"]
    path: ValuePath
    value: Any = None
    expected: str = ""
    allowed: tuple[str, ...] = ()

    @property
    def nearest(self) -> str | None:
        """Return the allowed name or value that was likely meant, or None."""
        meant = self.value if self.what == "wrong" else self.path[-1]
        return closest_match(meant, self.allowed) if isinstance(meant, str) else None


_PATTERNS = {"^[0-9a-f]{64}$": "64 hex digits"}
"""Descriptions of the patterns that settings use."""


def closest_match(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that is spelled most like a word, None if none is similar."""
    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def find_mismatch(value: Any, of: Any) -> Mismatch | None:
    """Return the first mismatch of decoded JSON or TOML with a type, None if there is none. Numbers and
    booleans may be text, as they are in environment variables.
    """
    return _find(value, inspect.type_info(of), ())


def expectation(of: Any) -> tuple[str, tuple[str, ...]]:
    """Return a description of a type's values, and the list of all values if there are few."""
    return _expected(inspect.type_info(of))


def _find(value: Any, kind: inspect.Type, path: ValuePath) -> Mismatch | None:
    if isinstance(kind, inspect.UnionType):
        kinds = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
        if value is None and len(kinds) < len(kind.types):
            return None
        mismatches = [_find(value, option, path) for option in kinds]
        return None if None in mismatches else mismatches[0]
    if isinstance(kind, inspect.StructType):
        return _find_in_struct(value, kind, path)
    if isinstance(kind, inspect.DictType) and isinstance(value, Mapping):
        parts = (_find(part, kind.value_type, (*path, name)) for name, part in value.items())
        return next(filter(None, parts), None)
    if isinstance(kind, inspect.ListType) and _is_list(value, kind):
        parts = (_find(part, kind.item_type, (*path, at)) for at, part in enumerate(value))
        return next(filter(None, parts), None)
    if _fits(value, kind):
        return None
    expected, allowed = _expected(kind)
    return Mismatch("wrong", path, value, expected, allowed)


def _find_in_struct(value: Any, kind: inspect.StructType, path: ValuePath) -> Mismatch | None:
    names = tuple(field.encode_name for field in kind.fields)
    if not isinstance(value, Mapping):
        return Mismatch("wrong", path, value, f"a table with {_listed(names)}")
    for name in value:
        if kind.forbid_unknown_fields and name not in names:
            return Mismatch("unknown", (*path, name), allowed=names)
    for field in kind.fields:
        field_path = (*path, field.encode_name)
        if field.encode_name in value:
            mismatch = _find(value[field.encode_name], field.type, field_path)
            if mismatch is not None:
                return mismatch
        elif field.required:
            expected, allowed = _expected(field.type)
            return Mismatch("missing", field_path, None, expected, allowed)
    return None


def _is_list(value: Any, kind: inspect.ListType) -> bool:
    return isinstance(value, list) and len(value) >= (kind.min_length or 0)


def _fits(value: Any, kind: inspect.Type) -> bool:
    match kind:
        case inspect.IntType() | inspect.FloatType():
            return _is_number(value, kind)
        case inspect.BoolType():
            return isinstance(value, bool) or str(value).lower() in {"true", "false", "0", "1"}
        case inspect.StrType():
            return (
                isinstance(value, str)
                and (kind.min_length or 0) <= len(value)
                and (kind.max_length is None or len(value) <= kind.max_length)
                and (kind.pattern is None or re.search(kind.pattern, value) is not None)
            )
        case inspect.LiteralType() | inspect.EnumType():
            return str(value) in _expected(kind)[1]
        case inspect.ListType() | inspect.DictType():
            return False  # `_find` has looked into a list or table of the right type
    return True


def _is_number(value: Any, kind: inspect.IntType | inspect.FloatType) -> bool:
    try:
        number = float(value) if isinstance(kind, inspect.FloatType) else int(str(value))
    except (TypeError, ValueError):
        return False
    return (
        not isinstance(value, bool)
        and (kind.ge is None or number >= kind.ge)
        and (kind.gt is None or number > kind.gt)
        and (kind.le is None or number <= kind.le)
        and (kind.lt is None or number < kind.lt)
    )


def _expected(kind: inspect.Type) -> tuple[str, tuple[str, ...]]:
    match kind:
        case inspect.UnionType():
            kinds = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
            return _expected(kinds[0])
        case inspect.LiteralType():
            values = tuple(map(str, kind.values))
            return f"one of {_listed(values)}" if len(values) > 1 else f"`{values[0]}`", values
        case inspect.EnumType():
            values = tuple(str(member.value) for member in kind.cls)
            return f"one of {_listed(values)}", values
        case inspect.BoolType():
            return "true or false", ("true", "false")
        case inspect.IntType():
            return f"a whole number{_bounds(kind)}", ()
        case inspect.FloatType():
            return f"a number{_bounds(kind)}", ()
        case inspect.StrType():
            return f"text{_length(kind)}", ()
        case inspect.ListType():
            return f"a list{_length(kind)}", ()
        case inspect.StructType() | inspect.DictType():
            return "a table", ()
    return "something else", ()


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:,} to {kind.le:,}"
    if kind.gt is not None and kind.le is not None:
        return f" above {kind.gt:,} and up to {kind.le:,}"
    if kind.ge is not None:
        return f" from {kind.ge:,} on"
    return f" above {kind.gt:,}" if kind.gt is not None else ""


def _length(kind: inspect.StrType | inspect.ListType) -> str:
    if isinstance(kind, inspect.StrType) and kind.pattern is not None:
        return f" of {_PATTERNS.get(kind.pattern, kind.pattern)}"
    if kind.max_length is not None:
        return f" of {kind.min_length or 0:,} to {kind.max_length:,}"
    return f" of at least {kind.min_length:,}" if kind.min_length else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
