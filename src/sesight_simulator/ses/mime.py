"""The MIME message as SES would send it, except for its DKIM signature and its tracking pixel."""

from __future__ import annotations

import email
import email.policy
from email.header import Header
from email.message import EmailMessage
from typing import Any

_POLICY = email.policy.SMTP
_ENCODINGS = {"BASE64": "base64", "QUOTED_PRINTABLE": "quoted-printable", "SEVEN_BIT": "7bit"}


def mime_message(
    headers: list[tuple[str, str]],
    text: str | None,
    html: str | None,
    attachments: list[dict[str, Any]],
) -> bytes:
    """Build a message of header fields, bodies and attachments (as SendEmail takes them)."""
    # An inline attachment belongs to the HTML; without HTML it is attached like the others.
    inline = [
        attachment
        for attachment in attachments
        if attachment.get("ContentDisposition") == "INLINE" and html is not None
    ]
    bodies = []
    if text is not None:
        bodies.append(_body(text, "plain"))
    if html is not None:
        bodies.append(_body(html, "html"))
        if inline:
            bodies[-1].make_related()
            for attachment in inline:
                bodies[-1].attach(_attachment(attachment, "inline"))
    message = bodies[0]
    if len(bodies) > 1:
        message.make_alternative()
        message.attach(bodies[1])
    for attachment in attachments:
        if attachment not in inline:
            if message.get_content_type() != "multipart/mixed":
                message.make_mixed()
            message.attach(_attachment(attachment, "attachment"))
    head = b"".join(_header_field(name, value) for name, value in headers)
    return head + b"MIME-Version: 1.0\r\n" + message.as_bytes()


def header_fields_of(raw: bytes) -> list[tuple[str, str]]:
    """Return the header fields of a MIME message, unfolded."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    return [
        (name, str(value).replace("\r\n", "").replace("\n", "")) for name, value in message.items()
    ]


def _header_field(name: str, value: str) -> bytes:
    # ASCII is not folded: SES leaves long links in one piece.
    if not value.isascii():
        value = Header(value, "utf-8", maxlinelen=75 - len(name)).encode(linesep="\r\n")
    return f"{name}: {value}\r\n".encode()


def _body(text: str, subtype: str) -> EmailMessage:
    part = EmailMessage(policy=_POLICY)
    part.set_content(text, subtype=subtype, cte="quoted-printable")
    del part["MIME-Version"]
    return part


def _attachment(attachment: dict[str, Any], disposition: str) -> EmailMessage:
    part = EmailMessage(policy=_POLICY)
    part["Content-Type"] = attachment.get("ContentType", "application/octet-stream")
    content_type = part["Content-Type"]
    # An attached message or multipart stays opaque bytes: EmailMessage would parse it.
    is_opaque = content_type.maintype in {"message", "multipart"}
    part.set_content(
        attachment["RawContent"],
        maintype="application" if is_opaque else content_type.maintype,
        subtype="octet-stream" if is_opaque else content_type.subtype,
        params={} if is_opaque else dict(content_type.params),
        cte=_ENCODINGS[attachment.get("ContentTransferEncoding", "BASE64")],
        disposition=disposition,
        filename=attachment["FileName"],
    )
    del part["MIME-Version"]
    if "ContentId" in attachment:
        part["Content-ID"] = f"<{attachment['ContentId'].strip('<>')}>"
    if "ContentDescription" in attachment:
        part["Content-Description"] = attachment["ContentDescription"]
    return part
