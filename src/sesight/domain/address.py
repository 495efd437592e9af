"""Addresses: the normalized form by which records, suppressions and the sender identify a mailbox.

The normalized form (the key) is the bare address with its local part lower-cased in ASCII and its domain in
A-labels by UTS 46, as the sender's validator has it. Non-ASCII characters of a local part stay as they are: SES
cannot send to such addresses, and folding them could merge two people (U+212A KELVIN SIGN is a `k` in lower case).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from sesight.domain.text import LONG, SHORT, clean, without_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

NormalizedAddress = tuple[str, str | None, bool]
"""The key; the spelling if it differs from the key; whether it is an address that SES can send to."""

EDGES = " \t\u00a0\ufeff"
"""Characters that are copied along with an address and do not belong to it."""

_ATEXT = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_PLAIN_DOMAIN = re.compile(r"[A-Za-z0-9.-]+\.[A-Za-z0-9-]+")
_PLAIN = re.compile(rf"{_ATEXT}+@{_PLAIN_DOMAIN.pattern}")
_ATOM = re.compile(rf"{_ATEXT}+")
_LOCAL = re.compile(r'[^\s"(),:;<>\[\]\\@]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_LITERAL = re.compile(r"\[[0-9a-z:.-]+\]")
_UPPER = re.compile(r"[A-Z]+")
_CUT = re.compile(rf".{{{SHORT - 17}}}~[0-9a-f]{{16}}")
_DOMAIN_LIMIT = 253
_CACHED = 8_192


def normalize_address(value: object) -> NormalizedAddress:
    """Normalize a text with one address: `ana@example.org`, `Ana <ana@example.org>`.

    A text with none or several is its own key. Normalizing a key returns the key.
    """
    if type(value) is str and len(value) <= SHORT and _PLAIN.fullmatch(value):
        lowered = value.lower()
        return lowered, (value if lowered != value else None), True
    addresses = normalize_addresses(value)
    return addresses[0] if len(addresses) == 1 else _as_spelled(value)


def normalize_addresses(value: object) -> tuple[NormalizedAddress, ...]:
    """Normalize a text with any number of addresses, each returned once: lists and groups (RFC 5322), and
    what people write instead of them. A text with none is one address, its own key.
    """
    if type(value) is not str:
        return (_as_spelled(value),)
    return _read(value) if len(value) <= LONG else _read.__wrapped__(value)


def normalize_address_or_domain(text: str) -> NormalizedAddress:
    """Read an address, or `@` and a whole domain: `@example.org`."""
    bare = text.strip(EDGES)
    address = normalize_address(bare)
    if address[2] or not bare.startswith("@"):
        return address
    key, spelling, mailable = normalize_address(f"x{bare}")
    return (key[1:], spelling and spelling[1:], True) if mailable else _as_spelled(bare)


def other_keys(key: str, spelling: str | None) -> set[str]:
    """Return the keys that an address has today, if an earlier version kept it under `key` with a spelling: that
    version did not map domains by UTS 46.
    """
    texts = {spelling or key, _unicode_domain(key)}
    addresses = [normalize_address_or_domain(text) for text in texts]
    return {other for other, _, mailable in addresses if mailable and other != key}


def _unicode_domain(key: str) -> str:
    """Return a key with its Punycode domain decoded, even if the result is not a valid domain."""
    if "xn--" not in key:
        return key
    local, at, domain = key.rpartition("@")
    try:
        labels = [
            label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label
            for label in domain.split(".")
        ]
    except UnicodeError:
        return key
    return f"{local}{at}{'.'.join(labels)}"


def domain_of(key: str) -> str | None:
    """Return the domain of a key, None if the key is not an address."""
    address, _, mailable = normalize_address(key)
    return address[address.rindex("@") + 1 :] if mailable else None


def _as_spelled(value: object) -> NormalizedAddress:
    text = value if type(value) is str else clean(value) or ""
    return _bounded(without_controls(text).strip().strip(EDGES)) or "(empty)", None, False


def _bounded(text: str) -> str:
    return text if len(text) <= SHORT else clean(text) or ""


@lru_cache(_CACHED)
def _read(value: str) -> tuple[NormalizedAddress, ...]:
    text = without_controls(value).strip().strip(EDGES)
    by_key: dict[str, NormalizedAddress] = {}
    # the key of a text that was cut ends with a hash: do not parse it
    if not _CUT.fullmatch(text):
        shown, masked = _shielded(text)
        for address in _mailboxes(shown, masked):
            by_key.setdefault(address[0], address)
    # beside a valid address, an invalid one is part of a name: `Jo@home; dad <jo@example.org>`
    mailable = [address for address in by_key.values() if address[2]]
    return tuple(mailable or by_key.values()) or (_as_spelled(text),)


def _shielded(text: str) -> tuple[str, str]:
    """Return the text without its comments, and the same text with quoted strings masked, in which punctuation
    means nothing. A quote or comment that is not closed is plain text.
    """
    if '"' not in text and "(" not in text:
        return text, text
    shown: list[str] = []
    masked: list[str] = []
    at = 0
    opening = {'"', "("}
    while at < len(text):
        character = text[at]
        end = None
        if character in opening:
            end = _quote_end(text, at) if character == '"' else _comment_end(text, at)
            if end is None:
                opening.discard(character)  # nor is any later one closed: do not search again
        if end is None:
            shown.append(character)
            masked.append(character)
            at += 1
            continue
        if character == '"':
            shown.append(text[at:end])
            masked.append("\0" * (end - at))
        at = end
    return "".join(shown), "".join(masked)


def _quote_end(text: str, start: int) -> int | None:
    match = _QUOTED.match(text, start)
    return None if match is None else match.end()


def _comment_end(text: str, start: int) -> int | None:
    depth = 0
    escaped = False
    for at in range(start, len(text)):
        character = text[at]
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return at + 1
    return None


_MARK = re.compile(r"[<>,;]")
_WORD = re.compile(r"[^\s<>,;]+")


def _mailboxes(shown: str, masked: str) -> Iterator[NormalizedAddress]:
    """Yield the addresses of the members of a list: `Name <ana@example.org>`, `ana@example.org`, and a name with
    an address after it. A member without an address is a part of a name that contains a comma.
    """
    start, opened, brackets = 0, None, list[tuple[int, int]]()
    for separator in _MARK.finditer(masked):
        at = separator.start()
        if separator[0] == "<":
            opened = at + 1
        elif separator[0] == ">":
            if opened is not None:
                brackets.append((opened, at))
            opened = None
        elif opened is None:
            yield from _member(shown, masked, start, at, brackets)
            start, brackets = at + 1, []
    yield from _member(shown, masked, start, len(masked), brackets)


def _member(
    shown: str, masked: str, start: int, end: int, brackets: list[tuple[int, int]]
) -> Iterator[NormalizedAddress]:
    if "@" not in masked[start:end]:
        return
    whole = [(start, end)]
    spaced = " " in masked[start:end].strip()
    words = (
        (start + word.start(), start + word.end()) for word in _WORD.finditer(masked[start:end])
    )
    for spans in (brackets, whole, words):
        addresses = [
            address
            for first, last in spans
            if (address := _mailbox(shown[first:last], masked[first:last])) is not None
            # `Ana @ Contoso` is a name, `ana@localhost` an address
            and (address[2] or not spaced or spans is brackets)
        ]
        if addresses:
            yield from addresses
            return


def _mailbox(shown: str, masked: str) -> NormalizedAddress | None:
    """Read a local part and a domain, after a route, a group name or `mailto:`; None if there is none."""
    at = masked.rfind("@")
    written = shown[masked.rfind(":", 0, max(at, 0)) + 1 : max(at, 0)].strip().strip(EDGES)
    local, local_mailable = _local(written)
    domain, domain_mailable = _domain(shown[at + 1 :].strip().strip(EDGES))
    if at < 0 or not local or not domain:
        return None
    key = f"{_UPPER.sub(_lower, local)}@{domain}"
    spelling = f"{local}@{shown[at + 1 :].strip().strip(EDGES).rstrip('.')}"
    mailable = local_mailable and domain_mailable and len(key) <= SHORT
    return _bounded(key), (_bounded(spelling) if spelling != key else None), mailable


def _lower(match: re.Match[str]) -> str:
    return match[0].lower()


def _local(text: str) -> tuple[str | None, bool]:
    """Return a local part without unnecessary quotes (None if it is invalid), and whether SES accepts it."""
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        return (text if _LOCAL.fullmatch(text) else None), True
    inner = re.sub(r"\\(.)", r"\1", quoted[1])
    if _ATOM.fullmatch(inner):
        return inner, True
    escaped = inner.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"', False


def _domain(text: str) -> tuple[str | None, bool]:
    """Return a domain in A-labels (None if it is invalid), and whether SES can send to it."""
    if not text.isascii():
        if len(text) > _DOMAIN_LIMIT:
            return None, False
        # imported here: a cold start of a Lambda function should not load tables that few addresses need
        from idna import alabel, uts46_remap

        try:
            labels = uts46_remap(text, std3_rules=False).rstrip(".").split(".")
            text = ".".join(
                label if label.isascii() else alabel(label).decode("ascii") for label in labels
            )
        except UnicodeError:
            return None, False
    elif _PLAIN_DOMAIN.fullmatch(
        text.rstrip(".")
    ):  # consistent with the fast path of `normalize_address`
        return text.lower().rstrip("."), True
    domain = text.lower().rstrip(".")
    if _LITERAL.fullmatch(domain):
        return domain, False
    labels = domain.split(".")
    if len(domain) > _DOMAIN_LIMIT or not all(map(_LABEL.fullmatch, labels)):
        return None, False
    return domain, len(labels) > 1
