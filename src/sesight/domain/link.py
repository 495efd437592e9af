"""Link keys: what the clicks of a link are counted under, without personal data or secrets.

A key is kept forever in the `link` rollup rows, so it must neither work as somebody's link nor identify a
person. It should also stay readable: a page name is not a token because it contains a digit. Every rule below is
tested against tests/payloads/links.tsv.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from urllib.parse import quote, unquote, urlsplit

from sesight.domain.text import LONG, clean

UNREADABLE = "~unreadable"
"""The key of text that is not a link."""

ID = "{id}"
"""The placeholder for a token in a key."""

DECODINGS = 4
"""How many times a path segment is percent-decoded; one that is encoded more often is a token."""

MAX_SEGMENT = 160
"""Characters beyond which a path segment is always a token."""

_CACHED = 8_192


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A segment after one of these is a secret (an invitation, a short link) unless it is
# plainly the name of a page.
_SECRET_NAMES = _names(
    "accept access activate activation auth c callback claim click code confirm confirmation d "
    "download gift hash i invitation invitations invite invites join k key l link login magic "
    "magic-link o oauth open opt-in opt-out optin optout otp password-reset preferences r redeem "
    "redirect ref referral register reset reset-password rsvp s secret session sessionid share "
    "shared sid sig sign signature signin signup sso t ticket token tokens track unsub "
    "unsubscribe verification verify verify-email view voucher webversion x"
)

# A segment after one of these names a person unless it is one of the page names.
_PERSON_NAMES = _names(
    "candidate client customer e e-mail email employee mail member patient people person profile "
    "profiles recipient subscriber subscribers u uid user userid user-id username users"
)
_PAGE_NAMES = _names(
    "about account add address agreement all app area benefits billing care center change confirm "
    "confirmed create dashboard delete edit email emails experience faq feedback finance forgot "
    "guide guides help history home html index js list list-management login logout mail manage "
    "manual marketing me message messages my new news newsletter newsletters notification "
    "notifications onboarding orders our overview password photo portal preferences preview "
    "privacy profile profiles program reference register resources search security service "
    "services settings signup stories story subscription subscriptions success support team "
    "templates terms thank thanks tips unsubscribe update upgrade v1 v2 verify view web welcome "
    "your"
)

# Pairs of letters that are rare (under half of what chance would give) in English, German, French,
# Spanish, Italian, Portuguese, Dutch, Polish and Swedish alike: one in thirty in their words, nearly
# every second one in random letters.
_RARE = frozenset(
    first + second
    for first, seconds in {
        "a": "qx",
        "b": "bcdfghjkmnpqtvwxyz",
        "c": "bdfgmnpqsvwx",
        "d": "bcfghjkmqtvwx",
        "f": "bcdghjkmnpqsvwxyz",
        "g": "bcdfjkmpqvwxyz",
        "h": "bcdfghjkmpqsvwxyz",
        "i": "hiy",
        "j": "bcfghjlmpqrtvwxyz",
        "k": "bcdfgjmpqwxyz",
        "l": "bcfgmpqrvwxz",
        "m": "cdfghjklqrtvwxyz",
        "n": "jlmpqrwx",
        "o": "hjqxy",
        "p": "bcdgjkmnqvwxz",
        "q": "abcdefghijklmnopqrstvwxyz",
        "r": "jpqx",
        "s": "bdjqrwx",
        "t": "bdgjmpqx",
        "u": "hquy",
        "v": "bcdfghjklmnpqrtuvwxyz",
        "w": "bcdfgjklmpqtuvwxz",
        "x": "bcdfghjklmnoqrsuvwxyz",
        "y": "dghoqruvxyz",
        "z": "bfghjklpqrstvx",
    }.items()
    for second in seconds
)
_ENDING = re.compile(
    r"\.(?:html?|php|aspx?|pdf|docx?|xlsx?|pptx?|csv|txt|zip|ics|png|jpe?g|gif|svg|webp|mp[34])\Z"
)
_USUAL = re.compile(r"[a-z]\d{1,2}[a-z]|\d{2,4}x\d{2,4}|s\d\d?e\d\d?")
_WORDS = re.compile(r"[^\W_]+")
_RUNS = re.compile(r"\d+|[^\W\d_]+")
_HUMPS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_HEXADECIMAL = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{24,}", re.IGNORECASE
)
_HEX = re.compile(r"(?=.*\d)(?:[0-9a-f]{8,}|[0-9A-F]{8,})")
_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])?")
_DAY_APART = re.compile(r"(?:19|20)\d\d([-_.])\d\d?(?:\1\d\d?)?|\d\d?([-_.])\d\d?\2(?:19|20)\d\d")
_CODE = re.compile(r"(?=[A-Z0-9-]*(?:[A-Z]\d|\d[A-Z]))[A-Z0-9]{4,}(?:-[A-Z0-9]{4,})+")
_SMALL_NUMBER = re.compile(r"v?\d{1,2}|(?:19|20)\d\d")
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31})=(.*)", re.DOTALL)
_TAGS = re.compile(r"[^\s:;/()<>\"']+:[^:;/()<>\"']*(?:;[^\s:;/()<>\"']+:[^:;/()<>\"']*)*")


@lru_cache(_CACHED)
def link_key(link: str) -> str:
    """Return the key of a link: scheme, host and path, without query, fragment and path parameters.

    Path segments that are a token or identify a person become `{id}`. Links other than http(s) keep only their
    scheme. The key of a key is the key.
    """
    try:
        parts = urlsplit(link.strip())
        host = parts.hostname
        port = parts.port
    except ValueError:
        return UNREADABLE
    if parts.scheme not in ("http", "https") or not host:
        return f"{parts.scheme}:" if parts.scheme else UNREADABLE
    host = ".".join(ID if _is_host_token(label) else label for label in host.split("."))
    path = _path(parts.path)
    key = f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}".rstrip()
    return clean(key, LONG) or UNREADABLE


@lru_cache(_CACHED)
def tag_key(tags: tuple[tuple[str, str], ...]) -> str:
    """Return the key of a link with SES link tags: `name:value`, joined by `;`."""
    pairs = [f"{name}:{ID if is_token(value) else value}" for name, value in tags]
    return clean(";".join(pairs), LONG) or UNREADABLE


def is_tag_key(key: str) -> bool:
    """Return whether a key was made of link tags."""
    return _TAGS.fullmatch(key) is not None


def _path(path: str) -> str:
    keys: list[str] = []
    name = ""
    for segment in path.split("/"):
        key = _segment(segment, name)
        keys.append(key)
        if key:
            name = key.lower()
    return "/".join(keys)


def _segment(segment: str, name: str) -> str:
    """Return the key of a path segment that follows one with the key `name`."""
    if segment in ("", ID):
        return segment
    plain = segment
    for _ in range(DECODINGS):
        decoded = unquote(plain)
        if decoded == plain:
            break
        plain = decoded
    else:
        if unquote(plain) != plain:
            return ID
    # a query that was encoded, and parameters such as `;jsessionid=`
    kept = re.split("[;?#]", plain, maxsplit=1)[0]
    if "/" in kept or "\\" in kept:
        inner = [part for part in re.split(r"[/\\]+", kept) if part]
        if any(_segment(part, before) != part for before, part in pairwise([name, *inner])):
            return ID
    elif (named := _NAMED.fullmatch(kept)) is not None:
        label, value = named.groups()
        if is_token(label):
            return ID
        if value and value != ID:
            value = ID if is_token(value, label.lower()) else quote(value)
        return f"{label}={value}"
    elif kept and is_token(kept, name):
        return ID
    if len(kept) == len(plain):
        return segment
    return segment[: len(kept)] if segment.startswith(kept) else quote(kept)


def _is_host_token(label: str) -> bool:
    return len(label) >= 20 and not label.startswith("xn--") and is_token(label)


def is_token(text: str, name: str = "") -> bool:
    """Return whether a decoded part of a link is a token or identifies a person, rather than words.

    `name` is the segment before it: after some, such as `invite` or `user`, more text counts as a token.
    """
    if text == ID:
        return False
    if (
        "@" in text
        or ("&" in text and "=" in text)
        or text.startswith("~")
        or len(text) > MAX_SEGMENT
    ):
        return True
    text = _ENDING.sub("", text) if "." in text else text
    words = _WORDS.findall(text)
    if not words:
        return len(text) >= 8
    if name in _PERSON_NAMES and not all(word.lower() in _PAGE_NAMES for word in words):
        return True
    if _HEXADECIMAL.fullmatch(text) is not None or _is_odd(text, words):
        return True
    return name in _SECRET_NAMES and not _is_page_name(words)


def _is_odd(text: str, words: list[str]) -> bool:
    """Return whether words belong to no language, judged by their digits, case and letters."""
    odd = natural = letters = rare = digits = 0
    for word in words:
        if word.isdecimal():
            if len(word) >= 6 and not _DAY.fullmatch(word):
                return True
            digits += len(word)
            odd += len(word) == 5
            continue
        if not word.isascii() or _USUAL.fullmatch(word) is not None:
            natural += 1
            continue
        if _is_odd_word(word):
            return True
        humps = _HUMPS.findall(word)
        if len(humps) > 1 or not word.isalpha():
            odd += not _is_numbered(word)
        else:
            natural += len(word) >= 3
        letters += len(word) - 1
        pairs = _rare_pairs(word) if len(word) >= 6 else 0  # an acronym is short
        rare += pairs if pairs > 1 else 0  # one such pair is in many a word
    if rare * (6 if len(words) < 3 else 5) > letters:
        return True
    if not natural and digits >= 6:
        return not _DAY.fullmatch(words[0]) and _DAY_APART.fullmatch(text) is None
    if len(words) > 1 and len({len(word) for word in words}) == 1 and _CODE.fullmatch(text):
        return True
    return len(text) >= 8 and odd >= 2 and odd > natural


def _rare_pairs(word: str) -> int:
    lowered = word.lower()
    return sum(lowered[at : at + 2] in _RARE for at in range(len(word) - 1))


def _is_odd_word(word: str) -> bool:
    """Return whether a word of ASCII letters and digits can only be a token."""
    if _HEX.fullmatch(word) is not None and not word.isdecimal():
        return True
    runs = _RUNS.findall(word)
    if len(runs) > 1:
        longest = max(len(run) for run in runs if not run.isdecimal())
        if max(len(run) for run in runs if run.isdecimal()) > 4 or len(word) > 24:
            return True
        if len(runs) >= 4 or (len(runs) == 3 and (longest < 4 or len(word) > 10)):
            return True
    humps = _HUMPS.findall(word)
    if len(humps) < 2 or len(word) < 5:
        return False
    longest = max(map(len, humps))
    return longest < 3 or (len(humps) >= 3 and len(word) < 2.6 * len(humps))


def _is_numbered(word: str) -> bool:
    """Return whether a word has a number at one end and is written in one case: q1, 20th, Windows11."""
    if len(_RUNS.findall(word)) != 2:
        return False
    letters = word.strip("0123456789")
    return letters.islower() or letters.isupper() or letters.istitle()


def _is_page_name(words: list[str]) -> bool:
    """Return whether words can only be the name of a page: in lower case or capitalized, with no digits except
    small numbers and years, and with no rare pairs of letters.
    """
    pairs = rare = 0
    plain = False
    for word in words:
        if any(map(str.isdecimal, word)):
            if _SMALL_NUMBER.fullmatch(word) is None:
                return False
        elif word.islower() or word.istitle() or not word.isascii():
            plain = plain or len(word) >= 2
            pairs += len(word) - 1
            rare += _rare_pairs(word)
        else:
            return False
    return plain and rare * 5 <= pairs
