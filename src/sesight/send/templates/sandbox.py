"""The sandbox that templates run in: they read what they are told and files of their own folder."""

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
"""Bytes of a template's subject, HTML and text, as SES has it (its guide: 500 KB a template)."""

RENDERED_LIMIT = 4_000_000
"""Characters that one part of a message may become; loops end there."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})
"""Methods of texts that make long ones out of short ones."""
_NOT_OURS = frozenset({"center", "format", "pprint", "random", "urlize", "xmlattr"})
"""Filters that pad, or whose text is not the same each time or in each part."""


class NotInFolder(TemplateNotFound):
    """A file that is no part of the folder of templates."""


class _Named(StrictUndefined):
    """What a template names and was not told, said as a sentence."""

    def __bool__(self) -> bool:  # type: ignore[override] # a StrictUndefined raises
        """Return False: a template may ask whether there is a value before it prints one."""
        if self._undefined_exception is SecurityError:
            self._fail_with_undefined_error()
        return False

    @property
    def _undefined_message(self) -> str:
        if self._undefined_exception is SecurityError and self._undefined_hint:
            return str(self._undefined_hint)
        return f"{self._undefined_name!r} is named and has no value"


class FolderLoader(BaseLoader):
    """Reads templates' files: plain files of the folder itself, by paths that cannot leave it."""

    def __init__(self, root: Path) -> None:
        """Keep the folder, which may itself be reached by a link."""
        self.root = root.resolve()

    def read(self, name: str) -> str:
        """Return a file's text. Raises as `content` does, and ValueError for no UTF-8."""
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
        # a link anywhere in the path makes the real one another
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
        """Return a template's source and its name, as Jinja asks for them."""
        _ = environment
        return self.read(template), template, lambda: True


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without a way out: no attribute that begins with _, nothing changed, no text padded or
    multiplied, and nothing left blank by mistake.
    """

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, folder: FolderLoader) -> None:
        """Read templates from a folder."""
        super().__init__(
            loader=folder,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=_Named,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_printed,
            cache_size=0,
        )
        for name in _NOT_OURS:
            del self.filters[name]
        del self.globals["lipsum"]

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a member; what a mapping holds comes before its methods (`order.items`)."""
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            if attribute not in ("get", "items", "keys", "values"):
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may use an attribute."""
        if isinstance(obj, str) and attr in _PADDING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `format` of texts refused, which Jinja would allow within limits of its own."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, with numbers only."""
        if operator == "**" or not all(isinstance(each, Number) for each in (left, right)):
            raise SecurityError(f"{operator} is not for templates here, other than of two numbers")
        return super().call_binop(context, operator, left, right)


def _printed(value: Any) -> Any:
    """Return a value as it is printed: nothing for null, and no list or mapping by mistake."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple | set):
        raise TemplateRuntimeError("a list or an object is printed as if it were a text")
    return value
