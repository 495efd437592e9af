"""Templates that SES renders: checked here, pushed to the account, and sent by name with their data.

SES renders its own syntax, a part of Handlebars: `{{first_name}}`, `{{#if more}}`, `{{#each items}}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from markupsafe import escape

from sesight.domain.errors import SesightError
from sesight.domain.template import TemplateIssue
from sesight.send.message import TemplatedContent, Unsendable
from sesight.send.templates.files import HTML, SUBJECT, TEXT, TemplateFiles

PushResult = Literal["created", "updated", "unchanged"]
"""What a push did to the account's template."""

ESCAPED = "html"
"""The name under which a message's data has a copy of all values, escaped for HTML."""

_JINJA = re.compile(r"\{%.*?%\}")
_UNSUBSCRIBE_LINK = re.compile(
    r"\{\{\s*(?:(?:html\.)?unsubscribe_url|amazonSESUnsubscribeUrl)\s*\}\}"
)
_POSTAL_ADDRESS = re.compile(r"\{\{\s*(?:html\.)?postal_address\s*\}\}")
_UNESCAPED = re.compile(r"\{\{\s*(?!html\.|this\b|else\b|amazonSES)([A-Za-z_][\w.]*)\s*\}\}")


class PushFailed(SesightError):
    """SES did not take a template. The text says why."""


class SesTemplate:
    """A template in SES's syntax. Safe to use from any thread.

    SES inserts values as they are, in HTML too: its guide, "Using templates to send personalized email",
    says that it doesn't escape HTML content. So the data of each message has all values twice: by their
    names, for subject and text, and once more under `html`, escaped
    (docs/decisions/0020-two-copies-of-ses-template-data.md).
    """

    def __init__(self, files: TemplateFiles) -> None:
        self.name = files.name
        self.language = files.settings.language
        self.files = files
        self.content = {
            name: files.sources[file]
            for name, file in (("Subject", SUBJECT), ("Text", TEXT), ("Html", HTML))
            if file in files.sources
        }
        """The template as SES's API takes it (EmailTemplateContent)."""
        self.content["Subject"] = self.content["Subject"].strip()
        digest = sha256()
        for name, content in sorted(files.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()

    def body(self, context: Mapping[str, Any]) -> TemplatedContent:
        """Return the template's name and data, for SES to render. Raises Unsendable."""
        try:
            return TemplatedContent(self.name, {**context, ESCAPED: _escaped(context)})
        except RecursionError:
            raise Unsendable("template", "The template's context is nested too deeply.") from None

    def findings(self) -> Iterator[TemplateIssue]:
        """Yield what is wrong with the template as far as its source shows it."""
        for part, source in self.content.items():
            if found := _JINJA.search(source):
                yield TemplateIssue(
                    "error",
                    f"{part} has {found[0]}, which is Jinja and which SES sends as it is. Write SES's "
                    "syntax, {{#if name}} or {{#each list}}, or have the template rendered here: "
                    f'rendering = "local" in {self.name}/template.toml.',
                )
            if self.files.marketing and part != "Subject":
                if not _UNSUBSCRIBE_LINK.search(source):
                    yield TemplateIssue(
                        "error", f"{part}: marketing mail must show {{{{unsubscribe_url}}}}."
                    )
                if not _POSTAL_ADDRESS.search(source):
                    yield TemplateIssue(
                        "error", f"{part}: marketing mail must show {{{{postal_address}}}}."
                    )
        for name in sorted(set(_UNESCAPED.findall(self.content.get("Html", "")))):
            yield TemplateIssue(
                "warning",
                f"The HTML inserts {{{{{name}}}}}, which SES does not escape: write {{{{html.{name}}}}}.",
            )


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return str(escape(value))
    if isinstance(value, Mapping):
        return {name: _escaped(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(member) for member in value]
    return value


class AccountTemplates:
    """The templates of an SES account in one region."""

    def __init__(self, client: Any) -> None:
        """`client` is botocore's `sesv2`."""
        self._client = client

    def push(self, template: SesTemplate, *, dry_run: bool = False) -> PushResult:
        """Create or update a template; return what was done, or would be by a dry run.

        Raises PushFailed.
        """
        try:
            current = self._content(template.name)
            if current == template.content:
                return "unchanged"
            call = (
                self._client.create_email_template
                if current is None
                else self._client.update_email_template
            )
            if not dry_run:
                call(TemplateName=template.name, TemplateContent=template.content)
        except ClientError as error:
            details = error.response["Error"]
            raise PushFailed(
                f"SES did not take the template {template.name}: {details['Code']}: "
                f"{details['Message']}"
            ) from None
        except BotoCoreError as error:
            raise PushFailed(f"SES could not be reached: {str(error).rstrip('.')}.") from None
        return "created" if current is None else "updated"

    def _content(self, name: str) -> dict[str, str] | None:
        """Return the account's template of a name, None where there is none."""
        try:
            content = self._client.get_email_template(TemplateName=name)["TemplateContent"]
        except self._client.exceptions.NotFoundException:
            return None
        return {part: content[part] for part in ("Subject", "Text", "Html") if content.get(part)}
