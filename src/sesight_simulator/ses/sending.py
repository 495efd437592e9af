"""Sending: SendEmail and SendBulkEmail, held to SES's rules before a message is accepted."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import getaddresses
from typing import Any, NamedTuple

from sesight_simulator.ses.account import Account
from sesight_simulator.ses.addresses import bare, is_simulator
from sesight_simulator.ses.message import SentMessage
from sesight_simulator.ses.message_rules import (
    attachments_given,
    check_raw,
    headers_given,
    simple_parts,
    tags_of,
)
from sesight_simulator.ses.mime import headers_of, without
from sesight_simulator.ses.requests import Operation, Refused
from sesight_simulator.ses.template_store import compiled, template_data

RECIPIENTS = 50
"""Recipients of one message, To, Cc and Bcc together; destinations of one bulk call."""
MESSAGE_BYTES = 40 * 1024 * 1024
"""A message's size, its attachments encoded."""

_UNSENT = {"bcc", "x-ses-configuration-set", "x-ses-message-tags", "x-ses-list-management-options"}
"""Header fields of raw messages that go no further than SES."""

_BULK_STATUSES = {
    "MessageRejected": "MESSAGE_REJECTED",
    "MailFromDomainNotVerifiedException": "MAIL_FROM_DOMAIN_NOT_VERIFIED",
    "AccountSuspendedException": "ACCOUNT_SUSPENDED",
    "BadRequestException": "INVALID_PARAMETER",
}


class _Envelope(NamedTuple):
    """What is said of a message beside its content."""

    source: str
    to: list[str]
    cc: list[str]
    bcc: list[str]
    configuration_set: str | None
    tags: dict[str, str]
    management: dict[str, str] | None


