"""One reading of an address: the key by which records, suppressions and the sender know a mailbox.

The key is the bare mailbox, its local part lower-cased in ASCII, its domain in A-labels by UTS 46, as
the sender's validator has it. Other scripts in a local part stay as they are: SES cannot send to them,
and to fold them would make one person of two (U+212A KELVIN SIGN is a `k` in lower case).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from sesight.domain.text import LONG, SHORT, clean, without_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

NormalizedAddress = tuple[str, str | None, bool]
"""A key, the spelling where it differs, and whether it is an address that SES can send to."""

EDGES = " \t\u00a0\ufeff"
"""What comes along when an address is copied from somewhere, and is no part of it."""

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
    """Read a text that names one mailbox: `ana@example.org`, `Ana <ana@example.org>`.

    What names none, or several, is known as it is spelled. A key read again is itself.
    """
    if type(value) is str and len(value) <= SHORT and _PLAIN.fullmatch(value):
        lowered = value.lower()
        return lowered, (value if lowered != value else None), True
    found = normalize_addresses(value)
    return found[0] if len(found) == 1 else _as_spelled(value)


def normalize_addresses(value: object) -> tuple[NormalizedAddress, ...]:
    """Read a text that names any number of mailboxes, each once: lists and groups (RFC 5322), and what
    people write instead of them. What names none is one, known as it is spelled.
    """
    if type(value) is not str:
        return (_as_spelled(value),)
    return _read(value) if len(value) <= LONG else _read.__wrapped__(value)


def normalize_address_or_domain(text: str) -> NormalizedAddress:
    """Read an address, or `@` and a whole domain: `@example.org`."""
    bare = text.strip(EDGES)
    found = normalize_address(bare)
    if found[2] or not bare.startswith("@"):
        return found
    key, spelling, mailable = normalize_address(f"x{bare}")
    return (key[1:], spelling and spelling[1:], True) if mailable else _as_spelled(bare)


def other_keys(key: str, spelling: str | None) -> set[str]:
    """Return the keys under which an address is known today that an earlier version kept under `key`,
    given how it was spelled: that did not map domains by UTS 46.
    """
    texts = {spelling or key, _unicode_domain(key)}
    found = [normalize_address_or_domain(text) for text in texts]
    return {other for other, _, mailable in found if mailable and other != key}


def _unicode_domain(key: str) -> str:
    """Return a key with the domain that its Punycode stands for, also where that is no valid one."""
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
    """Return the domain of a key, None of one that is no address."""
    found, _, mailable = normalize_address(key)
    return found[found.rindex("@") + 1 :] if mailable else None


def _as_spelled(value: object) -> NormalizedAddress:
    text = value if type(value) is str else clean(value) or ""
    return _bounded(without_controls(text).strip().strip(EDGES)) or "(empty)", None, False


def _bounded(text: str) -> str:
    return text if len(text) <= SHORT else clean(text) or ""


@lru_cache(_CACHED)
def _read(value: str) -> tuple[NormalizedAddress, ...]:
    text = without_controls(value).strip().strip(EDGES)
    found: dict[str, NormalizedAddress] = {}
    # the key of what was too long is known by its end, and is no text to be read
    if not _CUT.fullmatch(text):
        shown, masked = _shielded(text)
        for mailbox in _mailboxes(shown, masked):
            found.setdefault(mailbox[0], mailbox)
    # beside an address, what SES cannot send to is a piece of a name: `Jo@home; dad <jo@example.org>`
    mailable = [mailbox for mailbox in found.values() if mailbox[2]]
    return tuple(mailable or found.values()) or (_as_spelled(text),)


def _shielded(text: str) -> tuple[str, str]:
    """Return the text without its comments, and the same with what is quoted masked: marks in quotes
    are none. A quote or comment that does not end is text.
    """
    if '"' not in text and "(" not in text:
        return text, text
    shown: list[str] = []
    masked: list[str] = []
    place = 0
    opening = {'"', "("}
    while place < len(text):
        mark = text[place]
        end = None
        if mark in opening:
            end = _quote_end(text, place) if mark == '"' else _comment_end(text, place)
            if end is None:
                opening.discard(mark)  # nor does any after it: never look twice
        if end is None:
            shown.append(mark)
            masked.append(mark)
            place += 1
            continue
        if mark == '"':
            shown.append(text[place:end])
            masked.append("\0" * (end - place))
        place = end
    return "".join(shown), "".join(masked)


def _quote_end(text: str, place: int) -> int | None:
    found = _QUOTED.match(text, place)
    return None if found is None else found.end()


def _comment_end(text: str, place: int) -> int | None:
    depth = 0
    escaped = False
    for at in range(place, len(text)):
        mark = text[at]
        if escaped:
            escaped = False
        elif mark == "\\":
            escaped = True
        elif mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
            if depth == 0:
                return at + 1
    return None


_MARK = re.compile(r"[<>,;]")
_WORD = re.compile(r"[^\s<>,;]+")


def _mailboxes(shown: str, masked: str) -> Iterator[NormalizedAddress]:
    """Yield what the members of a list name: `Name <ana@example.org>`, `ana@example.org`, and a name
    with an address after it. A member without an address is a name that has a comma in it.
    """
    start, opened, brackets = 0, None, list[tuple[int, int]]()
    for mark in _MARK.finditer(masked):
        at = mark.start()
        if mark[0] == "<":
            opened = at + 1
        elif mark[0] == ">":
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
        found = [
            mailbox
            for first, last in spans
            if (mailbox := _mailbox(shown[first:last], masked[first:last])) is not None
            # `Ana @ Contoso` is a name, `ana@localhost` an address
            and (mailbox[2] or not spaced or spans is brackets)
        ]
        if found:
            yield from found
            return


def _mailbox(shown: str, masked: str) -> NormalizedAddress | None:
    """Read a local part and a domain, after a route, a group's name or `mailto:`; None if it is none."""
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


def _lower(found: re.Match[str]) -> str:
    return found[0].lower()


def _local(text: str) -> tuple[str | None, bool]:
    """Return a local part without needless quotes, None for what is none; and whether SES takes it."""
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        return (text if _LOCAL.fullmatch(text) else None), True
    inner = re.sub(r"\\(.)", r"\1", quoted[1])
    if _ATOM.fullmatch(inner):
        return inner, True
    escaped = inner.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"', False


def _domain(text: str) -> tuple[str | None, bool]:
    """Return a domain in A-labels, None for what is none; and whether mail goes there over SES."""
    if not text.isascii():
        if len(text) > _DOMAIN_LIMIT:
            return None, False
        # its tables are loaded for whom they are needed: a function's start must not wait for them
        from idna import alabel, uts46_remap

        try:
            labels = uts46_remap(text, std3_rules=False).rstrip(".").split(".")
            text = ".".join(
                label if label.isascii() else alabel(label).decode("ascii") for label in labels
            )
        except UnicodeError:
            return None, False
    elif _PLAIN_DOMAIN.fullmatch(text.rstrip(".")):  # as `normalize_address` reads it at once
        return text.lower().rstrip("."), True
    domain = text.lower().rstrip(".")
    if _LITERAL.fullmatch(domain):
        return domain, False
    labels = domain.split(".")
    if len(domain) > _DOMAIN_LIMIT or not all(map(_LABEL.fullmatch, labels)):
        return None, False
    return domain, len(labels) > 1
