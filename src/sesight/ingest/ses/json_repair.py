"""Repair of JSON that a strict parser refuses though only one meaning is possible."""

from __future__ import annotations

import re

_BYTE_ORDER_MARKS = re.compile(rb"(?:\xef\xbb\xbf)*")

# an escaped backslash, a complete pair of surrogates, or a lone surrogate (the group)
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def repaired(body: bytes) -> bytes | None:
    """Return the body without its byte order marks and with a space for each lone surrogate; None if
    it has neither.

    SES cuts user agents off in the middle of an emoji, which leaves lone surrogates. A text that has
    one cannot be encoded as UTF-8, so it could not be stored either.
    """
    better = _BYTE_ORDER_MARKS.sub(b"", body, count=1)
    if b"\\u" in better:
        better = _ESCAPES.sub(lambda match: b" " if match[1] else match[0], better)
    return None if better == body else better
