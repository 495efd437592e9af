"""Email addresses as SES accepts them."""

from __future__ import annotations

import re

from sesight_simulator.ses.api_model import SesError

SIMULATOR = "simulator.amazonses.com"
"""The domain of SES's mailbox simulator."""

_ADDRESS = re.compile(
    r"\s*(?:\"(?:[^\"\\]|\\.)*\"|[^<>@,;:\"]*)\s*<([^<>]*)>\s*"  # with a display name
    r"|\s*([^<>,;:]*?)\s*"  # without one
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}|\"[^\"\\]{1,62}\"")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def mailbox_of(text: str) -> str:
    """Return the mailbox of an address, without a display name. Raises SesError."""
    if _CONTROL.search(text):
        raise _illegal("Local address contains control or whitespace")
    if not text.isascii():
        # SES has no SMTPUTF8: it takes domains in Punycode and names as RFC 2047 encoded words.
        raise _illegal("Address contains illegal characters in user name or domain: only ASCII")
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise _illegal("Illegal address")
    mailbox: str = match[2] if match[1] is None else match[1]
    local, at, domain = mailbox.rpartition("@")
    if not at or not local or not domain:
        raise _illegal("Missing final '@domain'")
    if _LOCAL.fullmatch(local) is None or local.startswith(".") or local.endswith("."):
        raise _illegal("Local address contains control or whitespace")
    labels = domain.split(".")
    if len(labels) < 2 or len(domain) > 255 or not all(map(_LABEL.fullmatch, labels)):
        raise _illegal("Domain contains illegal character")
    return mailbox


def is_simulator(mailbox: str) -> bool:
    """Return whether a mailbox belongs to the mailbox simulator."""
    return mailbox.lower().endswith(f"@{SIMULATOR}")


def _illegal(sentence: str) -> SesError:
    # SES repeats the address in its message. It is left out so that no log can show it.
    return SesError("BadRequestException", f"{sentence}.")
