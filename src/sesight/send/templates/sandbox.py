"""The Jinja sandbox: templates see their context and files of their own folder, nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

SIZE_LIMIT = 500_000
"""The largest number of bytes of a template's parts together: SES's own limit of 500 KB a template."""

RENDERED_LIMIT = 4_000_000
"""The largest number of characters of one rendered part, so that loops end."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})
"""Methods that make long strings out of short ones, and so could fill the memory."""
_REMOVED_FILTERS = frozenset({"center", "format", "pprint", "random", "urlize", "xmlattr"})
"""Filters that pad, or whose output differs between renderings or between text and HTML."""


class NotInFolder(TemplateNotFound):
    """A path that is not a plain file of the folder of templates."""


class _Undefined(StrictUndefined):
    """A variable that the context lacks: printing it is an error, testing it is not."""

    def __bool__(self) -> bool:  # type: ignore[override] # a StrictUndefined raises
        """Return False, so that a template can test for a value before it prints it."""
        if self._undefined_exception is SecurityError:
            self._fail_with_undefined_error()
        return False

    @property
    def _undefined_message(self) -> str:
        if self._undefined_exception is SecurityError and self._undefined_hint:
            return str(self._undefined_hint)
        return f"{self._undefined_name!r} is named and has no value"


class FolderLoader(BaseLoader):
    """Reads plain files of the folder. Neither `..` nor a symbolic link leads out of it."""

    def __init__(self, root: Path) -> None:
        """`root` itself may be a symbolic link."""
        self.root = root.resolve()

    def read(self, name: str) -> str:
        """Return the text of a file. Raises as `content` does, and ValueError if it is not UTF-8."""
        content = self.content(name, SIZE_LIMIT, "more than SES takes")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{name} is not UTF-8: save it as that.") from None

    def content(self, name: str, limit: int, why: str) -> bytes:
        """Return a file's bytes. Raises Outside for what is no plain file of the folder, ValueError
        with a sentence, `why` at its end, for what is too large.
        """
        parts = name.split("/")
        path = self.root.joinpath(*parts)
        if not all(_PART.fullmatch(part) and part.strip(".") for part in parts):
            raise NotInFolder(name)
        # a symbolic link anywhere in the path makes the resolved path another one
        if path.resolve() != path or not path.is_file():
            raise NotInFolder(name)
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"{name} is over {limit // 1_000:,} KB, {why}.")
        return content

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        """Return a template's source, its name and whether it is up to date (Jinja's protocol)."""
        _ = environment
        return self.read(template), template, lambda: True


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja restricted: no attribute that begins with `_`, no changes to the context, no padding or
    multiplying of strings, and no variable that is left blank by mistake.
    """

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, loader: FolderLoader) -> None:
        self._loader = loader
        super().__init__(
            loader=loader,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=_Undefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_printed,
            cache_size=0,
        )
        for name in _REMOVED_FILTERS:
            del self.filters[name]
        del self.globals["lipsum"]

    def source(self, name: str) -> str:
        """Return the source of a file. Raises as `FolderLoader.read`."""
        return self._loader.read(name)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a member. Members of a mapping win over its methods (`order.items`)."""
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            if attribute not in ("get", "items", "keys", "values"):
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may use an attribute (Jinja's hook)."""
        if isinstance(obj, str) and attr in _PADDING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Keep `str.format` forbidden: Jinja would allow it within limits of its own."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Evaluate `*`, `**` and `%` for numbers only: of strings they multiply or format."""
        if operator == "**" or not all(isinstance(operand, Number) for operand in (left, right)):
            raise SecurityError(f"{operator} is not for templates here, other than of two numbers")
        return super().call_binop(context, operator, left, right)


def _printed(value: Any) -> Any:
    """Return a value as it is printed: null as nothing; a list or a mapping is an error."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple | set):
        raise TemplateRuntimeError("a list or an object is printed as if it were a text")
    return value
