"""Addresses to send to: their syntax as SES accepts it, without DNS, and their form in a header.

The sentences about refused addresses never repeat the address.
"""

from __future__ import annotations

import re
import unicodedata
from email.header import Header

from email_validator import EmailSyntaxError, validate_email
from email_validator.rfc_constants import EMAIL_MAX_LENGTH, LOCAL_PART_MAX_LENGTH
from msgspec import Struct

from sesight.domain.address import EDGES, normalize_address
from sesight.send.message import Unsendable

NAME_LIMIT = 640
"""The largest number of characters of a display name in a header, quoted or encoded: with the longest
address the line still has fewer than 998 (RFC 5322).
"""

_TEXT_LIMIT = 1_000
_WITH_NAME = re.compile(r"([^<>]*)<([^<>]*)>")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 _-]+")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, lone surrogates, line and paragraph separators."""


class Address(Struct, frozen=True):
    """One mailbox. `address` identifies it in records and suppressions: lower-cased, its domain in
    A-labels. `spelling` is the address that mail goes to if it differs; `name` is the display name.
    """

    address: str
    name: str | None = None
    spelling: str | None = None

    @property
    def mailbox(self) -> str:
        """Return the address that mail goes to."""
        return self.spelling or self.address

    @property
    def header(self) -> str:
        """Return the address with its display name, as a To or From header has it, in ASCII."""
        return header_address(self.mailbox, self.name)


def parse_address(text: str) -> Address:
    """Parse an address with or without a display name: `jo@example.com`, `Jo <jo@example.com>`.

    Raises Unsendable with a code: empty, control-characters, too-long, several, non-ascii-local,
    quoted-local, address-literal, local, domain, no-at.
    """
    text = text.strip(EDGES)
    if not text:
        raise Unsendable("empty", "There is no address.")
    header_value(text)
    if len(text) > _TEXT_LIMIT:
        raise Unsendable("too-long", "The address is longer than one can be.")
    match = _WITH_NAME.fullmatch(text)
    name, bare = (_unquoted(match[1]), match[2].strip()) if match is not None else (None, text)
    known, _, is_mailable = normalize_address(bare)
    mailbox = _ascii(bare) if is_mailable else None
    # an address that events would normalize to another one could not be suppressed: refuse it
    if is_mailable and normalize_address(text)[0] != known:
        raise Unsendable("several", _SENTENCES["several"])
    if mailbox is None or normalize_address(mailbox)[0] != known:
        raise _fault(bare)
    to = Address(known, name, mailbox if mailbox != known else None)
    _ = to.header
    return to


def _ascii(bare: str) -> str | None:
    """Return a bare address with its domain in A-labels; None if SES cannot send to it."""
    try:
        validated = validate_email(
            bare,
            allow_smtputf8=False,
            allow_quoted_local=True,  # it removes quotes that are not needed
            check_deliverability=False,
            strict=True,
        )
    except EmailSyntaxError:
        return None
    mailbox = validated.ascii_email
    return None if mailbox is None or mailbox.startswith('"') else mailbox


def _unquoted(name: str) -> str | None:
    """Return a display name without the quotes around it, None for an empty one."""
    name = unicodedata.normalize("NFC", name.strip())
    if len(name) > 1 and name.startswith('"') and name.endswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    return name or None


_SENTENCES = {
    "several": "There is more than one address: each recipient gets a message of its own.",
    "no-at": "It has no @, so it is no address.",
    "quoted-local": "The part before the @ is quoted, which is not supported.",
    "non-ascii-local": "The part before the @ has characters other than ASCII: SES cannot send to it.",
    "address-literal": "The part after the @ is an IP address and not a domain.",
    "too-long": f"An address has at most {EMAIL_MAX_LENGTH} characters, {LOCAL_PART_MAX_LENGTH} before the @.",
    "local": "The part before the @ is not one an address can have.",
    "domain": "The part after the @ is not a domain that mail can go to.",
}


def _fault(bare: str) -> Unsendable:
    """Return why an address was refused."""
    local, at, domain = bare.rpartition("@")
    if not at:
        code = "no-at"
    elif local.startswith('"'):
        code = "quoted-local"
    elif "@" in local or re.search(r"[,;]", bare):
        code = "several"
    elif len(local) > LOCAL_PART_MAX_LENGTH or len(bare) > EMAIL_MAX_LENGTH:
        code = "too-long"
    elif not local.isascii():
        code = "non-ascii-local"
    elif domain.startswith("["):
        code = "address-literal"
    else:
        code = "local" if _ascii(f"{local}@example.com") is None else "domain"
    return Unsendable(code, _SENTENCES[code])


def header_value(text: str) -> str:
    """Return a text that may be in a header, unchanged.

    Raises Unsendable for control characters: a line break would begin another header.
    """
    if not text.isprintable() and any(unicodedata.category(letter) in _CONTROLS for letter in text):
        raise Unsendable(
            "control-characters",
            "It has a line break or another control character: remove it.",
        )
    return text


def header_address(mailbox: str, name: str | None) -> str:
    """Return an address with its display name: quoted where necessary (RFC 5322), encoded if it is not
    ASCII (RFC 2047). Raises Unsendable for control characters and for a name that is too long.
    """
    header_value(mailbox)
    if not name:
        return mailbox
    header_value(name)
    if len(name) > NAME_LIMIT:  # encoded it is not shorter
        raise _long_name()
    if _PLAIN_NAME.fullmatch(name):
        shown = name
    elif name.isascii() and "=?" not in name:
        escaped = name.replace("\\", r"\\").replace('"', r"\"")
        shown = f'"{escaped}"'
    else:
        # encoded words have at most 75 characters, with a space between them
        shown = Header(name, "utf-8").encode(linesep="").replace("\n", "")
    if len(shown) > NAME_LIMIT:
        raise _long_name()
    return f"{shown} <{mailbox}>"


def _long_name() -> Unsendable:
    return Unsendable(
        "too-long",
        f"The display name is too long: in a header it has more than {NAME_LIMIT} characters.",
    )
