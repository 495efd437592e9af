"""Handlebars: a template in the language that SES renders, and the data that goes with it.

SES puts values in raw, in HTML too (its guide, "Advanced email personalization": it "doesn't escape
HTML content"). So the HTML of a pushed template names `html.…` and its subject and text name
`text.…`: two copies of what a message is told, of which the first is escaped here. Nothing that a
template made here names can be unescaped in HTML, whoever sends with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

from jinja2 import nodes
from markupsafe import escape
from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.send.message import TemplatedContent, Unsendable
from sesight.send.templates.folder import HTML, SUBJECT, TEXT, Template
from sesight.send.templates.lint import VOID
from sesight.send.templates.sandbox import SIZE_LIMIT
from sesight.send.templates.stylesheet import styled

Path = tuple[str, ...]
"""How a value is reached from what a template is told; `*` is each item of a list."""

_EACH = "*"
_BEGIN, _END = "\ue000", "\ue001"
"""What stands around a tag's number while styles are inlined: private characters, which nobody writes."""

_DOCUMENT = re.compile("<(?:!doctype|html|head|body)", re.IGNORECASE)
_WORDS = frozenset({"this", "else", "if", "each"})


class BySes:
    """A template that SES renders. Safe to use from any thread."""

    def __init__(self, template: Template) -> None:
        """Translate a template. Raises SettingsError for what SES cannot render as it is here."""
        self.name = template.name
        self.language = template.language
        self._template = template
        parts = {file: _Part(template, file) for file in template.sources}
        content = {"Subject": parts[SUBJECT].text().strip(), "Text": _ended(parts[TEXT].text())}
        if HTML in parts:
            content["Html"] = parts[HTML].html()
        self.content: Mapping[str, str] = content
        """Subject, Text and Html as SES takes them."""
        if sum(len(each.encode()) for each in content.values()) > SIZE_LIMIT:
            raise SettingsError(
                f"The template {self.name}, its styles inlined, is over {SIZE_LIMIT // 1_000} KB."
            )
        self._text = parts[SUBJECT].names | parts[TEXT].names
        self._html = parts[HTML].names if HTML in parts else set[str]()
        self._loops = {loop for part in parts.values() for loop in part.loops}

    @property
    def version(self) -> str:
        """Return the hash of all that messages are made of but what is told."""
        return self._template.version

    def body(self, context: Mapping[str, Any]) -> TemplatedContent:
        """Return what SES is to render. It is rendered here first, since SES would take a message
        that lacks something, and fail it later. Raises Unsendable.
        """
        self._template.body(context)
        for loop in self._loops:
            if not all(isinstance(each, list | tuple) for each in _reached(context, loop)):
                raise Unsendable("template", f"{'.'.join(loop)} is not a list, as SES needs it.")
        return TemplatedContent(
            self.name,
            {
                "text": _named(self._text, context, str),
                "html": _named(self._html, context, _escaped),
            },
        )


class _Tag(Struct, frozen=True):
    """A tag of SES's language; `block` is the number of the block that it begins, parts or ends."""

    text: str
    block: int | None = None


