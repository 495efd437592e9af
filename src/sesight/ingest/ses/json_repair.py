"""JSON that a strict reader refuses though it can only be meant one way."""

from __future__ import annotations

import re

_MARKS = re.compile(rb"(?:\xef\xbb\xbf)*")

# an escaped backslash, a true pair of surrogates, or half of one
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def mended(body: bytes) -> bytes | None:
    """Return the body without its byte order marks and with a space for each lone surrogate.

    None if it has neither. User agents cut off in the middle of an emoji leave lone surrogates;
    no text with one can be written as UTF-8.
    """
    found = _MARKS.sub(b"", body, count=1)
    if b"\\u" in found:
        found = _ESCAPES.sub(lambda match: b" " if match[1] else match[0], found)
    return None if found == body else found
