"""Addresses to send to, as SES takes them: syntax only, no DNS. And what goes into a header beside them.

What is refused is told in sentences that do not repeat the address.
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
"""Characters of a display name as a header has it, quoted or encoded: with the longest address beside it
the line still has fewer than 998 (RFC 5322).
"""

_GIVEN_LIMIT = 1_000
_NAMED = re.compile(r"([^<>]*)<([^<>]*)>")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 _-]+")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, lone surrogates and separators of lines."""


class Address(Struct, frozen=True):
    """One mailbox. `address` is what records and suppressions know it by: lower-cased, its domain in
    A-labels. `spelling` is what mail goes to where that differs; `name` what is shown beside it.
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
        """Return it as a To or From line has it, in ASCII."""
        return header_address(self.mailbox, self.name)


def parse_address(text: str) -> Address:
    """Read an address, with or without a name before it: `jo@example.com`, `Jo <jo@example.com>`.

    Raises Unsendable with a code: empty, control-characters, too-long, several, non-ascii-local,
    quoted-local, address-literal, local, domain, no-at.
    """
    given = text.strip(EDGES)
    if not given:
        raise Unsendable("empty", "There is no address.")
    header_value(given)
    if len(given) > _GIVEN_LIMIT:
        raise Unsendable("too-long", "The address is longer than one can be.")
    named = _NAMED.fullmatch(given)
    name, bare = (_unquoted(named[1]), named[2].strip()) if named is not None else (None, given)
    known, _, mailable = normalize_address(bare)
    mailbox = _ascii(bare) if mailable else None
    # whom events and suppressions would know otherwise is not sent to
    if mailable and normalize_address(given)[0] != known:
        raise Unsendable("several", _SENTENCES["several"])
    if mailbox is None or normalize_address(mailbox)[0] != known:
        raise _fault(bare)
    to = Address(known, name, mailbox if mailbox != known else None)
    _ = to.header
    return to


def _ascii(bare: str) -> str | None:
    """Return a bare address, its domain in A-labels; None for what SES cannot send to."""
    try:
        found = validate_email(
            bare,
            allow_smtputf8=False,
            allow_quoted_local=True,  # which it takes off where it is needless
            check_deliverability=False,
            strict=True,
        )
    except EmailSyntaxError:
        return None
    mailbox = found.ascii_email
    return None if mailbox is None or mailbox.startswith('"') else mailbox


def _unquoted(name: str) -> str | None:
    """Return a display name without the quotes around it, None for an empty one."""
    name = unicodedata.normalize("NFC", name.strip())
    if len(name) > 1 and name.startswith('"') and name.endswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    return name or None


_SENTENCES = {
    "several": "There is more than one address: each recipient gets a message of its own.",
    "no-at": "There is no @ in it, so it is no address.",
    "quoted-local": "The part before the @ is quoted, which is not supported.",
    "non-ascii-local": "The part before the @ has other than ASCII characters: SES cannot send to it.",
    "address-literal": "The part after the @ is an IP address and not a domain.",
    "too-long": f"An address has at most {EMAIL_MAX_LENGTH} characters, {LOCAL_PART_MAX_LENGTH} before the @.",
    "local": "The part before the @ is not one an address can have.",
    "domain": "The part after the @ is not a domain that mail can go to.",
}


def _fault(bare: str) -> Unsendable:
    """Return why the validator refused an address."""
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
    """Return a text that may stand in a header, as it is.

    Raises Unsendable for control characters: a line break would begin a header of its own.
    """
    if not text.isprintable() and any(unicodedata.category(each) in _CONTROLS for each in text):
        raise Unsendable(
            "control-characters",
            "It has a line break or another control character in it: take that out.",
        )
    return text


def header_address(mailbox: str, name: str | None) -> str:
    """Return an address with the name shown beside it: quoted where it has to be (RFC 5322), encoded
    where it is not ASCII (RFC 2047). Raises Unsendable for control characters, and for a name that
    no header's line can hold.
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
        # encoded words of 75 characters at most, a space between them
        shown = Header(name, "utf-8").encode(linesep="").replace("\n", "")
    if len(shown) > NAME_LIMIT:
        raise _long_name()
    return f"{shown} <{mailbox}>"


def _long_name() -> Unsendable:
    return Unsendable(
        "too-long",
        f"The name is too long: in the header of a message it has more than {NAME_LIMIT} characters.",
    )
