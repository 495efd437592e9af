"""Message tags: names and values that SES repeats in every event of a message.

Tags appear in plain text in events, logs and metrics, so none ever holds an address.
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
"""The largest number of characters of a tag (MessageTag in the API reference of SES v2)."""

ALTERED_LIMIT = 64
"""The largest number of characters of an altered value. Its last nine are the mark of the alteration."""

_TAG = re.compile(rf"[A-Za-z0-9_-]{{1,{LIMIT}}}")
_OTHERS = re.compile(r"[^A-Za-z0-9_]+")
_ADDRESS = re.compile(r"@|%40", re.IGNORECASE)
_SES_TAGS = ("ses:", "send_id")


def format_campaign_tag(value: str) -> str:
    """Return a value in the characters that a tag may have: as it is, or altered and marked.

    An altered value ends in `-` and 8 hex digits of the original's SHA-256, so that two values never
    become the same tag; a value that already ends so is altered too. Of a value with an address, only
    the hash is kept. Raises InvalidRequest for an empty value.
    """
    if not value.strip():
        raise InvalidRequest("A tag's value is empty: give it letters or digits.")
    if _TAG.fullmatch(value) and not is_altered(value):
        return value
    words = ""
    if not has_address(value):
        plain = unicodedata.normalize("NFKD", value)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
        words = _OTHERS.sub("-", plain)[: ALTERED_LIMIT - 9].strip("-")
    return f"{words or 'tag'}-{_mark(value)}"


def _mark(value: str) -> str:
    """Return 8 hex digits of a value's hash, at least one of them a letter, so that no date looks like it."""
    digits = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    letter = re.search("[a-f]", digits)
    begin = max(0, letter.start() - 7) if letter is not None else 0
    return digits[begin : begin + 8]


def has_address(value: str) -> bool:
    """Return whether a text may contain an address."""
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

    `month` is a statement's (YYYY-MM); `attempt` is 1 for its first message. None makes no tag, but
    `name` defaults to the campaign's id. Raises InvalidRequest for an empty value, an invalid month, or
    a `send_id` that no tag can hold.
    """
    if format_campaign_tag(send_id) != send_id:
        raise InvalidRequest("A send id is letters, digits, _ and - only.")
    if month is not None and not (month.isascii() and month_number(month)):
        raise InvalidRequest("The month must have the form 2026-10.")
    if attempt is not None and attempt < 1:
        raise InvalidRequest("The first attempt is number 1.")
    values = {
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
    return {tag: format_campaign_tag(value) for tag, value in values.items() if value is not None}


def known_tags(tags: Mapping[str, str], name: str | None) -> tuple[tuple[str, str], ...]:
    """Return the tags of a message as its Accepted event has them: those that SES does not add, and the
    campaign's name as its owner wrote it, unless it contains an address.
    """
    pairs = {(tag, value) for tag, value in tags.items() if not tag.startswith(_SES_TAGS)}
    if name is not None and not has_address(name):
        cleaned = clean(name)
        if cleaned:
            pairs.add(("campaign_name", cleaned))
    return kept_tags(pairs)
