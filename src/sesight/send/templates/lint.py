"""The lint of a rendered message: what mail programs drop or recipients trip over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

from sesight.domain.template import RenderedTemplate, TemplateIssue

CLIPPED = 102_000
"""Bytes of HTML beyond which Gmail clips a message, and its unsubscribe link with it."""

_VOID = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input"),
    *("link", "meta", "source", "track", "wbr"),
}
"""Elements without an end tag (HTML, 13.1.2)."""

_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])|opacity\s*:\s*0(?![.\d]*[1-9])",
    re.IGNORECASE,
)
_REMOTE = re.compile(r"@import|url\(\s*['\"]?\s*(?!data:|#)", re.IGNORECASE)
_SHEET = re.compile(r"<link\b[^>]*stylesheet", re.IGNORECASE)
_UNQUOTED = re.compile(r"<[^<>]*=\s*\{\{")


class _PageParser(HTMLParser):
    """Reads HTML in which every element is closed, as css-inline writes it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.unsubscribe_links: list[tuple[bool, bool]] = []
        """For each unsubscribe link: whether it is visible, whether it is excluded from tracking."""
        self.styles: list[str] = []
        self.tags: set[str] = set()
        self.images_without_alt = 0
        self._open: list[tuple[str, bool]] = []
        self._in_unsubscribe_link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        style = attributes.get("style") or ""
        self.styles.append(style)
        hidden = bool(_HIDDEN.search(style)) or "hidden" in attributes or self._hidden
        if tag == "img" and "alt" not in attributes:
            self.images_without_alt += 1
        if tag == "a":
            self._in_unsubscribe_link = attributes.get("href") == self.url
            if self._in_unsubscribe_link:
                self.unsubscribe_links.append((False, "ses:no-track" in attributes))
        if tag not in _VOID:
            self._open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._in_unsubscribe_link = False
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "style":
            self.styles.append(data)
        elif self._in_unsubscribe_link and data.strip() and not self._hidden:
            self.unsubscribe_links[-1] = (True, self.unsubscribe_links[-1][1])

    @property
    def _hidden(self) -> bool:
        return bool(self._open) and self._open[-1][1]


def lint(
    source: str | None, message: RenderedTemplate, sample: Mapping[str, Any], *, marketing: bool
) -> Iterator[TemplateIssue]:
    """Yield what is wrong with a message rendered from a sample. `source` is its HTML template."""
    if message.html is None or source is None:
        return
    url = str(sample.get("unsubscribe_url", ""))
    page = _PageParser(url)
    page.feed(message.html)
    page.close()
    if marketing and not any(is_visible for is_visible, _ in page.unsubscribe_links):
        yield TemplateIssue(
            "error",
            'Marketing mail must show an unsubscribe link: <a href="{{ unsubscribe_url }}">.',
        )
    if page.unsubscribe_links and not all(
        is_untracked for _, is_untracked in page.unsubscribe_links
    ):
        yield TemplateIssue(
            "error" if marketing else "warning",
            "Clicks on the unsubscribe link must not be tracked: write <a ses:no-track …>.",
        )
    if _SHEET.search(source) or "@import" in "".join(page.styles).lower():
        yield TemplateIssue(
            "error", "Mail cannot load external style sheets: put the styles into <style>."
        )
    elif any(_REMOTE.search(style) for style in page.styles):
        yield TemplateIssue(
            "warning", "The styles load external images, which many mail programs do not show."
        )
    if _UNQUOTED.search(source):
        yield TemplateIssue(
            "error", 'An attribute\'s value has no quotes: write name="{{ value }}".'
        )
    for tag in sorted({"script", "form", "iframe", "object", "embed"} & page.tags):
        yield TemplateIssue("warning", f"Mail programs do not show <{tag}>.")
    if page.images_without_alt:
        yield TemplateIssue("warning", f"{page.images_without_alt} images have no alt text.")
    if len(message.html.encode()) > CLIPPED:
        yield TemplateIssue(
            "warning",
            f"The HTML is over {CLIPPED // 1_000} KB: Gmail clips it, and its end is not shown.",
        )
