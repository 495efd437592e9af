"""Templates of SES: the part of Handlebars that this simulation renders.

`{{name}}`, `{{a.b}}`, `{{#if path}}…{{else}}…{{/if}}`, `{{#each path}}…{{/each}}` with `{{this}}`
and `{{this.name}}`, where the item is the whole context. Nothing is escaped, as SES escapes nothing.
`{{amazonSESUnsubscribeUrl}}` and `{{ses:openTracker}}` are left to who builds the message. All else
(partials, helpers, `../`, triple braces, comments) is refused when the template is made.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

UNSUBSCRIBE_URL = "{{amazonSESUnsubscribeUrl}}"
OPEN_TRACKER = "{{ses:openTracker}}"

_TAG = re.compile(r"\{\{\{?(.*?)\}?\}\}", re.DOTALL)
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_KEPT = {UNSUBSCRIBE_URL, OPEN_TRACKER}
_ABSENT = object()


class TemplateUnknown(Exception):
    """A template says what this simulation does not render; the message is the sentence."""


class AttributeAbsent(Exception):
    """Template data lacks what the template names; the message is SES's sentence."""


class _Text(NamedTuple):
    text: str


class _Value(NamedTuple):
    path: str


class _Block(NamedTuple):
    kind: str
    path: str
    body: list[Any]
    otherwise: list[Any]


def parse(source: str) -> list[Any]:
    """A template, ready to be rendered. Raises TemplateUnknown."""
    root: list[Any] = []
    open_blocks: list[tuple[_Block, list[Any]]] = []
    into = root
    end = 0
    for tag in _TAG.finditer(source):
        if tag.start() > end:
            into.append(_Text(source[end : tag.start()]))
        end = tag.end()
        written, inner = tag[0], tag[1].strip()
        if written in _KEPT:
            into.append(_Text(written))
        elif inner.startswith("#"):
            kind, _, path = inner[1:].partition(" ")
            if written.startswith("{{{") or kind not in {"if", "each"}:
                raise TemplateUnknown(f"This simulation renders no {written}.")
            block = _Block(kind, _path(path.strip(), written), [], [])
            into.append(block)
            open_blocks.append((block, into))
            into = block.body
        elif inner == "else" and open_blocks and into is open_blocks[-1][0].body:
            into = open_blocks[-1][0].otherwise
        elif inner.startswith("/") and open_blocks and inner[1:] == open_blocks[-1][0].kind:
            into = open_blocks.pop()[1]
        elif written.startswith("{{{"):
            raise TemplateUnknown(f"This simulation renders no {written}.")
        else:
            into.append(_Value(_path(inner, written)))
    if open_blocks:
        raise TemplateUnknown(f"A {{{{#{open_blocks[-1][0].kind}}}}} is not closed.")
    rest = source[end:]
    if "{{" in rest:
        raise TemplateUnknown("A {{ is not closed.")
    if rest:
        into.append(_Text(rest))
    return root


def render(template: list[Any], data: Any) -> str:
    """The text of a template with its data. Raises AttributeAbsent."""
    return "".join(_rendered(template, data))


def _path(text: str, written: str) -> str:
    if _PATH.fullmatch(text) is None or text == "else":
        raise TemplateUnknown(f"This simulation renders no {written}.")
    return text


def _rendered(template: list[Any], data: Any) -> list[str]:
    out: list[str] = []
    for node in template:
        if isinstance(node, _Text):
            out.append(node.text)
            continue
        value = _found(node.path, data)
        if isinstance(node, _Value):
            out.append(_printed(node.path, value))
        elif node.kind == "each":
            items = value if isinstance(value, list) else []
            for each in items:
                out += _rendered(node.body, each)
            if not items:
                out += _rendered(node.otherwise, data)
        else:
            holds = value is not _ABSENT and bool(value)
            out += _rendered(node.body if holds else node.otherwise, data)
    return out


def _found(path: str, data: Any) -> Any:
    for name in path.split("."):
        if name == "this":
            continue
        if not isinstance(data, dict) or name not in data:
            return _ABSENT
        data = data[name]
    return data


def _printed(path: str, value: Any) -> str:
    if value is _ABSENT or isinstance(value, dict | list):
        raise AttributeAbsent(f"Attribute '{path}' is not present in the rendering data.")
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