class Sending:
    """Takes messages for one account."""

    def __init__(
        self,
        account: Account,
        *,
        seed: int,
        unsubscribe_url: Callable[[str], str],
        accepted: Callable[[SentMessage], None],
        fault: Callable[[dict[str, Any]], str | None],
    ) -> None:
        """`unsubscribe_url` makes the URL at which a message's recipient leaves its list; `accepted`
        is told of each message; `fault` gives the status a bulk call's entry shall fail with.
        """
        self.account = account
        self._random = random.Random(seed)
        self._unsubscribe_url = unsubscribe_url
        self._accepted = accepted
        self._fault = fault

    def calls(self) -> dict[str, Operation]:
        """What answers each operation."""
        return {"SendEmail": self.send_email, "SendBulkEmail": self.send_bulk_email}

    def send_email(self, given: dict[str, Any]) -> dict[str, Any]:
        """SendEmail: exactly one of Simple, Raw and Template."""
        content = given["Content"]
        if len(content) != 1:
            raise Refused(
                "BadRequestException", "Exactly one of Simple, Raw and Template is taken."
            )
        kind, inner = next(iter(content.items()))
        raw: bytes | None = inner["Data"] if kind == "Raw" else None
        envelope = _envelope(given, raw)
        self._check(envelope)
        if raw is not None:
            check_raw(raw)
            more: dict[str, Any] = {"given_raw": without(raw, _UNSENT)}
        else:
            more = {
                "extra_headers": headers_given(inner.get("Headers", [])),
                "attachments": attachments_given(inner.get("Attachments", [])),
                **({"parts": simple_parts(inner)} if kind == "Simple" else self._template(inner)),
            }
        return {"MessageId": self._accept("SendEmail", given, envelope, more)}

    def send_bulk_email(self, given: dict[str, Any]) -> dict[str, Any]:
        """SendBulkEmail: what is wrong with one entry is told of that entry alone."""
        entries = given["BulkEmailEntries"]
        if not 1 <= len(entries) <= RECIPIENTS:
            raise Refused("BadRequestException", f"From 1 to {RECIPIENTS} destinations are taken.")
        template = given["DefaultContent"].get("Template")
        if template is None:
            raise Refused("BadRequestException", "The template must be specified.")
        source = given.get("FromEmailAddress")
        if source is None:
            raise Refused("BadRequestException", "The From address must be specified.")
        common = self._template(template)
        defaults = tags_of(given.get("DefaultEmailTags", []))
        headers = headers_given(template.get("Headers", []))
        attachments = attachments_given(template.get("Attachments", []))
        self._may_send(source, given.get("ConfigurationSetName"))
        results = []
        for entry in entries:
            status = self._fault(entry)
            if status is not None:
                results.append({"Status": status, "Error": "This was planned."})
                continue
            try:
                own_tags = entry.get("ReplacementTags")
                envelope = _Envelope(
                    source,
                    *_destinations(entry["Destination"]),
                    given.get("ConfigurationSetName"),
                    # AWS calls them replacements: an entry with tags of its own has no others
                    defaults if own_tags is None else tags_of(own_tags),
                    None,
                )
                self._check(envelope)
                replacement = entry.get("ReplacementEmailContent", {}).get("ReplacementTemplate")
                own = template_data((replacement or {}).get("ReplacementTemplateData"))
                more = {
                    **common,
                    "template_data": {**common["template_data"], **own},
                    "extra_headers": _joined(headers, entry.get("ReplacementHeaders", [])),
                    "attachments": attachments,
                }
                message_id = self._accept("SendBulkEmail", given, envelope, more)
                results.append({"Status": "SUCCESS", "MessageId": message_id})
            except Refused as error:
                results.append({"Status": _bulk_status(error), "Error": error.message})
        return {"BulkEmailEntryResults": results}

    # -- the rules of one message ----------------------------------------------------------------

    def _may_send(self, source: str, configuration_set: str | None) -> None:
        self.account.may_send(configuration_set)
        self._check_verified([bare(source)])

    def _check(self, envelope: _Envelope) -> None:
        addresses = [*envelope.to, *envelope.cc, *envelope.bcc]
        if not addresses:
            raise Refused("BadRequestException", "A destination must be specified.")
        if len(addresses) > RECIPIENTS:
            raise Refused("BadRequestException", f"Recipient count exceeds {RECIPIENTS}.")
        mailboxes = [bare(each) for each in addresses]
        self._may_send(envelope.source, envelope.configuration_set)
        if not self.account.production:
            self._check_verified([each for each in mailboxes if not is_simulator(each)])
        if envelope.management is not None:
            if len(addresses) > 1:
                raise Refused("BadRequestException", "List management takes a single recipient.")
            self.account.contacts.check(
                envelope.management["ContactListName"], envelope.management.get("TopicName")
            )

    def _check_verified(self, mailboxes: list[str]) -> None:
        failed = [each for each in mailboxes if not self.account.verified(each)]
        if failed:
            raise Refused(
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in region "
                f"{self.account.region.upper()}: {', '.join(failed)}",
            )

    def _template(self, given: dict[str, Any]) -> dict[str, Any]:
        named = [n for n in ("TemplateName", "TemplateArn", "TemplateContent") if n in given]
        if len(named) != 1:
            raise Refused("BadRequestException", "Exactly one template must be specified.")
        if "TemplateContent" in given:
            name, parts = "", compiled(given["TemplateContent"])
            if "{{#" in "".join(given["TemplateContent"].values()):
                raise Refused("BadRequestException", "Content in a call takes substitutions only.")
        else:
            name = given.get("TemplateName") or given["TemplateArn"].rpartition("/")[2]
            parts = self.account.library.template(name).parts
        return {
            "template": name,
            "parts": parts,
            "template_data": template_data(given.get("TemplateData")),
        }

    def _accept(
        self, operation: str, given: dict[str, Any], envelope: _Envelope, more: dict[str, Any]
    ) -> str:
        account = self.account
        mailboxes = [bare(each) for each in (*envelope.to, *envelope.cc, *envelope.bcc)]
        for name in ("ReplyToAddresses", "FeedbackForwardingEmailAddress"):
            values = given.get(name, [])
            for each in values if isinstance(values, list) else [values]:
                bare(each)
        now = account.clock()
        message_id = self._message_id(now)
        message = SentMessage(
            message_id=message_id,
            at=now,
            operation=operation,
            source=envelope.source,
            to=envelope.to,
            cc=envelope.cc,
            bcc=envelope.bcc,
            reply_to=given.get("ReplyToAddresses", []),
            tags=envelope.tags,
            configuration_set=envelope.configuration_set,
            list_management=envelope.management,
            overrides=given.get("ConfigurationOverrides"),
            feedback_to=given.get("FeedbackForwardingEmailAddress"),
            region=account.region,
            unsubscribe_url=self._unsubscribe_url(message_id) if envelope.management else None,
            **more,
        )
        _check_size(message)
        account.spend(len(mailboxes), sum(not is_simulator(each) for each in mailboxes))
        for each in mailboxes:
            reason = account.suppression(each, envelope.configuration_set)
            if reason is not None:
                message.suppressed[each] = reason
            elif envelope.management is not None and not self.account.contacts.wants(
                envelope.management["ContactListName"], envelope.management.get("TopicName"), each
            ):
                message.suppressed[each] = "UNSUBSCRIBED"
        self._accepted(message)
        return message_id

    def _message_id(self, now: int) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return f"0102{now:012x}-{'-'.join(groups)}-000000"