class _Part:
    """One file of a template, as pieces of text and tags."""

    def __init__(self, template: Template, file: str) -> None:
        self.names: set[str] = set()
        self.loops: set[Path] = set()
        self._template = template.name
        self._file = f"{template.name}/{file}"
        self._space = "html" if file == HTML else "text"
        self._pieces: list[str | _Tag] = []
        self._blocks = 0
        source = template.sources[file]
        if _BEGIN in source or _END in source:
            raise SettingsError(f"{self._file} has a character for private use in it.")
        self._write(template.environment.parse(source).body, None, ())

    def text(self) -> str:
        """Return the part as it is."""
        return self._joined(
            [each.text if isinstance(each, _Tag) else each for each in self._pieces]
        )

    def html(self) -> str:
        """Return the part with its styles inlined, around tags that keep their places."""
        tags = [each for each in self._pieces if isinstance(each, _Tag)]
        numbers = iter(range(len(tags)))
        marked = "".join(
            _mark(next(numbers), each) if isinstance(each, _Tag) else each for each in self._pieces
        )
        if not _DOCUMENT.search(marked):
            marked = f"<body>{marked}"  # else a tag at its beginning would end up before <html>
        try:
            made = styled(self._template, marked)
        except Unsendable as error:
            raise SettingsError(str(error)) from None
        places = _Places(made)
        blocks = [n for n, tag in enumerate(tags) if tag.block is not None]
        if places.comments != blocks:
            raise self._refused(1, "an {% if %} or {% for %} inside a tag, a style or a title")
        parents: dict[int | None, int] = {}
        for n, parent in zip(blocks, places.parents, strict=True):
            if parents.setdefault(tags[n].block, parent) != parent:
                raise self._refused(
                    1,
                    "an {% if %} or {% for %} that opens an element and does not close it (around "
                    "rows, write <tbody>)",
                )
        values = [n for n, tag in enumerate(tags) if tag.block is None]
        if sorted(places.values) != values:
            raise self._refused(
                1, "a value inside a style, a script or a comment, or as a name in a tag"
            )
        pieces: list[str] = []
        for each in made.replace(f"<!--{_BEGIN}", _BEGIN).replace(f"{_END}-->", _END).split(_BEGIN):
            number, end, rest = each.partition(_END)
            pieces += [tags[int(number)].text, rest] if end else [each]
        return self._joined(pieces)

    def _joined(self, pieces: Sequence[str]) -> str:
        """Join what was found to be text or tag; a brace or backslash before a tag would change it."""
        full = [each for each in pieces if each]
        for before, after in pairwise(full):
            if (before[-1] in "{\\" and after.startswith("{{")) or (
                before.endswith("}}") and after[0] == "}"
            ):
                raise self._refused(1, "a brace or a backslash right beside a value")
        return "".join(full)

    def _write(self, body: Iterable[nodes.Node], item: str | None, above: Path) -> None:
        """Write nodes; `item` is the name of the innermost loop's item, which is at `above`."""
        for node in body:
            if isinstance(node, nodes.Output):
                for each in node.nodes:
                    if isinstance(each, nodes.TemplateData):
                        self._plain(each)
                    else:
                        path, _ = self._path(each, item, above)
                        self._pieces.append(_Tag(f"{{{{{path}}}}}"))
            elif isinstance(node, nodes.If):
                self._if(node, item, above)
            elif isinstance(node, nodes.For):
                self._for(node, item, above)
            else:
                raise self._refused(node.lineno, f"{{% {type(node).__name__.lower()} %}}")

    def _plain(self, node: nodes.TemplateData) -> None:
        if "{{" in node.data:
            raise self._refused(node.lineno, "two braces as plain text")
        self._pieces.append(node.data)

    def _if(self, node: nodes.If, item: str | None, above: Path) -> None:
        test, body, other = node.test, node.body, node.else_
        if node.elif_:
            first, *rest = node.elif_
            other = [nodes.If(first.test, first.body, rest, node.else_, lineno=first.lineno)]
        if isinstance(test, nodes.Not):
            test, body, other = test.node, other, body
        path, _ = self._path(test, item, above)
        self._block("if", path, [(body, item, above), (other, item, above)])

    def _for(self, node: nodes.For, item: str | None, above: Path) -> None:
        if not isinstance(node.target, nodes.Name) or node.test is not None or node.recursive:
            raise self._refused(node.lineno, "a {% for %} other than one name in one list")
        path, reached = self._path(node.iter, item, above)
        self.loops.add(reached)
        within = (node.body, node.target.name, (*reached, _EACH))
        self._block("each", path, [within, (node.else_, item, above)])

    def _block(
        self,
        word: str,
        path: str,
        branches: Sequence[tuple[Iterable[nodes.Node], str | None, Path]],
    ) -> None:
        self._blocks += 1
        number = self._blocks
        self._pieces.append(_Tag(f"{{{{#{word} {path}}}}}", number))
        first, (other, item, above) = branches
        self._write(*first)
        if other:
            self._pieces.append(_Tag("{{else}}", number))
            self._write(other, item, above)
        self._pieces.append(_Tag(f"{{{{/{word}}}}}", number))

    def _path(self, node: nodes.Node, item: str | None, above: Path) -> tuple[str, Path]:
        """Return how SES's language names a value, and where it is reached."""
        names: list[str] = []
        at = node
        while isinstance(at, nodes.Getattr):
            names.insert(0, at.attr)
            at = at.node
        if not isinstance(at, nodes.Name):
            raise self._refused(node.lineno, "more than a plain name, with dots")
        if _WORDS & {at.name, *names}:
            raise self._refused(node.lineno, "a name that is a word of its language")
        if item is None:
            self.names.add(at.name)
            return ".".join((self._space, at.name, *names)), (at.name, *names)
        if at.name != item:
            raise self._refused(node.lineno, f"{at.name!r} inside a loop over {item!r}")
        return ".".join(("this", *names)), (*above, *names)

    def _refused(self, line: int, what: str) -> SettingsError:
        where = f"{self._file}, line {line}" if line > 1 else self._file
        return SettingsError(
            f"{where}: SES cannot render {what}. Write it otherwise, or have templates rendered "
            'here: rendering = "local" under [sending].'
        )


