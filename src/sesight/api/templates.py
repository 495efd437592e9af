"""The routes of templates: the list, and previews. They send nothing."""

from __future__ import annotations

from typing import Any

from litestar.params import FromPath, JSONBody
from msgspec import Struct

from sesight.api.parameters import InjectedServices
from sesight.api.route import ask, read
from sesight.domain.errors import NotFound
from sesight.domain.template import IssueLevel
from sesight.services.answers import Meta, Total, meta_of


class TemplateFinding(Struct, frozen=True):
    """An issue of a template, in a sentence. A template with an error cannot be sent."""

    level: IssueLevel
    text: str


class TemplateEntry(Struct, frozen=True, kw_only=True):
    """A template: its name, what people call it, the stream it is for (null: any), its language, and
    what is wrong with it.
    """

    name: str
    label: str
    stream: str | None
    language: str | None
    findings: list[TemplateFinding]


class TemplateList(Struct, frozen=True, rename="camel", kw_only=True):
    """All templates, by name."""

    data: list[TemplateEntry]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


class TemplateContext(Struct, frozen=True, forbid_unknown_fields=True):
    """The context of a template, at most 262,144 characters; null or absent: its sample."""

    context: dict[str, Any] | None = None


class TemplatePreview(Struct, frozen=True, kw_only=True):
    """A rendered template. `html` is null for mail of text alone; show it in a sandboxed frame."""

    name: str
    subject: str
    html: str | None
    text: str
    meta: Meta


@read("/templates")
def templates(services: InjectedServices) -> TemplateList:
    """All templates, with their issues."""
    library = [] if services.templates is None else services.templates().about()
    return TemplateList(
        data=[
            TemplateEntry(
                name=template.name,
                label=template.label,
                stream=template.stream,
                language=template.language,
                findings=[TemplateFinding(issue.level, issue.text) for issue in template.findings],
            )
            for template in library
        ],
        total=Total(len(library), exact=True),
        next_cursor=None,
        newer_cursor=None,
        searched_to=None,
        meta=meta_of(services, list(services.counting.streams)),
    )


@ask("/templates/{name:str}/preview")
def template_preview(
    services: InjectedServices, name: FromPath[str], data: JSONBody[TemplateContext]
) -> TemplatePreview:
    """A template rendered with its sample, or with another context. Nothing is sent."""
    if services.templates is None:
        raise NotFound("This server has no templates.")
    made = services.templates().rendered(name, data.context)
    return TemplatePreview(
        name=name,
        subject=made.subject,
        html=made.html,
        text=made.text,
        meta=meta_of(services, list(services.counting.streams)),
    )
