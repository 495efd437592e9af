"""The library: an account's templates, and the calls that read and change them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sesight_simulator.ses.handlebars import AttributeAbsent, TemplateUnknown, parse, render
from sesight_simulator.ses.requests import Operation, Refused, page

TEMPLATE_BYTES = 500 * 1024
TEMPLATES = 20_000

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True)
class Template:
    """A template as it was given, and its parsed parts."""

    name: str
    at: int
    content: dict[str, str]
    parts: dict[str, list[Any]]


def compiled(content: dict[str, str]) -> dict[str, list[Any]]:
    """The parsed parts of a template's content. Raises Refused."""
    if len(msgspec.json.encode(content)) > TEMPLATE_BYTES:
        raise Refused("BadRequestException", "The template is larger than 500 KB.")
    if not content.get("Subject"):
        raise Refused("BadRequestException", "The subject must be specified.")
    if not content.get("Html") and not content.get("Text"):
        raise Refused("BadRequestException", "The Html or Text part must be specified.")
    try:
        return {name: parse(text) for name, text in content.items()}
    except TemplateUnknown as error:
        raise Refused("BadRequestException", str(error)) from None


def template_data(text: str | None) -> dict[str, Any]:
    """Template data, from its JSON. Raises Refused."""
    try:
        data = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        data = None
    if not isinstance(data, dict):
        raise Refused("BadRequestException", "The template data is no JSON object.")
    return data


class Library:
    """The account's templates, by name."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.templates: dict[str, Template] = {}

    def calls(self) -> dict[str, Operation]:
        """What answers each operation."""
        return {
            "CreateEmailTemplate": self.create_email_template,
            "UpdateEmailTemplate": self.update_email_template,
            "GetEmailTemplate": self.get_email_template,
            "ListEmailTemplates": self.list_email_templates,
            "DeleteEmailTemplate": self.delete_email_template,
            "TestRenderEmailTemplate": self.test_render_email_template,
        }

    def template(self, name: str) -> Template:
        """The template of a name. Raises Refused."""
        if name not in self.templates:
            raise Refused("NotFoundException", f"Template {name} does not exist.")
        return self.templates[name]

    def create_email_template(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateEmailTemplate."""
        name = given["TemplateName"]
        if _NAME.fullmatch(name) is None:
            raise Refused("BadRequestException", f"Invalid template name <{name}>.")
        if name in self.templates:
            raise Refused("AlreadyExistsException", f"Template {name} already exists.")
        if len(self.templates) >= TEMPLATES:
            raise Refused("LimitExceededException", f"An account has {TEMPLATES} templates.")
        content = given["TemplateContent"]
        self.templates[name] = Template(name, self.clock(), content, compiled(content))
        return {}

    def update_email_template(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateEmailTemplate."""
        found = self.template(given["TemplateName"])
        parts = compiled(given["TemplateContent"])
        found.content, found.parts = given["TemplateContent"], parts
        return {}

    def get_email_template(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetEmailTemplate."""
        found = self.template(given["TemplateName"])
        return {"TemplateName": found.name, "TemplateContent": found.content}

    def list_email_templates(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListEmailTemplates, newest first."""
        rows = [
            {"TemplateName": each.name, "CreatedTimestamp": each.at / 1_000}
            for each in reversed(self.templates.values())
        ]
        return page(given, rows, "TemplatesMetadata", most=100)

    def delete_email_template(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteEmailTemplate."""
        del self.templates[self.template(given["TemplateName"]).name]
        return {}

    def test_render_email_template(self, given: dict[str, Any]) -> dict[str, Any]:
        """TestRenderEmailTemplate."""
        found = self.template(given["TemplateName"])
        data = template_data(given["TemplateData"])
        try:
            parts = {name: render(part, data) for name, part in found.parts.items()}
        except AttributeAbsent as error:
            raise Refused("BadRequestException", str(error)) from None
        bodies = [parts[name] for name in ("Text", "Html") if name in parts]
        text = "\r\n\r\n".join([f"Subject: {parts['Subject']}\r\nMIME-Version: 1.0", *bodies])
        return {"RenderedTemplate": text}