class _Places(HTMLParser):
    """Reads where marks stand in HTML in which every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.comments: list[int] = []
        self.parents: list[int] = []
        """Of each comment: which element it is in, by the order in which those begin."""
        self.values: list[int] = []
        self._open: list[tuple[str, int]] = []
        self._elements = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for _, value in attrs:
            self.values += _marks(value or "")
        if tag not in VOID:
            self._elements += 1
            self._open.append((tag, self._elements))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1][0] not in {"style", "script"}:
            self.values += _marks(data)

    def handle_comment(self, data: str) -> None:
        if data.startswith(_BEGIN):
            self.comments += _marks(data)
            self.parents.append(self._open[-1][1] if self._open else 0)


def _mark(number: int, tag: _Tag) -> str:
    mark = f"{_BEGIN}{number}{_END}"
    return mark if tag.block is None else f"<!--{mark}-->"


def _marks(text: str) -> Iterator[int]:
    for each in text.split(_BEGIN)[1:]:
        yield int(each.partition(_END)[0])


def _ended(text: str) -> str:
    return text.strip("\n") + "\n"


def _reached(value: Any, path: Path) -> Iterator[Any]:
    if not path:
        yield value
        return
    first, *rest = path
    if first == _EACH:
        for each in value if isinstance(value, list | tuple) else ():
            yield from _reached(each, tuple(rest))
    elif isinstance(value, Mapping) and first in value:
        yield from _reached(value[first], tuple(rest))


def _escaped(text: object) -> str:
    return str(escape(str(text)))


def _named(
    names: set[str], context: Mapping[str, Any], write: Callable[[object], str]
) -> dict[str, Any]:
    """Return what SES is told of some names; one of a branch that is not taken may lack."""
    return {name: _told(context[name], write) for name in sorted(names & context.keys())}


def _told(value: Any, write: Callable[[object], str]) -> Any:
    """Return a value as SES is told of it: it prints and it is true or not as it is here.

    Numbers are texts, since SES might write them otherwise; an empty object is false, which
    Handlebars has it not be.
    """
    if isinstance(value, Mapping):
        return {str(name): _told(each, write) for name, each in value.items()} or False
    if isinstance(value, list | tuple):
        return [_told(each, write) for each in value]
    if isinstance(value, bool):
        return value
    if not value and not isinstance(value, str):
        return "" if value is None else 0
    return write(value)
