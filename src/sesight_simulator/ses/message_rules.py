"""The rules of a message's parts: tags, header fields, attachments, bodies, raw messages."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from sesight_simulator.ses.mime import headers_of
from sesight_simulator.ses.requests import Refused

LINE_BYTES = 1_000
"""A line of a raw message."""

_TAG = re.compile(r"[A-Za-z0-9_-]+")
_OWN_TAGS = {"ses:feedback-id-a", "ses:feedback-id-b"}
_OWN_HEADERS = frozenset(
    {
        *{"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"},
        *{"return-path", "mime-version", "content-type", "content-transfer-encoding"},
        *{"content-disposition", "dkim-signature", "feedback-id", "received"},
    }
)
"""Header fields SES writes itself; it refuses or overrides another's, and here it refuses."""

_CONTENT_TYPE = re.compile(r"[!-.0-~]+/[!-.0-~]+(?:\s*;.*)?")

_FORBIDDEN_FILES = re.compile(
    r"\.(?:ade|adp|app|asp|bas|bat|cer|chm|cmd|com|cpl|crt|csh|der|exe|fxp|gadget|hlp|hta|inf|ins|isp"
    r"|its|js|jse|ksh|lib|lnk|ma[dfgmqrstuvw]|md[abetwz]|msc|msh[12]?(?:xml)?|msi|msp|mst|ops|pcd|pif"
    r"|plg|prf|prg|reg|scf|scr|sct|shb|shs|sys|ps[12](?:xml)?|psc[12]|tmp|url|vb|vbe|vbs|vps|vsmacros"
    r"|vs[stw]|vxd|ws|wsc|wsf|wsh|xnk)",
    re.IGNORECASE,
)
"""Extensions of attachments SES does not take (developer guide, "unsupported attachment types")."""


def tags_of(given: list[dict[str, str]]) -> dict[str, str]:
    """Message tags, by name: what MessageTag of the API reference says. Raises Refused."""
    tags: dict[str, str] = {}
    for each in given:
        name, value = each["Name"], each["Value"]
        for part, text in (("name", name), ("value", value)):
            if not text:
                raise Refused("BadRequestException", f"The tag {part} must be specified.")
            if len(text) > 256:
                raise Refused("BadRequestException", f"Tag {part} cannot exceed 256 characters.")
            ours = part == "name" and text in _OWN_TAGS
            if part == "name" and text.startswith("ses:") and not ours:
                raise Refused("BadRequestException", "Tag names that begin with ses: are reserved.")
            if not ours and _TAG.fullmatch(text) is None:
                raise Refused(
                    "BadRequestException",
                    f"Invalid tag {part} <{text}>: only alphanumeric ASCII characters, '_', and '-' "
                    "are allowed.",
                )
        if name in tags:
            # undocumented, so that no sender should lean on either answer
            raise Refused("BadRequestException", f"Duplicate tag name <{name}>.")
        tags[name] = value
    return tags


def headers_given(given: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Header fields of the sender. Raises Refused for one that SES writes itself, or said twice."""
    headers = [(each["Name"], each["Value"]) for each in given]
    names = [name.lower() for name, _ in headers]
    for (name, value), known_as in zip(headers, names, strict=True):
        if len(name) + len(value) > 996:
            raise Refused("BadRequestException", "A header's name and value exceed 996 characters.")
        if known_as in _OWN_HEADERS or names.count(known_as) > 1:
            raise Refused("BadRequestException", f"Duplicate header '{name}'.")
    return headers


def attachments_given(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Attachments as they were given, if SES takes them. Raises Refused."""
    for each in given:
        if _FORBIDDEN_FILES.fullmatch(PurePath(each["FileName"]).suffix):
            raise Refused("BadRequestException", f"Illegal filename '{each['FileName']}'.")
        if not each["FileName"] or any(c in each["FileName"] for c in "\r\n\0"):
            raise Refused("BadRequestException", "An attachment's file name is not valid.")
        if "ContentType" in each and _CONTENT_TYPE.fullmatch(each["ContentType"]) is None:
            raise Refused("BadRequestException", "An attachment's content type is not valid.")
        seven = each.get("ContentTransferEncoding") == "SEVEN_BIT"
        if seven and not each["RawContent"].isascii():
            raise Refused("BadRequestException", "An attachment in 7 bits is not ASCII.")
    return given


def simple_parts(given: dict[str, Any]) -> dict[str, str]:
    """Subject, Text and Html of Simple content. Raises Refused."""
    body = given["Body"]
    parts = {"Subject": _encoded(given["Subject"])}
    parts |= {name: _encoded(body[name]) for name in ("Text", "Html") if name in body}
    if len(parts) == 1:
        raise Refused("BadRequestException", "The body must have a Text or Html part.")
    if any(c in parts["Subject"] for c in "\r\n\0"):
        raise Refused("BadRequestException", "The subject contains control characters.")
    return parts


def _encoded(content: dict[str, str]) -> str:
    """The text as it arrives: without a charset SES takes 7 bits, and other characters are lost."""
    charset = content.get("Charset", "us-ascii")
    try:
        return content["Data"].encode(charset, "replace").decode(charset)
    except (LookupError, UnicodeError):
        raise Refused("BadRequestException", f"Unknown charset {charset}.") from None


def check_raw(raw: bytes) -> None:
    """Nothing, if SES takes a raw message (RawMessage of the API reference). Raises Refused."""
    names = [name.lower() for name, _ in headers_of(raw)]
    if b"\r\n\r\n" not in raw and b"\n\n" not in raw:
        raise Refused("BadRequestException", "The message has no blank line after its header.")
    for each in ("from", "to", "subject", "date", "message-id", "content-type", "mime-version"):
        if names.count(each) > 1:
            raise Refused("BadRequestException", f"Duplicate header '{each}'.")
    if any(len(line) > LINE_BYTES for line in raw.splitlines()):
        raise Refused("BadRequestException", f"A line is longer than {LINE_BYTES} characters.")
