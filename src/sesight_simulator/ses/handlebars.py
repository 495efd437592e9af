"""The part of Handlebars that this simulation renders, as SES does.

`{{name}}`, `{{a.b}}`, `{{#if path}}…{{else}}…{{/if}}`, `{{#each path}}…{{/each}}` with `{{this}}`
and `{{this.name}}`; inside `each`, the item is the whole context. Nothing is escaped, as in SES.
`{{amazonSESUnsubscribeUrl}}` and `{{ses:openTracker}}` stay as they are: `SentMessage` replaces them.
Everything else (partials, helpers, `../`, triple braces, comments) is refused when a template is created.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

UNSUBSCRIBE_URL = "{{amazonSESUnsubscribeUrl}}"
OPEN_TRACKER = "{{ses:openTracker}}"

_TAG = re.compile(r"\{\{\{?(.*?)\}?\}\}", re.DOTALL)
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_PLACEHOLDERS = {UNSUBSCRIBE_URL, OPEN_TRACKER}
_ABSENT = object()


class TemplateUnknown(Exception):
    """A template uses syntax that this simulation does not render."""


class AttributeAbsent(Exception):
    """Template data lacks a name that the template uses. The message is SES's own."""


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
    """Parse a template. Raises TemplateUnknown."""
    root: list[Any] = []
    open_blocks: list[tuple[_Block, list[Any]]] = []
    nodes = root
    end = 0
    for tag in _TAG.finditer(source):
        if tag.start() > end:
            nodes.append(_Text(source[end : tag.start()]))
        end = tag.end()
        tag_text, inner = tag[0], tag[1].strip()
        if tag_text in _PLACEHOLDERS:
            nodes.append(_Text(tag_text))
        elif inner.startswith("#"):
            kind, _, path = inner[1:].partition(" ")
            if tag_text.startswith("{{{") or kind not in {"if", "each"}:
                raise TemplateUnknown(f"This simulation does not render {tag_text}.")
            block = _Block(kind, _path(path.strip(), tag_text), [], [])
            nodes.append(block)
            open_blocks.append((block, nodes))
            nodes = block.body
        elif inner == "else" and open_blocks and nodes is open_blocks[-1][0].body:
            nodes = open_blocks[-1][0].otherwise
        elif inner.startswith("/") and open_blocks and inner[1:] == open_blocks[-1][0].kind:
            nodes = open_blocks.pop()[1]
        elif tag_text.startswith("{{{"):
            raise TemplateUnknown(f"This simulation does not render {tag_text}.")
        else:
            nodes.append(_Value(_path(inner, tag_text)))
    if open_blocks:
        raise TemplateUnknown(f"A {{{{#{open_blocks[-1][0].kind}}}}} is not closed.")
    rest = source[end:]
    if "{{" in rest:
        raise TemplateUnknown("A {{ is not closed.")
    if rest:
        nodes.append(_Text(rest))
    return root


def render(template: list[Any], data: Any) -> str:
    """Render a parsed template with its data. Raises AttributeAbsent."""
    return "".join(_rendered(template, data))


def _path(text: str, tag_text: str) -> str:
    if _PATH.fullmatch(text) is None or text == "else":
        raise TemplateUnknown(f"This simulation does not render {tag_text}.")
    return text


def _rendered(template: list[Any], data: Any) -> list[str]:
    out: list[str] = []
    for node in template:
        if isinstance(node, _Text):
            out.append(node.text)
            continue
        value = _lookup(node.path, data)
        if isinstance(node, _Value):
            out.append(_printed(node.path, value))
        elif node.kind == "each":
            items = value if isinstance(value, list) else []
            for item in items:
                out += _rendered(node.body, item)
            if not items:
                out += _rendered(node.otherwise, data)
        else:
            is_true = value is not _ABSENT and bool(value)
            out += _rendered(node.body if is_true else node.otherwise, data)
    return out


def _lookup(path: str, data: Any) -> Any:
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
