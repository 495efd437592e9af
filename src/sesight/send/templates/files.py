"""The files of one template, as they were read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

SUBJECT, HTML, TEXT = "subject.txt", "body.html", "body.txt"
SAMPLE, SETTINGS = "sample.json", "template.toml"

Rendering = Literal["local", "ses"]
"""Who renders a template: this process (Jinja), or SES (its own syntax)."""


class TemplateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of `template.toml`."""

    label: str | None = None
    stream: str | None = None
    language: str | None = None
    rendering: Rendering | None = None


class TemplateFiles(Struct, frozen=True, kw_only=True):
    """One template before it is parsed: its settings, the sources of its parts by file name, and all
    files that its messages are made of. `marketing`: it is for a stream of marketing mail.
    """

    name: str
    settings: TemplateSettings
    sources: Mapping[str, str]
    files: Mapping[str, bytes]
    marketing: bool

    @property
    def label(self) -> str:
        """Return the template's name as shown to people."""
        return self.settings.label or self.name.replace("-", " ").replace("_", " ").capitalize()
