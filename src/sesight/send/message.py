"""One message to one recipient, and the SendEmail request that sends it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from sesight.domain.template import RenderedTemplate

TAGS = 20
"""The largest number of tags of a message. SES documents none."""

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_OWN_TAGS = frozenset({"ses:feedback-id-a", "ses:feedback-id-b"})
"""Tag names beginning with `ses:` that SES lets senders set."""

_HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")
_HEADER_VALUE = re.compile(r"[ -~]{1,995}")

MESSAGE_LIMIT = 10_000_000
"""The largest number of encoded bytes of a message: SES throttles larger ones."""

DATA_LIMIT = 262_144
"""The largest number of characters of a template's data (SendEmail, TemplateData)."""


class Attachment(Struct, frozen=True):
    """A file attached to a message."""

    name: str
    media_type: str
    content: bytes


class TemplatedContent(Struct, frozen=True):
    """Content that SES renders: the name of a template in SES, and its data."""

    template: str
    data: Mapping[str, Any]


class OutgoingMessage(Struct, frozen=True, kw_only=True):
    """One message to one recipient. `sender` and `to` may include a display name (RFC 5322, ASCII). With
    `contact_list` and `topic`, SES makes the unsubscribe links. `campaign_name` is as its owner wrote
    it, which a tag may not hold; `template` is the name of the template.
    """

    to: str
    sender: str
    configuration_set: str
    tags: Mapping[str, str]
    content: RenderedTemplate | TemplatedContent
    reply_to: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    contact_list: str | None = None
    topic: str | None = None
    campaign_name: str | None = None
    template: str | None = None
    tracked: bool = True


class Unsendable(ValueError):
    """A message or an address that SES would refuse: `code` is for programs, the text is a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def request(message: OutgoingMessage) -> dict[str, Any]:
    """Return the parameters of SES v2's SendEmail.

    Raises Unsendable for tags, headers and sizes that SES would refuse (API reference: SendEmail,
    MessageTag, MessageHeader).
    """
    parameters: dict[str, Any] = {
        "FromEmailAddress": _one_line(message.sender),
        "Destination": {"ToAddresses": [_one_line(message.to)]},
        "Content": _content(message),
        "ConfigurationSetName": message.configuration_set,
        "EmailTags": _tags(message.tags),
    }
    if message.reply_to:
        parameters["ReplyToAddresses"] = [_one_line(address) for address in message.reply_to]
    if message.contact_list is not None:
        options = {"ContactListName": message.contact_list}
        if message.topic is not None:
            options["TopicName"] = message.topic
        parameters["ListManagementOptions"] = options
    if not message.tracked:
        parameters["ConfigurationOverrides"] = {
            "Tracking": {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "DISABLED"}
        }
    return parameters


def _content(message: OutgoingMessage) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    if message.headers:
        shared["Headers"] = [
            {"Name": _header_name(name), "Value": _header_value(name, value)}
            for name, value in message.headers
        ]
    if message.attachments:
        shared["Attachments"] = [
            {
                "FileName": attachment.name,
                "ContentType": attachment.media_type,
                "RawContent": attachment.content,
                "ContentDisposition": "ATTACHMENT",
                "ContentTransferEncoding": "BASE64",
            }
            for attachment in message.attachments
        ]
    size = sum(4 * len(attachment.content) // 3 for attachment in message.attachments)
    content = message.content
    if isinstance(content, TemplatedContent):
        data = msgspec.json.encode(content.data).decode()
        if len(data) > DATA_LIMIT:
            raise Unsendable("too-large", f"The template's data is over {DATA_LIMIT:,} characters.")
        _check_size(size + len(data))
        return {"Template": {"TemplateName": content.template, "TemplateData": data, **shared}}
    _check_size(size + len(content.html or "") + len(content.text))
    body = {"Text": _utf8(content.text)}
    if content.html is not None:
        body["Html"] = _utf8(content.html)
    return {"Simple": {"Subject": _utf8(_one_line(content.subject)), "Body": body, **shared}}


def _check_size(size: int) -> None:
    if size > MESSAGE_LIMIT:
        raise Unsendable("too-large", f"The message is over {MESSAGE_LIMIT // 1_000_000} MB.")


def _utf8(data: str) -> dict[str, str]:
    return {"Data": data, "Charset": "UTF-8"}


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    if len(tags) > TAGS:
        raise Unsendable("tags", f"A message has at most {TAGS} tags.")
    for name, value in tags.items():
        if not (_TAG.fullmatch(name) or name in _OWN_TAGS) or not _TAG.fullmatch(value):
            raise Unsendable("tags", "Names and values of tags are letters, digits, _ and - only.")
    return [{"Name": name, "Value": value} for name, value in tags.items()]


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise Unsendable(
            "headers", "A header's name is 1 to 126 printable characters without a colon."
        )
    return name


def _header_value(name: str, value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value) or len(name) + len(value) > 996:
        raise Unsendable(
            "headers", f"The header {name} is not 1 to 995 printable ASCII characters."
        )
    return value


def _one_line(text: str) -> str:
    """Return a header's text. Raises Unsendable for a line break, which would begin another header."""
    if any(character in text for character in "\r\n\0"):
        raise Unsendable("headers", "A header's value has a line break or a NUL in it.")
    return text
