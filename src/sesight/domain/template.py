"""Templates as everybody sees them: what one is, what is wrong with it, what it makes."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

IssueLevel = Literal["error", "warning"]
"""error: nothing is sent with it; warning: it is sent, and somebody may be sorry."""


class TemplateIssue(Struct, frozen=True):
    """What is wrong with a template, in a sentence."""

    level: IssueLevel
    text: str


class TemplateSummary(Struct, frozen=True, kw_only=True):
    """A template: its name, what people call it, the stream it is for (None: any), its language
    (BCP 47), and what is wrong with it.
    """

    name: str
    label: str
    stream: str | None
    language: str | None
    findings: tuple[TemplateIssue, ...]


class RenderedTemplate(Struct, frozen=True):
    """What a template makes of a context; `html` is None for mail of text alone."""

    subject: str
    html: str | None
    text: str


class TemplateLibrary(Protocol):
    """Where templates are looked at; nothing is sent from here."""

    def about(self) -> list[TemplateSummary]:
        """Return every template there is, by name."""
        ...

    def rendered(self, name: str, context: dict[str, Any] | None) -> RenderedTemplate:
        """Return what a template makes of a context, None: of its sample.

        Raises NotFound; InvalidRequest for a template or a context that make no message.
        """
        ...
