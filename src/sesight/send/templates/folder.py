"""The folder of templates: reads, checks and renders them by name. Templates never come from a request.

`templates/NAME/` has `subject.txt`, `body.txt`, `body.html` (mail with only a text has none),
`sample.json` and, optionally, `template.toml`. Folders whose names begin with `_` have parts to include.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import TemplateSyntaxError
from msgspec.structs import replace

from sesight.domain.errors import InvalidRequest, NotFound, SettingsError
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.template import RenderedTemplate, TemplateIssue, TemplateSummary
from sesight.send.message import Unsendable
from sesight.send.statements.money import InvalidValue, locale_of
from sesight.send.templates.files import (
    HTML,
    SAMPLE,
    SETTINGS,
    SUBJECT,
    TEXT,
    Rendering,
    TemplateFiles,
    TemplateSettings,
)
from sesight.send.templates.lint import lint
from sesight.send.templates.sandbox import SIZE_LIMIT, FolderLoader, NotInFolder, Sandbox
from sesight.send.templates.ses import SesTemplate
from sesight.send.templates.template import Template

EXAMPLES = Path(__file__).parent / "examples"
"""The templates that Sesight ships."""

STANDARD_VARIABLES = {
    "email": "ana@example.org",
    "name": "Ana Bell",
    "unsubscribe_url": "https://mail.example.com/unsubscribe/sample",
    "postal_address": "Example Ltd, 1 Example Street, Exampletown",
    "campaign": "Sample campaign",
}
"""The variables that every template receives, with values for samples that do not set them."""

# SES accepts the same names for its own templates
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class TemplateFolder:
    """The templates of a folder, read from disk at each use so that edits count at once."""

    def __init__(
        self,
        folder: str | Path,
        streams: Iterable[Stream] = (OUTREACH, FINANCE),
        rendering: Rendering = "local",
    ) -> None:
        """The folder need not exist yet. `rendering` is that of templates whose `template.toml` does not
        set their own.
        """
        self.folder = Path(folder)
        self._streams = {stream.id: stream for stream in streams}
        self._rendering = rendering

    def names(self) -> list[str]:
        """Return the names of all templates. Raises SettingsError for a folder that cannot be read."""
        if not self.folder.exists():
            return []
        try:
            return sorted(
                path.name
                for path in self.folder.iterdir()
                if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
            )
        except OSError as error:
            raise SettingsError(
                f"The folder of templates {self.folder} cannot be read: {error}."
            ) from None

    def load(self, name: str, stream: Stream | None = None) -> Template | SesTemplate:
        """Read a template, for a stream or, by default, for the one that its settings name.

        Raises NotFound, and SettingsError for a template that cannot be read or parsed.
        """
        loader = FolderLoader(self.folder)
        try:
            files = self._read(loader, name, stream)
            if (files.settings.rendering or self._rendering) == "ses":
                return SesTemplate(files)
            return Template(files, Sandbox(loader))
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

    def _read(self, loader: FolderLoader, name: str, stream: Stream | None) -> TemplateFiles:
        if name not in self.names():
            raise NotFound(f"There is no template {name!r} in {self.folder}.")
        folder = self.folder / name
        settings = self._settings(loader, name)
        stream = stream or self._streams.get(settings.stream or "")
        sources = {
            file: loader.read(f"{name}/{file}")
            for file in (SUBJECT, TEXT, HTML)
            if file != HTML or (folder / HTML).exists()
        }
        if sum(len(source.encode()) for source in sources.values()) > SIZE_LIMIT:
            raise SettingsError(f"The template {name} is over {SIZE_LIMIT // 1_000} KB.")
        return TemplateFiles(
            name=name,
            settings=settings,
            sources=sources,
            files={
                path.name: path.read_bytes()
                for path in folder.iterdir()
                if path.is_file() and not path.is_symlink() and path.name != SAMPLE
            },
            marketing=stream is not None and stream.marketing,
        )

    def _settings(self, loader: FolderLoader, name: str) -> TemplateSettings:
        file = f"{name}/{SETTINGS}"
        if not (self.folder / file).exists():
            return TemplateSettings()
        try:
            settings = msgspec.toml.decode(loader.read(file), type=TemplateSettings)
        except msgspec.DecodeError as error:
            raise SettingsError(f"{file} is wrong: {error}.") from None
        if settings.language is not None:
            try:
                settings = replace(settings, language=locale_of(settings.language))
            except InvalidValue:
                raise SettingsError(
                    f"{file}: language: {settings.language!r} is no language such as en or de-AT."
                ) from None
        if settings.stream is not None and settings.stream not in self._streams:
            raise SettingsError(
                f"{file} names the stream {settings.stream!r}; the settings have "
                f"{', '.join(self._streams)}."
            )
        return settings

    def sample(self, name: str) -> dict[str, Any]:
        """Return the context of a template's sample. Raises SettingsError."""
        try:
            sample = msgspec.json.decode(FolderLoader(self.folder).read(f"{name}/{SAMPLE}"))
        except NotInFolder:
            raise SettingsError(
                f"The template {name} has no {SAMPLE}: write one, to check and preview it with."
            ) from None
        except msgspec.DecodeError as error:
            raise SettingsError(f"{name}/{SAMPLE} is no JSON: {error}.") from None
        except (ValueError, OSError) as error:
            raise SettingsError(str(error)) from None
        if not isinstance(sample, dict):
            raise SettingsError(f"{name}/{SAMPLE} is no JSON object.")
        return {**STANDARD_VARIABLES, **sample}

    def check(self, name: str, stream: Stream | None = None) -> list[TemplateIssue]:
        """Return what is wrong with a template, for a stream or for the one that its settings name.

        Raises NotFound.
        """
        try:
            template = self.load(name, stream)
            findings = list(self._findings(template))
        except (SettingsError, Unsendable) as error:
            return [TemplateIssue("error", str(error))]
        if template.files.settings.stream is None and stream is None:
            findings.append(
                TemplateIssue(
                    "warning", f"{SETTINGS} names no stream, so no stream's rules were checked."
                )
            )
        return findings

    def _findings(self, template: Template | SesTemplate) -> Iterator[TemplateIssue]:
        if isinstance(template, SesTemplate):
            yield from template.findings()
            return
        sample = self.sample(template.name)
        message = template.body(sample)
        html = template.files.sources.get(HTML)
        yield from lint(html, message, sample, marketing=template.files.marketing)
        for variable in sorted(template.variables() - sample.keys()):
            yield TemplateIssue(
                "warning", f"{variable!r} is named and the sample does not have it."
            )

    def checked(self, name: str, stream: Stream | None = None) -> Template | SesTemplate:
        """Return a template that has no error, for a stream or for the one that its settings name.

        Raises NotFound, InvalidRequest for a template of another stream, SettingsError.
        """
        template = self.load(name, stream)
        own_stream = template.files.settings.stream
        if stream is not None and own_stream not in (None, stream.id):
            raise InvalidRequest(
                f"The template {name} is for the stream {own_stream}, not for {stream.id}."
            )
        for finding in self.check(name, stream):
            if finding.level == "error":
                raise SettingsError(f"The template {name} cannot be sent: {finding.text}")
        return template

    def for_ses(self, names: Iterable[str] = ()) -> list[SesTemplate]:
        """Return templates to push to SES: those named, or by default all that SES renders.

        Raises NotFound, and SettingsError for a template that SES does not render or that has an error,
        and where there is none.
        """
        templates = []
        for name in names or self.names():
            template = self.load(name)
            if isinstance(template, SesTemplate):
                _ = self.checked(name)
                templates.append(template)
            elif names:
                raise SettingsError(
                    f"The template {name} is rendered here, so SES needs no copy of it. To have SES "
                    'render it, write its files in SES\'s own syntax and set rendering = "ses" in '
                    f"{name}/{SETTINGS}."
                )
        if not templates:
            raise SettingsError(
                f"SES renders no template in {self.folder}, so there is nothing to push: templates are "
                'rendered here unless their template.toml says rendering = "ses".'
            )
        return templates

    def about(self) -> list[TemplateSummary]:
        """Return a description of every template, with what is wrong with it."""
        return [self._about(name) for name in self.names()]

    def _about(self, name: str) -> TemplateSummary:
        findings = tuple(self.check(name))
        try:
            files = self.load(name).files
        except SettingsError:
            return TemplateSummary(
                name=name, label=name, stream=None, language=None, findings=findings
            )
        return TemplateSummary(
            name=name,
            label=files.label,
            stream=files.settings.stream,
            language=files.settings.language,
            findings=findings,
        )

    def rendered(self, name: str, context: Mapping[str, Any] | None) -> RenderedTemplate:
        """Return the message that a template makes of a context, None: of its sample.

        Raises NotFound; InvalidRequest for a template or a context that make no message.
        """
        try:
            template = self.load(name)
            if isinstance(template, SesTemplate):
                raise InvalidRequest(
                    f"SES renders the template {name}, so there is no preview of it here."
                )
            return template.body(
                self.sample(name) if context is None else {**STANDARD_VARIABLES, **context}
            )
        except (SettingsError, Unsendable) as error:
            raise InvalidRequest(str(error)) from None


def copy_examples(templates: TemplateFolder) -> list[str]:
    """Copy the templates that Sesight ships into a folder; return the names of those that were not
    there. Raises SettingsError.
    """
    present = templates.names()
    missing = [name for name in TemplateFolder(EXAMPLES).names() if name not in present]
    try:
        for name in missing:
            shutil.copytree(EXAMPLES / name, templates.folder / name)
    except OSError as error:
        raise SettingsError(f"{templates.folder} cannot be written to: {error}.") from None
    return missing
