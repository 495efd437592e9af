"""Templates: their summary, their problems, and the message they render."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

IssueLevel = Literal["error", "warning"]
"""error: the template cannot be sent; warning: it can be sent, but recipients may see a defect."""


class TemplateIssue(Struct, frozen=True):
    """One problem of a template, in a sentence."""

    level: IssueLevel
    text: str


class TemplateSummary(Struct, frozen=True, kw_only=True):
    """A template: its name, its label for people, the stream it is for (None: any), its language (BCP 47),
    and its problems.
    """

    name: str
    label: str
    stream: str | None
    language: str | None
    findings: tuple[TemplateIssue, ...]


class RenderedTemplate(Struct, frozen=True):
    """A rendered message; `html` is None for a message of plain text only."""

    subject: str
    html: str | None
    text: str
