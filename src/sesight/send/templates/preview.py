"""The preview of a template: one HTML page that loads and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from sesight.domain.template import RenderedTemplate, TemplateIssue

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The page's content security policy. Its frames inherit it (HTML: about:srcdoc)."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #5a6472; --line: #d5dae2; --ground: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --quiet: #9aa5b4; --line: #38414e; --ground: #171c23; }
}
body { margin: 0 auto; max-width: 1180px; padding: 24px; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0; } h2 { font-size: 14px; color: var(--quiet); margin: 24px 0 8px; }
.subject { font-size: 18px; margin: 0; overflow-wrap: anywhere; }
.frames { display: flex; flex-wrap: wrap; gap: 24px; } figure { margin: 0; }
figcaption, .note { color: var(--quiet); font-size: 14px; }
iframe { border: 1px solid var(--line); border-radius: 6px; height: 860px; max-width: 100%; resize: vertical; }
pre { border: 1px solid var(--line); border-radius: 6px; padding: 16px; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 14px/1.5 ui-monospace, monospace; }
"""

_FRAMES = (("Desktop", 720), ("Phone", 390))


def preview(
    name: str, label: str, message: RenderedTemplate, findings: Iterable[TemplateIssue]
) -> str:
    """Return the page. It shows no external images, and its links lead nowhere."""
    items = "".join(
        f"<li><b>{escape(finding.level)}</b>: {escape(finding.text)}</li>" for finding in findings
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(label)} – preview</title><style>{_STYLE}</style></head><body><main>",
        f'<h1>{escape(label)}</h1><p class="note">Template <code>{escape(name)}</code> with its ',
        "sample. External images are not loaded.</p>",
        f"<h2>Findings</h2><ul>{items}</ul>" if items else "",
        f'<h2>Subject</h2><p class="subject">{escape(message.subject)}</p>',
    ]
    if message.html is not None:
        srcdoc = escape(message.html)
        frames = "".join(
            f"<figure><figcaption>{title}, {width} pixels</figcaption>"
            f'<iframe sandbox title="{title}" width="{width}" srcdoc="{srcdoc}"></iframe></figure>'
            for title, width in _FRAMES
        )
        parts.append(f'<h2>HTML</h2><div class="frames">{frames}</div>')
    parts.append(f"<h2>Text</h2><pre>{escape(message.text)}</pre></main></body></html>\n")
    return "".join(parts)
