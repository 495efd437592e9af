"""One message to one recipient, and how SES is asked to send it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from sesight.domain.template import RenderedTemplate

TAGS = 20
"""Tags of a message at most: SES publishes no number of its own."""

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_OWN_TAGS = frozenset({"ses:feedback-id-a", "ses:feedback-id-b"})
"""Names beginning with `ses:` that SES lets senders set."""

_HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")
_HEADER_VALUE = re.compile(r"[ -~]{1,995}")

MESSAGE_LIMIT = 10_000_000
"""Bytes of a message with its attachments, encoded: beyond it SES slows sending down."""

DATA_LIMIT = 262_144
"""Characters of a template's data that SES takes."""


class Attachment(Struct, frozen=True):
    """A file that goes with a message."""

    name: str
    media_type: str
    content: bytes


class TemplatedContent(Struct, frozen=True):
    """A message that SES renders: the name of its template there, and the data."""

    template: str
    data: Mapping[str, Any]


class OutgoingMessage(Struct, frozen=True, kw_only=True):
    """One message to one recipient. `sender` and `to` may show a name (RFC 5322, ASCII); `headers`
    are further ones; `contact_list` and `topic` let SES make the unsubscribe links;
    `campaign_name` is the campaign's as its owner wrote it, which no tag may hold; `template` is what
    the message was made with.
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
    """A message that SES would refuse: `code` says why in a word, the text in a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        """Keep the code beside the sentence."""
        super().__init__(sentence)
        self.code = code


def request(message: OutgoingMessage) -> dict[str, Any]:
    """Return the parameters of SES v2's SendEmail.

    Raises Unsendable for what SES would refuse of tags, headers and sizes (its API reference of
    SendEmail, MessageTag, MessageHeader).
    """
    asked: dict[str, Any] = {
        "FromEmailAddress": _line(message.sender),
        "Destination": {"ToAddresses": [_line(message.to)]},
        "Content": _content(message),
        "ConfigurationSetName": message.configuration_set,
        "EmailTags": _tags(message.tags),
    }
    if message.reply_to:
        asked["ReplyToAddresses"] = [_line(each) for each in message.reply_to]
    if message.contact_list is not None:
        options = {"ContactListName": message.contact_list}
        if message.topic is not None:
            options["TopicName"] = message.topic
        asked["ListManagementOptions"] = options
    if not message.tracked:
        asked["ConfigurationOverrides"] = {
            "Tracking": {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "DISABLED"}
        }
    return asked


def _content(message: OutgoingMessage) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    if message.headers:
        shared["Headers"] = [
            {"Name": _name(name), "Value": _value(name, value)} for name, value in message.headers
        ]
    if message.attachments:
        shared["Attachments"] = [
            {
                "FileName": each.name,
                "ContentType": each.media_type,
                "RawContent": each.content,
                "ContentDisposition": "ATTACHMENT",
                "ContentTransferEncoding": "BASE64",
            }
            for each in message.attachments
        ]
    size = sum(4 * len(each.content) // 3 for each in message.attachments)
    content = message.content
    if isinstance(content, TemplatedContent):
        data = msgspec.json.encode(content.data).decode()
        if len(data) > DATA_LIMIT:
            raise Unsendable("too-large", f"The template's data is over {DATA_LIMIT:,} characters.")
        _fits(size + len(data))
        return {"Template": {"TemplateName": content.template, "TemplateData": data, **shared}}
    _fits(size + len(content.html or "") + len(content.text))
    body = {"Text": _text(content.text)}
    if content.html is not None:
        body["Html"] = _text(content.html)
    subject = {"Data": _line(content.subject), "Charset": "UTF-8"}
    return {"Simple": {"Subject": subject, "Body": body, **shared}}


def _fits(size: int) -> None:
    if size > MESSAGE_LIMIT:
        raise Unsendable("too-large", f"The message is over {MESSAGE_LIMIT // 1_000_000} MB.")


def _text(data: str) -> dict[str, str]:
    return {"Data": data, "Charset": "UTF-8"}


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    if len(tags) > TAGS:
        raise Unsendable("tags", f"A message has at most {TAGS} tags.")
    for name, value in tags.items():
        if not (_TAG.fullmatch(name) or name in _OWN_TAGS) or not _TAG.fullmatch(value):
            raise Unsendable("tags", "Names and values of tags are letters, digits, _ and - only.")
    return [{"Name": name, "Value": value} for name, value in tags.items()]


def _name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise Unsendable(
            "headers", "A header's name is 1 to 126 printable characters without colon."
        )
    return name


def _value(name: str, value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value) or len(name) + len(value) > 996:
        raise Unsendable(
            "headers", f"The header {name} is not 1 to 995 printable ASCII characters."
        )
    return value


def _line(text: str) -> str:
    """Return a text that goes into a header. Raises Unsendable if it would begin another one."""
    if any(character in text for character in "\r\n\0"):
        raise Unsendable("headers", "A header's value has a line break or a NUL in it.")
    return text
