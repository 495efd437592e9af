"""The style sheet of a template, written at its elements, since mail programs read it there only."""

from __future__ import annotations

from css_inline import CSSInliner, InlineError

from sesight.send.message import Unsendable

# At-rules stay in <style>, so that phones and dark screens have theirs; nothing is ever loaded.
_INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


def styled(name: str, html: str) -> str:
    """Return a template's HTML with its styles inlined. Raises Unsendable."""
    try:
        return _INLINER.inline(html)
    except InlineError:
        raise Unsendable("template", f"The styles of the template {name} cannot be read.") from None
