"""A Jinja template, which this process renders: subject, text and HTML of one message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from typing import Any

import jinja2
import msgspec
from css_inline import CSSInliner, InlineError
from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError, meta
from markupsafe import escape

from sesight.domain.template import RenderedTemplate
from sesight.send.message import DATA_LIMIT, Unsendable
from sesight.send.templates.files import HTML, SUBJECT, TEXT, TemplateFiles
from sesight.send.templates.sandbox import RENDERED_LIMIT, Sandbox

SUBJECT_LIMIT = 900
"""The largest number of characters of a subject: a header line has at most 998 (RFC 5322, 2.1.1)."""

# Many mail programs apply only styles of the elements themselves. At-rules stay in <style>, for phones
# and dark screens. Nothing is loaded: a template must not make this process call out.
_INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


class Template:
    """A parsed template. Safe to use from any thread."""

    def __init__(self, files: TemplateFiles, sandbox: Sandbox) -> None:
        """Parse the parts. Raises TemplateSyntaxError and what `FolderLoader.read` raises."""
        self.name = files.name
        self.language = files.settings.language
        self.files = files
        self._sandbox = sandbox
        self._parts = {file: sandbox.get_template(f"{self.name}/{file}") for file in files.sources}

    @cached_property
    def version(self) -> str:
        """Return a hash of the template's files, without its sample, and of the files they include."""
        digest = sha256()
        for name, content in sorted({**self.files.files, **self._included()}.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def _included(self) -> dict[str, bytes]:
        included: dict[str, bytes] = {}
        sources = list(self.files.sources.values())
        while sources:
            names = meta.find_referenced_templates(self._sandbox.parse(sources.pop()))
            for name in names:
                if name is None or name in included:
                    continue
                with suppress(TemplateNotFound, ValueError):  # rendering reports it
                    source = self._sandbox.source(name)
                    included[name] = source.encode()
                    sources.append(source)
        return included

    def variables(self) -> set[str]:
        """Return the names of all variables that the template's own files use."""
        return {
            name
            for source in self.files.sources.values()
            for name in meta.find_undeclared_variables(self._sandbox.parse(source))
        }

    def body(self, context: Mapping[str, Any]) -> RenderedTemplate:
        """Render the message. Raises Unsendable."""
        try:
            size = len(msgspec.json.encode(context).decode())
        except (TypeError, ValueError, RecursionError):
            raise Unsendable(
                "template", "The template's context has a value that JSON cannot represent."
            ) from None
        if size > DATA_LIMIT:
            raise Unsendable(
                "too-large", f"The template's context is over {DATA_LIMIT:,} characters."
            )
        subject = self._part(SUBJECT, context).strip()
        if not subject:
            raise Unsendable("subject", f"The template {self.name} renders an empty subject.")
        if re.search(r"[\0-\x1f\x7f-\x9f\u2028\u2029]", subject):
            raise Unsendable("subject", "The subject has a line break or a control character.")
        if len(subject) > SUBJECT_LIMIT:
            raise Unsendable("subject", f"The subject is over {SUBJECT_LIMIT} characters.")
        text = self._part(TEXT, context).strip("\n") + "\n"
        html = self._part(HTML, context) if HTML in self._parts else None
        if self.files.marketing:
            _check_marketing(html, text, context)
        return RenderedTemplate(subject, None if html is None else self._inlined(html), text)

    def _part(self, file: str, context: Mapping[str, Any]) -> str:
        chunks: list[str] = []
        size = 0
        try:
            for chunk in self._parts[file].generate(context):
                size += len(chunk)
                if size > RENDERED_LIMIT:
                    raise Unsendable(
                        "too-large",
                        f"{self.name}/{file} renders more than {RENDERED_LIMIT:,} characters.",
                    )
                chunks.append(chunk)
        except Unsendable:
            raise
        except Exception as error:  # noqa: BLE001 - what a template calls may raise anything
            raise _failure(f"{self.name}/{file}", error) from None
        return "".join(chunks)

    def _inlined(self, html: str) -> str:
        try:
            return _INLINER.inline(html)
        except InlineError:
            raise Unsendable(
                "template", f"The styles of the template {self.name} cannot be parsed."
            ) from None


def _check_marketing(html: str | None, text: str, context: Mapping[str, Any]) -> None:
    """Raise Unsendable for marketing mail without its unsubscribe link or postal address. Each message
    is checked, since a context may hide what the sample showed.
    """
    url, postal = str(context.get("unsubscribe_url", "")), str(context.get("postal_address", ""))
    lines = [line.strip() for line in postal.splitlines() if line.strip()]
    for part in [text] if html is None else [text, html]:
        required = [url, *lines]
        if part is html:
            required = [str(escape(value)) for value in required]
        if not url or required[0] not in part:
            raise Unsendable("unsubscribe-link", "Marketing mail must show {{ unsubscribe_url }}.")
        if not lines or not all(line in part for line in required[1:]):
            raise Unsendable("postal-address", "Marketing mail must show {{ postal_address }}.")


def _failure(file: str, error: Exception) -> Unsendable:
    """Return what failed in which line of a template, without any value: values may be personal."""
    traceback = error.__traceback__
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    where = file if line is None else f"{file}, line {line}"
    if isinstance(error, UndefinedError):
        return Unsendable("missing-variable", f"{where}: {error.message}.")
    if isinstance(error, TemplateSyntaxError):
        return Unsendable("template", f"{error.name}, line {error.lineno}: {error.message}.")
    if isinstance(error, TemplateNotFound):
        return Unsendable("template", f"{where}: there is no {error.name} among the templates.")
    if isinstance(error, jinja2.TemplateError | OverflowError) or type(error) is ValueError:
        return Unsendable("template", f"{where}: {error}.")
    return Unsendable("template", f"{where}: {type(error).__name__} while it was rendered.")
