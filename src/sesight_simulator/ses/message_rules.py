"""SES's rules for the parts of a message: tags, header fields, attachments and bodies."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from sesight_simulator.ses.api_model import SesError

_TAG = re.compile(r"[A-Za-z0-9_-]+")
_ALLOWED_SES_TAGS = {"ses:feedback-id-a", "ses:feedback-id-b"}
_RESERVED_HEADERS = frozenset(
    {
        *{"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"},
        *{"return-path", "mime-version", "content-type", "content-transfer-encoding"},
        *{"content-disposition", "dkim-signature", "feedback-id", "received"},
    }
)
"""Header fields that SES writes. It refuses or overrides the sender's; this simulation refuses."""

_CONTENT_TYPE = re.compile(r"[!-.0-~]+/[!-.0-~]+(?:\s*;.*)?")

_FORBIDDEN_FILES = re.compile(
    r"\.(?:ade|adp|app|asp|bas|bat|cer|chm|cmd|com|cpl|crt|csh|der|exe|fxp|gadget|hlp|hta|inf|ins|isp"
    r"|its|js|jse|ksh|lib|lnk|ma[dfgmqrstuvw]|md[abetwz]|msc|msh[12]?(?:xml)?|msi|msp|mst|ops|pcd|pif"
    r"|plg|prf|prg|reg|scf|scr|sct|shb|shs|sys|ps[12](?:xml)?|psc[12]|tmp|url|vb|vbe|vbs|vps|vsmacros"
    r"|vs[stw]|vxd|ws|wsc|wsf|wsh|xnk)",
    re.IGNORECASE,
)
"""Attachment extensions that SES refuses (developer guide, "unsupported attachment types")."""


def message_tags(tags: list[dict[str, str]]) -> dict[str, str]:
    """Return message tags by name, checked as MessageTag of the API reference says.

    Raises SesError.
    """
    by_name: dict[str, str] = {}
    for tag in tags:
        name, value = tag["Name"], tag["Value"]
        for part, text in (("name", name), ("value", value)):
            if not text:
                raise SesError("BadRequestException", f"The tag {part} must be specified.")
            if len(text) > 256:
                raise SesError("BadRequestException", f"Tag {part} cannot exceed 256 characters.")
            is_allowed_ses_tag = part == "name" and text in _ALLOWED_SES_TAGS
            if part == "name" and text.startswith("ses:") and not is_allowed_ses_tag:
                raise SesError(
                    "BadRequestException", "Tag names that begin with ses: are reserved."
                )
            if not is_allowed_ses_tag and _TAG.fullmatch(text) is None:
                raise SesError(
                    "BadRequestException",
                    f"Invalid tag {part} <{text}>: only alphanumeric ASCII characters, '_', and '-' "
                    "are allowed.",
                )
        if name in by_name:
            # AWS does not document this case. Refusing it keeps senders from relying on it.
            raise SesError("BadRequestException", f"Duplicate tag name <{name}>.")
        by_name[name] = value
    return by_name


def header_fields(headers: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return the sender's header fields. Raises SesError for a reserved or repeated one."""
    fields = [(header["Name"], header["Value"]) for header in headers]
    lower_names = [name.lower() for name, _ in fields]
    for (name, value), lower_name in zip(fields, lower_names, strict=True):
        if len(name) + len(value) > 996:
            raise SesError(
                "BadRequestException", "A header's name and value exceed 996 characters."
            )
        if lower_name in _RESERVED_HEADERS or lower_names.count(lower_name) > 1:
            raise SesError("BadRequestException", f"Duplicate header '{name}'.")
    return fields


def check_attachments(attachments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the attachments if SES accepts them. Raises SesError."""
    for attachment in attachments:
        name = attachment["FileName"]
        if _FORBIDDEN_FILES.fullmatch(PurePath(name).suffix):
            raise SesError("BadRequestException", f"Illegal filename '{name}'.")
        if not name or any(character in name for character in "\r\n\0"):
            raise SesError("BadRequestException", "An attachment's file name is not valid.")
        content_type = attachment.get("ContentType")
        if content_type is not None and _CONTENT_TYPE.fullmatch(content_type) is None:
            raise SesError("BadRequestException", "An attachment's content type is not valid.")
        is_seven_bit = attachment.get("ContentTransferEncoding") == "SEVEN_BIT"
        if is_seven_bit and not attachment["RawContent"].isascii():
            raise SesError("BadRequestException", "An attachment in 7 bits is not ASCII.")
    return attachments


def simple_parts(content: dict[str, Any]) -> dict[str, str]:
    """Return Subject, Text and Html of Simple content. Raises SesError."""
    body = content["Body"]
    parts = {"Subject": _decoded(content["Subject"])}
    parts |= {name: _decoded(body[name]) for name in ("Text", "Html") if name in body}
    if len(parts) == 1:
        raise SesError("BadRequestException", "The body must have a Text or Html part.")
    if any(character in parts["Subject"] for character in "\r\n\0"):
        raise SesError("BadRequestException", "The subject contains control characters.")
    return parts


def _decoded(content: dict[str, str]) -> str:
    # Without a charset SES takes 7-bit ASCII: other characters arrive as question marks.
    charset = content.get("Charset", "us-ascii")
    try:
        return content["Data"].encode(charset, "replace").decode(charset)
    except (LookupError, UnicodeError):
        raise SesError("BadRequestException", f"Unknown charset {charset}.") from None
