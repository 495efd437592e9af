"""The account's email templates, and the operations that read and change them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from sesight_simulator.ses.api_model import SesError
from sesight_simulator.ses.handlebars import TemplateUnknown, parse

TEMPLATE_BYTES = 500 * 1024
MAX_TEMPLATES = 20_000

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True)
class EmailTemplate:
    """A template as it was created, and its parsed parts."""

    name: str
    content: dict[str, str]
    parts: dict[str, list[Any]]


class TemplateStore:
    """The account's templates, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, EmailTemplate] = {}

    def template(self, name: str) -> EmailTemplate:
        """Return the template of a name. Raises SesError."""
        if name not in self.by_name:
            raise SesError("NotFoundException", f"Template {name} does not exist.")
        return self.by_name[name]

    def create_email_template(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """CreateEmailTemplate."""
        name = parameters["TemplateName"]
        if _NAME.fullmatch(name) is None:
            raise SesError("BadRequestException", f"Invalid template name <{name}>.")
        if name in self.by_name:
            raise SesError("AlreadyExistsException", f"Template {name} already exists.")
        if len(self.by_name) >= MAX_TEMPLATES:
            raise SesError("LimitExceededException", f"An account has {MAX_TEMPLATES} templates.")
        content = parameters["TemplateContent"]
        self.by_name[name] = EmailTemplate(name, content, _parse_parts(content))
        return {}

    def update_email_template(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """UpdateEmailTemplate."""
        template = self.template(parameters["TemplateName"])
        parts = _parse_parts(parameters["TemplateContent"])
        template.content, template.parts = parameters["TemplateContent"], parts
        return {}

    def get_email_template(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """GetEmailTemplate."""
        template = self.template(parameters["TemplateName"])
        return {"TemplateName": template.name, "TemplateContent": template.content}


def template_data(text: str | None) -> dict[str, Any]:
    """Decode the TemplateData of a call. Raises SesError."""
    try:
        data = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        data = None
    if not isinstance(data, dict):
        raise SesError("BadRequestException", "The template data is not a JSON object.")
    return data


def _parse_parts(content: dict[str, str]) -> dict[str, list[Any]]:
    if len(msgspec.json.encode(content)) > TEMPLATE_BYTES:
        raise SesError("BadRequestException", "The template is larger than 500 KB.")
    if not content.get("Subject"):
        raise SesError("BadRequestException", "The subject must be specified.")
    if not content.get("Html") and not content.get("Text"):
        raise SesError("BadRequestException", "The Html or Text part must be specified.")
    try:
        return {name: parse(text) for name, text in content.items()}
    except TemplateUnknown as error:
        raise SesError("BadRequestException", str(error)) from None