def _envelope(given: dict[str, Any], raw: bytes | None) -> _Envelope:
    """From the call; where it says nothing, from a raw message's own header fields."""
    said: dict[str, str] = {}
    if raw is not None:
        said = {name.lower(): value for name, value in reversed(headers_of(raw))}
    source = given.get("FromEmailAddress") or said.get("from")
    if not source:
        raise Refused("BadRequestException", "The From address must be specified.")
    to, cc, bcc = _destinations(given.get("Destination", {}))
    if not (to or cc or bcc):
        to, cc, bcc = (_addresses(said.get(name, "")) for name in ("to", "cc", "bcc"))
    tags = tags_of(given.get("EmailTags", []))
    if not tags and "x-ses-message-tags" in said:  # the API's tags win outright
        pairs = [each.partition("=") for each in said["x-ses-message-tags"].split(",")]
        tags = tags_of([{"Name": name.strip(), "Value": value.strip()} for name, _, value in pairs])
    management = given.get("ListManagementOptions")
    if management is None and "x-ses-list-management-options" in said:
        name, _, topic = said["x-ses-list-management-options"].partition(";")
        management = {"ContactListName": name.strip()}
        if topic.strip():
            management["TopicName"] = topic.partition("=")[2].strip()
    return _Envelope(
        source,
        to,
        cc,
        bcc,
        given.get("ConfigurationSetName") or said.get("x-ses-configuration-set"),
        tags,
        management,
    )


def _destinations(given: dict[str, list[str]]) -> tuple[list[str], list[str], list[str]]:
    """To, Cc and Bcc."""
    to, cc, bcc = (given.get(f"{name}Addresses", []) for name in ("To", "Cc", "Bcc"))
    return to, cc, bcc


def _addresses(value: str) -> list[str]:
    return [mailbox for _, mailbox in getaddresses([value]) if mailbox]


def _joined(common: list[tuple[str, str]], own: list[dict[str, str]]) -> list[tuple[str, str]]:
    """The template's headers, those of an entry in place of the ones of the same name."""
    replaced = {each["Name"].lower() for each in own}
    return [*(each for each in common if each[0].lower() not in replaced), *headers_given(own)]


def _check_size(message: SentMessage) -> None:
    # the message is put together only where it may be too large, or when a test looks at it
    given = len(message.given_raw or b"") + sum(len(e["RawContent"]) for e in message.attachments)
    if given > MESSAGE_BYTES * 0.6 and message.size() > MESSAGE_BYTES:
        raise Refused("BadRequestException", f"Message length is more than {MESSAGE_BYTES} bytes.")


def _bulk_status(error: Refused) -> str:
    if error.code == "TooManyRequestsException":
        daily = error.message.startswith("Daily")
        return "ACCOUNT_DAILY_QUOTA_EXCEEDED" if daily else "ACCOUNT_THROTTLED"
    if error.code == "NotFoundException":
        is_set = error.message.startswith("Configuration set")
        return "CONFIGURATION_SET_NOT_FOUND" if is_set else "TEMPLATE_NOT_FOUND"
    if error.code == "SendingPausedException":
        of_set = "configuration set" in error.message
        return "CONFIGURATION_SET_SENDING_PAUSED" if of_set else "ACCOUNT_SENDING_PAUSED"
    return _BULK_STATUSES.get(error.code, "FAILED")
