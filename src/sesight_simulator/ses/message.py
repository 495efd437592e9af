"""The message: one that SES accepted, kept so that it can be looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sesight_simulator.ses.handlebars import OPEN_TRACKER, UNSUBSCRIBE_URL, AttributeAbsent, render
from sesight_simulator.ses.mime import built, headers_of, with_fields
from sesight_simulator.traffic.event_bodies import date_header


@dataclass(kw_only=True)
class SentMessage:
    """One message as SES accepted it: what it was given, and what it would have sent."""

    message_id: str
    at: int
    """When it was accepted, epoch ms."""
    operation: str
    source: str
    """The From address, as given."""
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
    """ConfigurationOverrides, as given."""
    feedback_to: str | None = None
    region: str
    unsubscribe_url: str | None = None
    """Where the recipient leaves the list; SES makes it with ListManagementOptions."""
    template: str | None = None
    """The template's name; empty for one that came with the call."""
    template_data: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    """Subject, Text and Html: texts, or parsed templates where `template` is not None."""
    attachments: list[dict[str, Any]] = field(default_factory=list)
    given_raw: bytes | None = None
    suppressed: dict[str, str] = field(default_factory=dict)
    """Recipients SES does not try, by bare address: BOUNCE, COMPLAINT or UNSUBSCRIBED."""

    @property
    def recipients(self) -> list[str]:
        """All recipients, as given."""
        return [*self.to, *self.cc, *self.bcc]

    @cached_property
    def failure(self) -> str | None:
        """Why the template could not be rendered, if it could not."""
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
        return {name: self._placed(name, text) for name, text in parts.items()}

    def _placed(self, name: str, text: str) -> str:
        if name == "Subject" or self.unsubscribe_url is None:
            return text.replace(OPEN_TRACKER, "")
        # SES replaces it twice at most
        return text.replace(UNSUBSCRIBE_URL, self.unsubscribe_url, 2).replace(OPEN_TRACKER, "")

    def _part(self, name: str) -> str | None:
        if self.failure is not None:
            return None
        return self._rendered.get(name)

    @property
    def subject(self) -> str | None:
        """The subject; None where the template could not be rendered."""
        if self.given_raw is not None:
            return self.header("Subject")
        return self._part("Subject")

    @property
    def text(self) -> str | None:
        """The text body, of a message that is not raw."""
        return self._part("Text")

    @property
    def html(self) -> str | None:
        """The HTML body, of a message that is not raw; without SES's pixel and its links."""
        return self._part("Html")

    def tracked(self, event_type: str) -> bool:
        """Whether SES hears of Opens or Clicks: there is HTML, and no override forbids it."""
        tracking = (self.overrides or {}).get("Tracking", {})
        if tracking.get(f"{event_type}TrackingEnabled") == "DISABLED":
            return False
        return self.html is not None or b"text/html" in (self.given_raw or b"").lower()

    def header(self, name: str) -> str | None:
        """The first header field of a name in what would have been sent."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """The header fields of what would have been sent."""
        return headers_of(self.raw)

    @cached_property
    def raw(self) -> bytes:
        """The message as SES would have sent it; empty where the template could not be rendered."""
        if self.given_raw is not None:
            return with_fields(self.given_raw, self._own_fields())
        if self.failure is not None:
            return b""
        return built([*self._fields(), *self._own_fields()], self.text, self.html, self.attachments)

    def _fields(self) -> list[tuple[str, str]]:
        """The header fields of the sender, of a message that is not raw."""
        fields = [("From", self.source)]
        for name, values in (("Reply-To", self.reply_to), ("To", self.to), ("Cc", self.cc)):
            if values:
                fields.append((name, ", ".join(values)))
        fields.append(("Subject", self._rendered["Subject"]))
        replaced = {name.lower() for name, _ in self._own_fields()}
        return [*fields, *(each for each in self.extra_headers if each[0].lower() not in replaced)]

    def _own_fields(self) -> list[tuple[str, str]]:
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
        own = [self.tags.get(f"ses:feedback-id-{letter}", "") for letter in "ab"]
        ours = f"1.{self.region}.c2ltdWxhdGVk:AmazonSES"
        return ":".join([*own, ours]) if any(own) else ours

    def size(self) -> int:
        """Bytes that would have been sent."""
        return len(self.raw)

    def original_headers(self) -> list[tuple[str, str]]:
        """The header fields as they were given to SES, which is what its events repeat."""
        return self._fields() if self.given_raw is None else headers_of(self.given_raw)
