"""Addresses as SES takes them."""

from __future__ import annotations

import re

from sesight_simulator.ses.requests import Refused

SIMULATOR = "simulator.amazonses.com"
"""The domain of SES's mailbox simulator."""

_WRITTEN = re.compile(
    r"\s*(?:\"(?:[^\"\\]|\\.)*\"|[^<>@,;:\"]*)\s*<([^<>]*)>\s*"  # with a name
    r"|\s*([^<>,;:]*?)\s*"  # alone
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}|\"[^\"\\]{1,62}\"")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def bare(text: str) -> str:
    """The mailbox of an address, as it is written within it. Raises Refused."""
    if _CONTROL.search(text):
        raise _illegal("Local address contains control or whitespace")
    if not text.isascii():
        # no SMTPUTF8; domains in punycode, names as RFC 2047 encoded words
        raise _illegal("Address contains illegal characters in user name or domain: only ASCII")
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise _illegal("Illegal address")
    mailbox: str = written[2] if written[1] is None else written[1]
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
    """Whether a bare address is one of the mailbox simulator."""
    return mailbox.lower().endswith(f"@{SIMULATOR}")


def _illegal(sentence: str) -> Refused:
    # SES repeats the address in its message; tests of what logs show want none of it
    return Refused("BadRequestException", f"{sentence}.")
