"""Message tags: what a message's events will say of it, in the characters SES lets a tag have.

Tags stand in plain text in events, logs and metrics, so no address is ever in one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from hashlib import sha256

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import is_altered, kept_tags
from sesight.domain.text import clean
from sesight.domain.timestamps import month_number

LIMIT = 256
"""Characters SES takes in a tag (MessageTag in the API reference of SES v2)."""

ALTERED_LIMIT = 64
"""Characters of an altered value; what makes it one is in its last nine."""

_TAG = re.compile(rf"[A-Za-z0-9_-]{{1,{LIMIT}}}")
_OTHERS = re.compile(r"[^A-Za-z0-9_]+")
_ADDRESS = re.compile(r"@|%40", re.IGNORECASE)
_NOT_OURS = ("ses:", "send_id")


def format_campaign_tag(value: str) -> str:
    """Return the value as a tag may have it: as it is, or altered and then marked.

    An altered one ends in `-` and 8 hex digits of the original's SHA-256, so that two values never
    become one; a value that already looks so is altered too. Nothing of a value with an address in
    it is kept but that hash. Raises InvalidRequest for an empty value.
    """
    if not value.strip():
        raise InvalidRequest("A tag's value is empty: give it letters or digits.")
    if _TAG.fullmatch(value) and not is_altered(value):
        return value
    words = ""
    if not has_address(value):
        plain = unicodedata.normalize("NFKD", value)
        plain = "".join(each for each in plain if not unicodedata.combining(each))
        words = _OTHERS.sub("-", plain)[: ALTERED_LIMIT - 9].strip("-")
    return f"{words or 'tag'}-{_mark(value)}"


def _mark(value: str) -> str:
    """Return 8 hex digits of a value's hash, a letter among them: no date can look like it."""
    digits = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    letter = re.search("[a-f]", digits)
    begin = max(0, letter.start() - 7) if letter is not None else 0
    return digits[begin : begin + 8]


def has_address(value: str) -> bool:
    """Return whether an address may be in a text."""
    return bool(_ADDRESS.search(unicodedata.normalize("NFKC", value)))


def campaign_tags(
    *,
    stream: str,
    campaign: str,
    send_id: str,
    name: str | None = None,
    kind: str | None = None,
    step: str | None = None,
    variant: str | None = None,
    month: str | None = None,
    attempt: int | None = None,
) -> dict[str, str]:
    """Return the tags of one message to one recipient, by name.

    `month` is a statement's (YYYY-MM), `attempt` 1 for the first sending of it. What is None has no
    tag; `name` is the campaign itself where it is None. The campaign is known by `campaign_id` from
    then on. Raises InvalidRequest for an empty value, a month that is none, a `send_id` no tag can
    hold.
    """
    if format_campaign_tag(send_id) != send_id:
        raise InvalidRequest("A send id is letters, digits, _ and - only.")
    if month is not None and not (month.isascii() and month_number(month)):
        raise InvalidRequest("The month is not of the form 2026-10.")
    if attempt is not None and attempt < 1:
        raise InvalidRequest("The first attempt is number 1.")
    given = {
        "campaign_id": campaign,
        "campaign_name": campaign if name is None else name,
        "campaign_type": kind,
        "campaign_step": step,
        "campaign_variant": variant,
        "campaign_month": month,
        "campaign_attempt": None if attempt is None else str(attempt),
        "send_id": send_id,
        "ses:feedback-id-a": stream,
        "ses:feedback-id-b": campaign,
    }
    return {tag: format_campaign_tag(value) for tag, value in given.items() if value is not None}


def known_tags(tags: Mapping[str, str], name: str | None) -> tuple[tuple[str, str], ...]:
    """Return what our own sender says of a message's tags beside what SES will say of them: the
    sender's own, as a record keeps them, and the campaign's name as its owner wrote it (none of an
    address).
    """
    pairs = {(tag, value) for tag, value in tags.items() if not tag.startswith(_NOT_OURS)}
    if name is not None and not has_address(name):
        kept = clean(name)
        if kept:
            pairs.add(("campaign_name", kept))
    return kept_tags(pairs)
