"""SendEmail: check a message against SES's rules, then accept it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sesight_simulator.ses.account import SimulatedAccount
from sesight_simulator.ses.addresses import is_simulator, mailbox_of
from sesight_simulator.ses.api_model import SesError
from sesight_simulator.ses.message_rules import (
    check_attachments,
    header_fields,
    message_tags,
    simple_parts,
)
from sesight_simulator.ses.sent_message import SentMessage
from sesight_simulator.ses.template_store import template_data

MAX_RECIPIENTS = 50
"""Recipients of one message, To, Cc and Bcc together."""
MESSAGE_BYTES = 40 * 1024 * 1024
"""The largest message, with its attachments encoded."""


class SendEmail:
    """Accepts messages for one account.

    `unsubscribe_url` makes the URL that SES puts into a message with list management; `on_accepted`
    receives each accepted message.
    """

    def __init__(
        self,
        account: SimulatedAccount,
        *,
        seed: int,
        unsubscribe_url: Callable[[str], str],
        on_accepted: Callable[[SentMessage], None],
    ) -> None:
        self.account = account
        self._random = random.Random(seed)
        self._unsubscribe_url = unsubscribe_url
        self._on_accepted = on_accepted

    def __call__(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """SendEmail, with Simple or Template content. Raw content is not simulated."""
        content = parameters["Content"]
        if len(content) != 1:
            raise SesError(
                "BadRequestException", "Exactly one of Simple, Raw and Template is taken."
            )
        kind, inner = next(iter(content.items()))
        if kind == "Raw":
            raise SesError("BadRequestException", "This simulation takes no raw messages.")
        message = self._message(parameters)
        mailboxes = self._check(message)
        message.extra_headers = header_fields(inner.get("Headers", []))
        message.attachments = check_attachments(inner.get("Attachments", []))
        if kind == "Simple":
            message.parts = simple_parts(inner)
        else:
            self._add_template(message, inner)
        _check_size(message)
        account = self.account
        account.spend(len(mailboxes), sum(not is_simulator(mailbox) for mailbox in mailboxes))
        for mailbox in mailboxes:
            reason = account.suppressions.reason(mailbox)
            if reason is not None:
                message.suppressed[mailbox] = reason
        self._on_accepted(message)
        return {"MessageId": message.message_id}

    def _message(self, parameters: dict[str, Any]) -> SentMessage:
        source = parameters.get("FromEmailAddress")
        if not source:
            raise SesError("BadRequestException", "The From address must be specified.")
        destination = parameters.get("Destination", {})
        to, cc, bcc = (destination.get(f"{name}Addresses", []) for name in ("To", "Cc", "Bcc"))
        now = self.account.clock()
        message_id = self._message_id(now)
        management = parameters.get("ListManagementOptions")
        return SentMessage(
            message_id=message_id,
            at=now,
            source=source,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=parameters.get("ReplyToAddresses", []),
            tags=message_tags(parameters.get("EmailTags", [])),
            configuration_set=parameters.get("ConfigurationSetName"),
            list_management=management,
            overrides=parameters.get("ConfigurationOverrides"),
            region=self.account.region,
            unsubscribe_url=self._unsubscribe_url(message_id) if management else None,
        )

    def _check(self, message: SentMessage) -> list[str]:
        """Check all of a message but its content; return the mailboxes of its recipients."""
        recipients = message.recipients
        if not recipients:
            raise SesError("BadRequestException", "A destination must be specified.")
        if len(recipients) > MAX_RECIPIENTS:
            raise SesError("BadRequestException", f"Recipient count exceeds {MAX_RECIPIENTS}.")
        mailboxes = [mailbox_of(recipient) for recipient in recipients]
        self.account.check_sending(message.configuration_set)
        self._check_verified([mailbox_of(message.source)])
        if not self.account.production:
            self._check_verified([mailbox for mailbox in mailboxes if not is_simulator(mailbox)])
        if message.list_management is not None:
            if len(recipients) > 1:
                raise SesError("BadRequestException", "List management takes a single recipient.")
            self.account.contact_lists.check(
                message.list_management["ContactListName"],
                message.list_management.get("TopicName"),
            )
        for address in message.reply_to:
            mailbox_of(address)
        return mailboxes

    def _check_verified(self, mailboxes: list[str]) -> None:
        failed = [mailbox for mailbox in mailboxes if not self.account.is_verified(mailbox)]
        if failed:
            raise SesError(
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in region "
                f"{self.account.region.upper()}: {', '.join(failed)}",
            )

    def _add_template(self, message: SentMessage, content: dict[str, Any]) -> None:
        if "TemplateName" not in content or not content.keys().isdisjoint(
            {"TemplateArn", "TemplateContent"}
        ):
            raise SesError(
                "BadRequestException", "This simulation takes a template by its name only."
            )
        message.template = content["TemplateName"]
        message.parts = self.account.templates.template(message.template).parts
        message.template_data = template_data(content.get("TemplateData"))

    def _message_id(self, now: int) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return f"0102{now:012x}-{'-'.join(groups)}-000000"


def _check_size(message: SentMessage) -> None:
    # Building the MIME message is slow: do it only where it may be too large.
    size = sum(len(attachment["RawContent"]) for attachment in message.attachments)
    if size > MESSAGE_BYTES * 0.6 and len(message.raw) > MESSAGE_BYTES:
        raise SesError("BadRequestException", f"Message length is more than {MESSAGE_BYTES} bytes.")
