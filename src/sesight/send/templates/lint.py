"""The inspection of what a template makes: what a recipient, or a mail program, would stumble over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

from sesight.domain.template import RenderedTemplate, TemplateIssue

CLIPPED = 102_000
"""Bytes of HTML from which on Gmail cuts a message off, its unsubscribe link with it."""

VOID = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input"),
    *("link", "meta", "source", "track", "wbr"),
}
"""Elements that are never closed (HTML, 13.1.2)."""

_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])|opacity\s*:\s*0(?![.\d]*[1-9])",
    re.IGNORECASE,
)
_REMOTE = re.compile(r"@import|url\(\s*['\"]?\s*(?!data:|#)", re.IGNORECASE)
_SHEET = re.compile(r"<link\b[^>]*stylesheet", re.IGNORECASE)
_UNQUOTED = re.compile(r"<[^<>]*=\s*\{\{")


class _PageParser(HTMLParser):
    """Reads HTML in which every element is closed, as the inliner writes it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.leaves: list[tuple[bool, bool]] = []
        """Of each link to the address: whether it is seen, whether it is not tracked."""
        self.styles: list[str] = []
        self.tags: set[str] = set()
        self.unlabelled = 0
        self._open: list[tuple[str, bool]] = []
        self._leaving = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.add(tag)
        style = told.get("style") or ""
        self.styles.append(style)
        hidden = bool(_HIDDEN.search(style)) or "hidden" in told or self._hidden
        if tag == "img" and "alt" not in told:
            self.unlabelled += 1
        if tag == "a":
            self._leaving = told.get("href") == self.url
            if self._leaving:
                self.leaves.append((False, "ses:no-track" in told))
        if tag not in VOID:
            self._open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._leaving = False
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "style":
            self.styles.append(data)
        elif self._leaving and data.strip() and not self._hidden:
            self.leaves[-1] = (True, self.leaves[-1][1])

    @property
    def _hidden(self) -> bool:
        return bool(self._open) and self._open[-1][1]


def findings_of(
    source: str | None, body: RenderedTemplate, sample: Mapping[str, Any], *, marketing: bool
) -> Iterator[TemplateIssue]:
    """Yield what is wrong with a message made of a sample; `source` is its HTML before that."""
    if body.html is None or source is None:
        return
    url = str(sample.get("unsubscribe_url", ""))
    page = _PageParser(url)
    page.feed(body.html)
    page.close()
    if marketing and not any(seen for seen, _ in page.leaves):
        yield TemplateIssue(
            "error", 'Marketing mail has a link to be seen: <a href="{{ unsubscribe_url }}">.'
        )
    if page.leaves and not all(untracked for _, untracked in page.leaves):
        yield TemplateIssue(
            "error" if marketing else "warning",
            "Leaving is not tracked: write <a ses:no-track …> where the link to unsubscribe is.",
        )
    if _SHEET.search(source) or "@import" in "".join(page.styles).lower():
        yield TemplateIssue("error", "Styles are never loaded from outside: put them into <style>.")
    elif any(_REMOTE.search(each) for each in page.styles):
        yield TemplateIssue(
            "warning", "Styles load pictures from outside, which many mail programs do not show."
        )
    if _UNQUOTED.search(source):
        yield TemplateIssue(
            "error", 'A value of an attribute has no quotes around it: write name="{{ value }}".'
        )
    for tag in sorted({"script", "form", "iframe", "object", "embed"} & page.tags):
        yield TemplateIssue("warning", f"Mail programs do not show <{tag}>.")
    if page.unlabelled:
        yield TemplateIssue(
            "warning", f"{page.unlabelled} pictures have no alt text for who sees none."
        )
    if len(body.html.encode()) > CLIPPED:
        yield TemplateIssue(
            "warning",
            f"The HTML is over {CLIPPED // 1_000} KB: Gmail cuts it off, its end is not seen.",
        )
