"""Why a value is not of a type: where in it, what would do, and the name that was likely meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from msgspec import inspect

ValuePath = tuple[str | int, ...]
"""Names and positions from the outermost value inwards."""


class Mismatch(NamedTuple):
    """The first thing that does not fit. `path` leads to it: to a name that is not known, to one that
    is missing, or to a wrong value, which is expected to be what `expected` says in words. `allowed`
    lists the names or values that would do, where they can be listed.
    """

    what: Literal["unknown", "missing", "wrong"]
    path: ValuePath
    value: Any = None
    expected: str = ""
    allowed: tuple[str, ...] = ()

    @property
    def nearest(self) -> str | None:
        """Return which of the allowed was likely meant."""
        meant = self.value if self.what == "wrong" else self.path[-1]
        return closest_match(meant, self.allowed) if isinstance(meant, str) else None


_PATTERNS = {"^[0-9a-f]{64}$": "64 hex digits"}
"""Patterns in words."""


def closest_match(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that is spelled most like another, None if none is near."""
    by_small = {each.lower(): each for each in known}
    found = get_close_matches(word.lower(), by_small, n=1, cutoff=0.6)
    return by_small[found[0]] if found else None


def find_mismatch(value: Any, of: Any) -> Mismatch | None:
    """Return why decoded JSON or TOML is not of a type, None if it is. Numbers and truth may be written
    as text, as in an environment variable.
    """
    return _find(value, inspect.type_info(of), ())


def expectation(of: Any) -> tuple[str, tuple[str, ...]]:
    """Return in words what a value of a type is, and all values there are, if they are few."""
    return _expected(inspect.type_info(of))


def _find(value: Any, of: inspect.Type, path: ValuePath) -> Mismatch | None:
    if isinstance(of, inspect.UnionType):
        rest = [each for each in of.types if not isinstance(each, inspect.NoneType)]
        if value is None and len(rest) < len(of.types):
            return None
        found = [_find(value, each, path) for each in rest]
        return None if None in found else found[0]
    if isinstance(of, inspect.StructType):
        return _find_in_struct(value, of, path)
    if isinstance(of, inspect.DictType) and isinstance(value, Mapping):
        parts = ((name, each, of.value_type) for name, each in value.items())
        return next(
            filter(None, (_find(held, kind, (*path, at)) for at, held, kind in parts)), None
        )
    if isinstance(of, inspect.ListType) and _is_list(value, of):
        each_of = ((at, each) for at, each in enumerate(value))
        return next(
            filter(None, (_find(held, of.item_type, (*path, at)) for at, held in each_of)), None
        )
    if _fits(value, of):
        return None
    expected, allowed = _expected(of)
    return Mismatch("wrong", path, value, expected, allowed)


def _find_in_struct(value: Any, of: inspect.StructType, path: ValuePath) -> Mismatch | None:
    names = tuple(each.encode_name for each in of.fields)
    if not isinstance(value, Mapping):
        return Mismatch("wrong", path, value, f"a table with {_listed(names)}")
    for name in value:
        if of.forbid_unknown_fields and name not in names:
            return Mismatch("unknown", (*path, name), allowed=names)
    for each in of.fields:
        if each.encode_name in value:
            found = _find(value[each.encode_name], each.type, (*path, each.encode_name))
            if found is not None:
                return found
        elif each.required:
            expected, allowed = _expected(each.type)
            return Mismatch("missing", (*path, each.encode_name), None, expected, allowed)
    return None


def _is_list(value: Any, of: inspect.ListType) -> bool:
    return isinstance(value, list) and len(value) >= (of.min_length or 0)


def _fits(value: Any, of: inspect.Type) -> bool:
    match of:
        case inspect.IntType() | inspect.FloatType():
            return _is_number(value, of)
        case inspect.BoolType():
            return isinstance(value, bool) or str(value).lower() in {"true", "false", "0", "1"}
        case inspect.StrType():
            return (
                isinstance(value, str)
                and (of.min_length or 0) <= len(value)
                and (of.max_length is None or len(value) <= of.max_length)
                and (of.pattern is None or re.search(of.pattern, value) is not None)
            )
        case inspect.LiteralType() | inspect.EnumType():
            return str(value) in _expected(of)[1]
        case inspect.ListType() | inspect.DictType():
            return False  # one that is of it was looked into
    return True


def _is_number(value: Any, of: inspect.IntType | inspect.FloatType) -> bool:
    try:
        number = float(value) if isinstance(of, inspect.FloatType) else int(str(value))
    except (TypeError, ValueError):
        return False
    return (
        not isinstance(value, bool)
        and (of.ge is None or number >= of.ge)
        and (of.gt is None or number > of.gt)
        and (of.le is None or number <= of.le)
        and (of.lt is None or number < of.lt)
    )


def _expected(of: inspect.Type) -> tuple[str, tuple[str, ...]]:
    match of:
        case inspect.UnionType():
            held = [each for each in of.types if not isinstance(each, inspect.NoneType)]
            return _expected(held[0])
        case inspect.LiteralType():
            values = tuple(map(str, of.values))
            return f"one of {_listed(values)}" if len(values) > 1 else f"`{values[0]}`", values
        case inspect.EnumType():
            values = tuple(str(each.value) for each in of.cls)
            return f"one of {_listed(values)}", values
        case inspect.BoolType():
            return "true or false", ("true", "false")
        case inspect.IntType():
            return f"a whole number{_bounds(of)}", ()
        case inspect.FloatType():
            return f"a number{_bounds(of)}", ()
        case inspect.StrType():
            return f"text{_length(of)}", ()
        case inspect.ListType():
            return f"a list{_length(of)}", ()
        case inspect.StructType() | inspect.DictType():
            return "a table", ()
    return "something else", ()


def _bounds(of: inspect.IntType | inspect.FloatType) -> str:
    if of.ge is not None and of.le is not None:
        return f" from {of.ge:,} to {of.le:,}"
    if of.gt is not None and of.le is not None:
        return f" above {of.gt:,} and up to {of.le:,}"
    if of.ge is not None:
        return f" from {of.ge:,} on"
    return f" above {of.gt:,}" if of.gt is not None else ""


def _length(of: inspect.StrType | inspect.ListType) -> str:
    if isinstance(of, inspect.StrType) and of.pattern is not None:
        return f" of {_PATTERNS.get(of.pattern, of.pattern)}"
    if of.max_length is not None:
        return f" of {of.min_length or 0:,} to {of.max_length:,}"
    return f" of at least {of.min_length:,}" if of.min_length else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
