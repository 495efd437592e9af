"""A message that the simulated SES accepted, kept so that tests and the demo can look at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sesight_simulator.ses.handlebars import OPEN_TRACKER, UNSUBSCRIBE_URL, AttributeAbsent, render
from sesight_simulator.ses.mime import header_fields_of, mime_message
from sesight_simulator.traffic.event_bodies import date_header


@dataclass(kw_only=True)
class SentMessage:
    """One accepted message: the parameters of its call, and what SES would have sent."""

    message_id: str
    at: int
    """When it was accepted, epoch ms."""
    source: str
    """The From address, as in the call."""
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    reply_to: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    """The sender's tags."""
    configuration_set: str | None = None
    extra_headers: list[tuple[str, str]] = field(default_factory=list)
    """The sender's own header fields."""
    list_management: dict[str, str] | None = None
    overrides: dict[str, Any] | None = None
    """ConfigurationOverrides, as in the call."""
    region: str
    unsubscribe_url: str | None = None
    """The unsubscribe link that SES makes with ListManagementOptions."""
    template: str | None = None
    template_data: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    """Subject, Text and Html: texts, or parsed templates where `template` is not None."""
    attachments: list[dict[str, Any]] = field(default_factory=list)
    suppressed: dict[str, str] = field(default_factory=dict)
    """Mailboxes that SES does not try, with the reason: BOUNCE or COMPLAINT."""

    @property
    def recipients(self) -> list[str]:
        """All recipients, as in the call."""
        return [*self.to, *self.cc, *self.bcc]

    @cached_property
    def failure(self) -> str | None:
        """Why the template could not be rendered, or None."""
        try:
            _ = self._rendered
        except AttributeAbsent as error:
            return str(error)
        return None

    @cached_property
    def _rendered(self) -> dict[str, str]:
        parts = self.parts
        if self.template is not None:
            parts = {name: render(part, self.template_data) for name, part in parts.items()}
            parts["Subject"] = " ".join(parts["Subject"].splitlines())
        return {name: self._with_links(name, text) for name, text in parts.items()}

    def _with_links(self, name: str, text: str) -> str:
        if name == "Subject" or self.unsubscribe_url is None:
            return text.replace(OPEN_TRACKER, "")
        # SES replaces the placeholder at most twice in a part.
        return text.replace(UNSUBSCRIBE_URL, self.unsubscribe_url, 2).replace(OPEN_TRACKER, "")

    def _part(self, name: str) -> str | None:
        return None if self.failure is not None else self._rendered.get(name)

    @property
    def subject(self) -> str | None:
        """The subject; None where the template could not be rendered."""
        return self._part("Subject")

    @property
    def text(self) -> str | None:
        """The text body."""
        return self._part("Text")

    @property
    def html(self) -> str | None:
        """The HTML body, without SES's tracking pixel and tracked links."""
        return self._part("Html")

    def is_tracked(self, event_type: str) -> bool:
        """Return whether SES records Opens or Clicks: there is HTML, and no override forbids it."""
        tracking = (self.overrides or {}).get("Tracking", {})
        return self.html is not None and tracking.get(f"{event_type}TrackingEnabled") != "DISABLED"

    def header(self, name: str) -> str | None:
        """Return the first header field of a name in what would have been sent."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """The header fields of what would have been sent."""
        return header_fields_of(self.raw)

    @cached_property
    def raw(self) -> bytes:
        """The message as SES would have sent it; empty where the template could not be rendered."""
        if self.failure is not None:
            return b""
        fields = [*self.original_headers(), *self._fields_of_ses()]
        return mime_message(fields, self.text, self.html, self.attachments)

    def original_headers(self) -> list[tuple[str, str]]:
        """Return the header fields that the sender gave, which the events of SES repeat."""
        fields = [("From", self.source)]
        for name, values in (("Reply-To", self.reply_to), ("To", self.to), ("Cc", self.cc)):
            if values:
                fields.append((name, ", ".join(values)))
        fields.append(("Subject", self._rendered["Subject"]))
        replaced = {name.lower() for name, _ in self._fields_of_ses()}
        fields += [
            (name, value) for name, value in self.extra_headers if name.lower() not in replaced
        ]
        return fields

    def _fields_of_ses(self) -> list[tuple[str, str]]:
        """Return the header fields that SES writes, which replace the sender's of the same name."""
        host = "email" if self.region == "us-east-1" else self.region
        fields = [
            ("Date", date_header(self.at).decode()),
            ("Message-ID", f"<{self.message_id}@{host}.amazonses.com>"),
            ("Feedback-ID", self._feedback_id()),
        ]
        if self.unsubscribe_url is not None:
            fields.append(("List-Unsubscribe", f"<{self.unsubscribe_url}>"))
            fields.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        return fields

    def _feedback_id(self) -> str:
        tags = [self.tags.get(f"ses:feedback-id-{letter}", "") for letter in "ab"]
        account_part = f"1.{self.region}.c2ltdWxhdGVk:AmazonSES"
        return ":".join([*tags, account_part]) if any(tags) else account_part
