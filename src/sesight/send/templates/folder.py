"""Templates: folders of files that make messages. They never come from a request.

`templates/NAME/` holds `subject.txt`, `body.txt`, `body.html` (which mail of text alone lacks),
`sample.json` and perhaps `template.toml`. What begins with `_` is no template: parts to include.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError, meta
from markupsafe import escape
from msgspec import Struct
from msgspec.structs import replace

from sesight.domain.errors import InvalidRequest, NotFound, SettingsError
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.template import RenderedTemplate, TemplateIssue, TemplateSummary
from sesight.send.message import DATA_LIMIT, Unsendable
from sesight.send.statements.money import InvalidValue, locale_of
from sesight.send.templates.lint import findings_of
from sesight.send.templates.sandbox import (
    RENDERED_LIMIT,
    SIZE_LIMIT,
    FolderLoader,
    NotInFolder,
    Sandbox,
)
from sesight.send.templates.stylesheet import styled

SUBJECT, HTML, TEXT = "subject.txt", "body.html", "body.txt"
SAMPLE, CARD = "sample.json", "template.toml"

EXAMPLES = Path(__file__).parent / "examples"
"""The templates that Sesight ships."""

GIVEN = {
    "email": "ana@example.org",
    "name": "Ana Bell",
    "unsubscribe_url": "https://mail.example.com/unsubscribe/sample",
    "postal_address": "Example Ltd, 1 Example Street, Exampletown",
    "campaign": "Sample campaign",
}
"""What every template is told, and what stands for it in a sample that does not say."""

SUBJECT_LIMIT = 900
"""Characters of a subject: a line of a header is at most 998 (RFC 5322, 2.1.1)."""

# SES itself takes a template's name of 64 of these characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class _TemplateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What template.toml says."""

    label: str | None = None
    stream: str | None = None
    language: str | None = None


