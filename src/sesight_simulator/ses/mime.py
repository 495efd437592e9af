"""MIME: the message as SES would send it, byte for byte but for its DKIM signature and its pixel."""

from __future__ import annotations

import email
import email.policy
from email.header import Header
from email.message import EmailMessage, Message
from typing import Any

_POLICY = email.policy.SMTP
_ENCODINGS = {"BASE64": "base64", "QUOTED_PRINTABLE": "quoted-printable", "SEVEN_BIT": "7bit"}


def field(name: str, value: str) -> bytes:
    """One header field. ASCII stands as it is, unfolded: SES leaves long links in one piece."""
    if not value.isascii():
        value = Header(value, "utf-8", maxlinelen=75 - len(name)).encode(linesep="\r\n")
    return f"{name}: {value}\r\n".encode()


def built(
    headers: list[tuple[str, str]],
    text: str | None,
    html: str | None,
    attachments: list[dict[str, Any]],
) -> bytes:
    """The message of header fields, bodies and attachments (as SendEmail is given them)."""
    # what is shown inline belongs to the HTML; without any it is attached like the rest
    inline = [
        e for e in attachments if e.get("ContentDisposition") == "INLINE" and html is not None
    ]
    bodies = []
    if text is not None:
        bodies.append(_part(text, "plain"))
    if html is not None:
        bodies.append(_part(html, "html"))
        if inline:
            bodies[-1].make_related()
            for each in inline:
                bodies[-1].attach(_attached(each, "inline"))
    message = bodies[0]
    if len(bodies) > 1:
        message.make_alternative()
        message.attach(bodies[1])
    for each in attachments:
        if each not in inline:
            if message.get_content_type() != "multipart/mixed":
                message.make_mixed()
            message.attach(_attached(each, "attachment"))
    head = b"".join(field(name, value) for name, value in headers)
    return head + b"MIME-Version: 1.0\r\n" + message.as_bytes()


def _part(text: str, subtype: str) -> EmailMessage:
    part = EmailMessage(policy=_POLICY)
    part.set_content(text, subtype=subtype, cte="quoted-printable")
    del part["MIME-Version"]
    return part


def _attached(given: dict[str, Any], disposition: str) -> EmailMessage:
    part = EmailMessage(policy=_POLICY)
    part["Content-Type"] = given.get("ContentType", "application/octet-stream")
    kind = part["Content-Type"]
    # a message or parts within the attachment are bytes all the same
    plain = kind.maintype not in {"message", "multipart"}
    part.set_content(
        given["RawContent"],
        maintype=kind.maintype if plain else "application",
        subtype=kind.subtype if plain else "octet-stream",
        params=dict(kind.params) if plain else {},
        cte=_ENCODINGS[given.get("ContentTransferEncoding", "BASE64")],
        disposition=disposition,
        filename=given["FileName"],
    )
    del part["MIME-Version"]
    if "ContentId" in given:
        part["Content-ID"] = f"<{given['ContentId'].strip('<>')}>"
    if "ContentDescription" in given:
        part["Content-Description"] = given["ContentDescription"]
    return part


def parsed(raw: bytes) -> Message:
    """A raw message, read leniently and kept as it is."""
    return email.message_from_bytes(raw, policy=email.policy.compat32)


def headers_of(raw: bytes) -> list[tuple[str, str]]:
    """The header fields of a raw message, unfolded."""
    return [
        (name, str(value).replace("\r\n", "").replace("\n", ""))
        for name, value in parsed(raw).items()
    ]


def without(raw: bytes, names: set[str]) -> bytes:
    """A raw message without the header fields of these names (lower-case)."""
    head, separator, body = _split(raw)
    kept: list[bytes] = []
    keep = True
    for line in head.splitlines(keepends=True):
        if not line[:1].isspace():
            keep = line.partition(b":")[0].strip().lower().decode("latin-1") not in names
        if keep:
            kept.append(line)
    return b"".join(kept) + separator + body


def with_fields(raw: bytes, fields: list[tuple[str, str]]) -> bytes:
    """A raw message with header fields put before its own, instead of those of the same names."""
    rest = without(raw, {name.lower() for name, _ in fields})
    return b"".join(field(name, value) for name, value in fields) + rest


def _split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    for separator in (b"\r\n\r\n", b"\n\n"):
        head, found, body = raw.partition(separator)
        if found:
            half = separator[: len(separator) // 2]
            return head + half, half, body
    return raw, b"", b""