class Template:
    """A template that was read. Safe to use from any thread."""

    def __init__(
        self,
        name: str,
        card: _TemplateSettings,
        parts: Mapping[str, jinja2.Template],
        sources: Mapping[str, str],
        files: Mapping[str, bytes],
        *,
        marketing: bool,
    ) -> None:
        """Keep the parts by the names of their files; `files` are all of the folder that messages are
        made of; `marketing` mail shows how to leave.
        """
        self._files = files
        self.name = name
        self.label = card.label or name.replace("-", " ").replace("_", " ").capitalize()
        self.stream = card.stream
        self.language = card.language
        self.marketing = marketing
        self.sources = sources
        self._parts = parts

    @cached_property
    def version(self) -> str:
        """Return a hash of all that the template's messages are made of but what it is told: the files
        of its folder without the sample, and the parts that it includes.
        """
        digest = sha256()
        for name, content in sorted({**self._files, **self._included()}.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def _included(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        environment = self.environment
        waiting = list(self.sources.values())
        while waiting and environment.loader is not None:
            names = meta.find_referenced_templates(environment.parse(waiting.pop()))
            for name in names:
                if name is None or name in found:
                    continue
                with suppress(TemplateNotFound, ValueError):  # rendering says so
                    source, _, _ = environment.loader.get_source(environment, name)
                    found[name] = source.encode()
                    waiting.append(source)
        return found

    @cached_property
    def environment(self) -> jinja2.Environment:
        """Return the environment that the template was read with."""
        return self._parts[SUBJECT].environment

    def body(self, context: Mapping[str, Any]) -> RenderedTemplate:
        """Return the message that the template makes of a context. Raises Unsendable."""
        try:
            size = len(msgspec.json.encode(context).decode())
        except (TypeError, ValueError, RecursionError):
            raise Unsendable("template", "The template is told what no JSON can hold.") from None
        if size > DATA_LIMIT:
            raise Unsendable(
                "too-large", f"The template is told more than {DATA_LIMIT:,} characters."
            )
        subject = self._part(SUBJECT, context).strip()
        if not subject:
            raise Unsendable("subject", f"The template {self.name} makes an empty subject.")
        if re.search(r"[\0-\x1f\x7f-\x9f\u2028\u2029]", subject):
            raise Unsendable(
                "subject", "The subject has a line break or a control character in it."
            )
        if len(subject) > SUBJECT_LIMIT:
            raise Unsendable("subject", f"The subject is over {SUBJECT_LIMIT} characters.")
        text = self._part(TEXT, context).strip("\n") + "\n"
        html = self._part(HTML, context) if HTML in self._parts else None
        if self.marketing:
            _can_leave(html, text, context)
        return RenderedTemplate(subject, None if html is None else styled(self.name, html), text)

    def _part(self, file: str, context: Mapping[str, Any]) -> str:
        made: list[str] = []
        size = 0
        try:
            for each in self._parts[file].generate(context):
                size += len(each)
                if size > RENDERED_LIMIT:
                    raise Unsendable("too-large", f"{self.name}/{file} makes too long a text.")
                made.append(each)
        except Unsendable:
            raise
        except Exception as error:  # noqa: BLE001 - what a template calls may raise anything
            raise _fault(f"{self.name}/{file}", error) from None
        return "".join(made)


def _can_leave(html: str | None, text: str, context: Mapping[str, Any]) -> None:
    """Raise Unsendable for marketing mail that does not show how to leave, and who sent it."""
    url, postal = str(context.get("unsubscribe_url", "")), str(context.get("postal_address", ""))
    lines = [line.strip() for line in postal.splitlines() if line.strip()]
    for part in [text] if html is None else [text, html]:
        held = [str(escape(each)) for each in (url, *lines)] if part is html else [url, *lines]
        if not url or held[0] not in part:
            raise Unsendable("unsubscribe-link", "Marketing mail shows {{ unsubscribe_url }}.")
        if not lines or not all(line in part for line in held[1:]):
            raise Unsendable("postal-address", "Marketing mail shows {{ postal_address }}.")


def _fault(file: str, error: Exception) -> Unsendable:
    """Say what went wrong in a template, without any value: those may be personal."""
    at = error.__traceback__
    line = None
    while at is not None:
        if at.tb_frame.f_code.co_filename == file:
            line = at.tb_lineno
        at = at.tb_next
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


class TemplateFolder:
    """The templates of a folder, read anew each time."""

    def __init__(self, folder: str | Path, streams: Iterable[Stream] = (OUTREACH, FINANCE)) -> None:
        """Keep the folder, which need not be there yet, and the streams that mail goes out by."""
        self.folder = Path(folder)
        self._streams = {each.id: each for each in streams}

    def names(self) -> list[str]:
        """Return the name of every template. Raises SettingsError for a folder that is none."""
        if not self.folder.exists():
            return []
        try:
            return sorted(
                each.name
                for each in self.folder.iterdir()
                if _NAME.fullmatch(each.name) and each.is_dir() and not each.is_symlink()
            )
        except OSError as error:
            raise SettingsError(
                f"The folder of templates {self.folder} cannot be read: {error}."
            ) from None

    def load(self, name: str, stream: Stream | None = None) -> Template:
        """Read a template, for the stream that it names if none is given.

        Raises NotFound, SettingsError for one that is wrong whatever it is told.
        """
        if name not in self.names():
            raise NotFound(f"There is no template {name!r} in {self.folder}.")
        folder = FolderLoader(self.folder)
        try:
            card = self._card(folder, name)
            known = stream or (None if card.stream is None else self._streams[card.stream])
            sandbox = Sandbox(folder)
            sources = {
                file: folder.read(f"{name}/{file}")
                for file in (SUBJECT, TEXT, HTML)
                if file != HTML or (self.folder / name / HTML).exists()
            }
            parts = {file: sandbox.get_template(f"{name}/{file}") for file in sources}
            files = {
                each.name: each.read_bytes()
                for each in (self.folder / name).iterdir()
                if each.is_file() and not each.is_symlink() and each.name != SAMPLE
            }
        except TemplateSyntaxError as error:
            raise SettingsError(f"{error.name}, line {error.lineno}: {error.message}.") from None
        except NotInFolder as error:
            raise SettingsError(
                f"The template {name} has no {str(error.name).partition('/')[2]}, as a plain file."
            ) from None
        except ValueError as error:
            raise SettingsError(str(error)) from None
        except OSError as error:
            raise SettingsError(f"The template {name} cannot be read: {error}.") from None
        if sum(len(each.encode()) for each in sources.values()) > SIZE_LIMIT:
            raise SettingsError(f"The template {name} is over {SIZE_LIMIT // 1_000} KB.")
        marketing = known is not None and known.marketing
        return Template(name, card, parts, sources, files, marketing=marketing)

    def _card(self, folder: FolderLoader, name: str) -> _TemplateSettings:
        if not (self.folder / name / CARD).exists():
            return _TemplateSettings()
        try:
            card = msgspec.toml.decode(folder.read(f"{name}/{CARD}"), type=_TemplateSettings)
        except msgspec.DecodeError as error:
            raise SettingsError(f"{name}/{CARD} is wrong: {error}.") from None
        if card.language is not None:
            try:
                card = replace(card, language=locale_of(card.language))
            except InvalidValue:
                raise SettingsError(
                    f"{name}/{CARD}: language: {card.language!r} is no language such as en or de-AT."
                ) from None
        if card.stream is not None and card.stream not in self._streams:
            raise SettingsError(
                f"{name}/{CARD} names the stream {card.stream!r}; the settings have "
                f"{', '.join(self._streams)}."
            )
        return card

    def sample(self, name: str) -> dict[str, Any]:
        """Return the context of a template's sample. Raises SettingsError."""
        try:
            found = msgspec.json.decode(FolderLoader(self.folder).read(f"{name}/{SAMPLE}"))
        except NotInFolder:
            raise SettingsError(
                f"The template {name} has no {SAMPLE}: write one, to check and preview it with."
            ) from None
        except msgspec.DecodeError as error:
            raise SettingsError(f"{name}/{SAMPLE} is no JSON: {error}.") from None
        except (ValueError, OSError) as error:
            raise SettingsError(str(error)) from None
        if not isinstance(found, dict):
            raise SettingsError(f"{name}/{SAMPLE} is no JSON object.")
        return {**GIVEN, **found}

    def check(self, name: str, stream: Stream | None = None) -> list[TemplateIssue]:
        """Return what is wrong with a template, for the stream that it names if none is given.

        Raises NotFound.
        """
        try:
            template = self.load(name, stream)
            sample = self.sample(name)
            body = template.body(sample)
        except (SettingsError, Unsendable) as error:
            return [TemplateIssue("error", str(error))]
        named = set[str]()
        for source in template.sources.values():
            named |= meta.find_undeclared_variables(template.environment.parse(source))
        unseen = sorted(named - sample.keys())
        found = [
            TemplateIssue("warning", f"{each!r} is named and the sample does not have it.")
            for each in unseen
        ]
        if template.stream is None and stream is None:
            found.append(
                TemplateIssue(
                    "warning", f"{CARD} names no stream, so its rules were not looked at."
                )
            )
        html = template.sources.get(HTML)
        return [*findings_of(html, body, sample, marketing=template.marketing), *found]

    def checked(self, name: str, stream: Stream | None = None) -> Template:
        """Return a template that is fit to be sent, by the stream that it names if none is given.

        Raises NotFound, InvalidRequest for a template of another stream, SettingsError.
        """
        template = self.load(name, stream)
        if stream is not None and template.stream not in (None, stream.id):
            raise InvalidRequest(
                f"The template {name} is for the stream {template.stream}, not for {stream.id}."
            )
        for finding in self.check(name, stream):
            if finding.level == "error":
                raise SettingsError(f"The template {name} cannot be sent: {finding.text}")
        return template

    def about(self) -> list[TemplateSummary]:
        """Return every template there is, with what is wrong with it."""
        return [self._about(name) for name in self.names()]

    def _about(self, name: str) -> TemplateSummary:
        findings = tuple(self.check(name))
        try:
            template = self.load(name)
        except SettingsError:
            return TemplateSummary(
                name=name, label=name, stream=None, language=None, findings=findings
            )
        return TemplateSummary(
            name=name,
            label=template.label,
            stream=template.stream,
            language=template.language,
            findings=findings,
        )

    def rendered(self, name: str, context: Mapping[str, Any] | None) -> RenderedTemplate:
        """Return what a template makes of a context, None: of its sample.

        Raises NotFound; InvalidRequest for a template or a context that make no message.
        """
        try:
            template = self.load(name)
            told = self.sample(name) if context is None else {**GIVEN, **context}
            return template.body(told)
        except (SettingsError, Unsendable) as error:
            raise InvalidRequest(str(error)) from None


def copy_examples(templates: TemplateFolder) -> list[str]:
    """Copy the templates that Sesight ships into a folder; return the names of those that were not
    there. Raises SettingsError.
    """
    held = templates.names()
    brought = [each for each in TemplateFolder(EXAMPLES).names() if each not in held]
    try:
        for name in brought:
            shutil.copytree(EXAMPLES / name, templates.folder / name)
    except OSError as error:
        raise SettingsError(f"{templates.folder} cannot be written to: {error}.") from None
    return brought
