"""The events that SES publishes about an accepted message, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from sesight_simulator.ses.addresses import is_simulator, mailbox_of
from sesight_simulator.ses.delivery_results import (
    OPENING,
    REACHING,
    Delay,
    DeliveryResult,
    delivery_result_of,
)
from sesight_simulator.ses.sent_message import SentMessage
from sesight_simulator.traffic.event_bodies import date_header, stamp

HEADER_BYTES = 10 * 1024
"""SES repeats at most this much of a message's header."""
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The EICAR test virus: SES rejects an attachment that holds it."""

_BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/150.0.0.0 Safari/537.36"
)


class SesEvent(NamedTuple):
    """One event of one message."""

    at: int
    """When it happens, epoch ms."""
    message_id: str
    event_type: str
    body: bytes
    """The event as JSON."""


def events_of(
    message: SentMessage, choose_result: Callable[[str], DeliveryResult], delay: Delay
) -> tuple[list[SesEvent], dict[str, DeliveryResult]]:
    """Return all events of a message, and the result of each mailbox that SES tried."""
    events = _MessageEvents(message, delay)
    if message.failure is not None:
        events.add("Send", {}, subject_known=False)
        failure = {"errorMessage": message.failure, "templateName": message.template}
        events.add("Rendering Failure", failure)
        return events.events, {}
    events.add("Send", {}, subject_known=message.template is None)
    if any(EICAR in attachment["RawContent"] for attachment in message.attachments):
        events.add("Reject", {"reason": "Bad content"})
        return events.events, {}
    for reason in ("BOUNCE", "COMPLAINT"):
        mailboxes = [mailbox for mailbox, why in message.suppressed.items() if why == reason]
        if mailboxes:
            events.add_suppressed(mailboxes, reason)
    mailboxes = [mailbox_of(recipient) for recipient in message.recipients]
    results = {
        mailbox: delivery_result_of(mailbox, choose_result)
        for mailbox in mailboxes
        if mailbox not in message.suppressed
    }
    events.add_results(results)
    return events.events, results


class _MessageEvents:
    """Collects the events of one message, in the order of their times."""

    def __init__(self, message: SentMessage, delay: Delay) -> None:
        self.message = message
        self.events: list[SesEvent] = []
        self._delay = delay
        self._times: dict[str, int] = {}

    def add(self, event_type: str, body: dict[str, Any], *, subject_known: bool = True) -> None:
        key = {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(
            event_type, event_type.lower()
        )
        mail = _mail(self.message, event_type, subject_known=subject_known)
        event = msgspec.json.encode({"eventType": event_type, "mail": mail, key: body})
        at = self._at(event_type)
        self.events.append(SesEvent(at, self.message.message_id, event_type, event))

    def _at(self, event_type: str) -> int:
        if event_type not in self._times:  # the delay may be random: ask for it once
            self._times[event_type] = self.message.at + self._delay(event_type)
        return self._times[event_type]

    def add_suppressed(self, mailboxes: list[str], reason: str) -> None:
        """Add the event of mailboxes that are on the account's suppression list."""
        if reason == "COMPLAINT":
            body = {
                "feedbackId": self._feedback_id(),
                "complaintSubType": "OnAccountSuppressionList",
                "complainedRecipients": [{"emailAddress": mailbox} for mailbox in mailboxes],
                "timestamp": _time(self._at("Complaint")),
            }
            self.add("Complaint", body)
            return
        diagnostic = (
            "Amazon SES did not send the message to this address because it is on the suppression "
            "list for your account."
        )
        report = ("failed", "5.1.1", diagnostic)
        self._bounce("Permanent", "OnAccountSuppressionList", mailboxes, report, by_ses=True)

    def add_results(self, results: dict[str, DeliveryResult]) -> None:
        """Add the events of the mailboxes that SES tried."""

        def mailboxes_with(*wanted: DeliveryResult) -> list[str]:
            return [mailbox for mailbox, result in results.items() if result in wanted]

        if delayed := mailboxes_with(DeliveryResult.DELAYED):
            self._delayed(delayed)
        if reached := mailboxes_with(*REACHING):
            self._delivery(reached)
        if bounced := mailboxes_with(DeliveryResult.BOUNCED):
            report = ("failed", "5.1.1", "smtp; 550 5.1.1 user unknown")
            self._bounce("Permanent", "General", bounced, report)
        if suppressed := mailboxes_with(DeliveryResult.SUPPRESSED):
            diagnostic = (
                "Amazon SES has suppressed sending to this address because it has a recent "
                "history of bouncing as an invalid address."
            )
            report = ("failed", "5.1.1", diagnostic)
            self._bounce("Permanent", "General", suppressed, report, by_ses=True)
        if full := mailboxes_with(DeliveryResult.SOFT_BOUNCED):
            report = ("failed", "4.2.2", "smtp; 452 4.2.2 mailbox full")
            self._bounce("Transient", "MailboxFull", full, report)
        if auto_replied := mailboxes_with(DeliveryResult.AUTO_REPLIED):
            self._bounce("Transient", "General", auto_replied, None)
        if complained := mailboxes_with(DeliveryResult.COMPLAINED):
            self._complaint(complained)
        if mailboxes_with(*OPENING) and self.message.is_tracked("Open"):
            self._open()
        links = _links(self.message)
        clicked = mailboxes_with(DeliveryResult.CLICKED)
        if clicked and links and self.message.is_tracked("Click"):
            self._click(links[0])

    def _delayed(self, mailboxes: list[str]) -> None:
        at = self._at("DeliveryDelay")
        report = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 no answer from host"}
        body = {
            "timestamp": _time(at),
            "delayType": "TransientCommunicationFailure",
            "expirationTime": _time(at + 14 * 3_600_000),
            "reportingMTA": "198.51.100.17",
            "delayedRecipients": [{"emailAddress": mailbox, **report} for mailbox in mailboxes],
        }
        self.add("DeliveryDelay", body)

    def _delivery(self, mailboxes: list[str]) -> None:
        body = {
            "timestamp": _time(self._at("Delivery")),
            "processingTimeMillis": self._at("Delivery") - self.message.at,
            "recipients": mailboxes,
            "smtpResponse": "250 2.0.0 OK simulated",
            "remoteMtaIp": "203.0.113.26",
            "reportingMTA": f"a7-11.smtp-out.{self.message.region}.amazonses.com",
        }
        self.add("Delivery", body)

    def _bounce(
        self,
        kind: str,
        sub_type: str,
        mailboxes: list[str],
        report: tuple[str, str, str] | None,
        *,
        by_ses: bool = False,
    ) -> None:
        """Add a Bounce; `report` is action, status and diagnostic code, `by_ses`: it did not try."""
        recipients: list[dict[str, str]] = [{"emailAddress": mailbox} for mailbox in mailboxes]
        body: dict[str, Any] = {
            "feedbackId": self._feedback_id(),
            "bounceType": kind,
            "bounceSubType": sub_type,
            "bouncedRecipients": recipients,
            "timestamp": _time(self._at("Bounce")),
        }
        if report is not None:
            action, status, diagnostic = report
            for recipient in recipients:
                recipient |= {"action": action, "status": status, "diagnosticCode": diagnostic}
            host = "amazonses.com" if by_ses else "a7-11.smtp-out.amazonses.com"
            body["reportingMTA"] = f"dns; {host}"
            if not by_ses:
                body["remoteMtaIp"] = "203.0.113.80"
        self.add("Bounce", body)

    def _complaint(self, mailboxes: list[str]) -> None:
        at = self._at("Complaint")
        from_simulator = any(map(is_simulator, mailboxes))
        body = {
            "feedbackId": self._feedback_id(),
            "complaintSubType": None,
            "complainedRecipients": [{"emailAddress": mailbox} for mailbox in mailboxes],
            "timestamp": _time(at),
            "userAgent": (
                "Amazon SES Mailbox Simulator" if from_simulator else "ExampleISP-Feedback/2.1"
            ),
            "complaintFeedbackType": "abuse",
            "arrivalDate": _time(at),
        }
        self.add("Complaint", body)

    def _open(self) -> None:
        body = {
            "timestamp": _time(self._at("Open")),
            "userAgent": _BROWSER,
            "ipAddress": "192.0.2.61",
            "isBotEvent": "Unlikely",
        }
        self.add("Open", body)

    def _click(self, link: str) -> None:
        body = {
            "timestamp": _time(self._at("Click")),
            "ipAddress": "192.0.2.61",
            "userAgent": _BROWSER,
            "link": link,
            "linkTags": None,
            "isBotEvent": "Unlikely",
        }
        self.add("Click", body)

    def _feedback_id(self) -> str:
        return f"{self.message.message_id[:-7]}-{len(self.events):06d}"


def _mail(message: SentMessage, event_type: str, *, subject_known: bool) -> dict[str, Any]:
    domain = mailbox_of(message.source).partition("@")[2]
    mail: dict[str, Any] = {
        "timestamp": _time(message.at),
        "source": message.source,
        "sourceArn": f"arn:aws:ses:{message.region}:000000000000:identity/{domain}",
        "sendingAccountId": "000000000000",
        "messageId": message.message_id,
        "destination": message.recipients,
    }
    if event_type in {"Rendering Failure", "DeliveryDelay"}:
        # AWS's own samples of these two have neither headers nor the sender's tags.
        mail["headersTruncated"] = False
        mail["tags"] = {"ses:configuration-set": [message.configuration_set]}
        return mail
    mail |= _headers(message, subject_known=subject_known)
    tags = {
        "ses:source-tls-version": ["TLSv1.3"],
        "ses:operation": ["SendEmail"],
        "ses:configuration-set": [message.configuration_set],
        "ses:source-ip": ["192.0.2.44"],
        "ses:from-domain": [domain],
        "ses:caller-identity": ["sesight"],
    }
    if event_type not in {"Send", "Reject"}:
        tags |= {"ses:outgoing-tls-version": ["TLSv1.3"], "ses:outgoing-ip": ["198.51.100.17"]}
    mail["tags"] = {**tags, **{name: [value] for name, value in message.tags.items()}}
    return mail


def _headers(message: SentMessage, *, subject_known: bool) -> dict[str, Any]:
    common: dict[str, Any] = {"from": [message.source], "date": date_header(message.at).decode()}
    address_lists = {"to": message.to, "cc": message.cc, "replyTo": message.reply_to}
    common |= {name: addresses for name, addresses in address_lists.items() if addresses}
    common["messageId"] = message.message_id
    if subject_known:
        headers = message.original_headers()
        common["subject"] = message.subject
    else:  # SES publishes the Send before it has rendered the template
        headers = [("From", message.source), ("To", ", ".join(message.to)), *message.extra_headers]
    fields, size = [], 0
    for name, value in headers:
        size += len(name) + len(value) + 4
        if size > HEADER_BYTES:
            break
        fields.append({"name": name, "value": value})
    return {
        "headersTruncated": len(fields) < len(headers),
        "headers": fields,
        "commonHeaders": common,
    }


def _links(message: SentMessage) -> list[str]:
    html = message.html or ""
    links = [rest.partition('"')[0] for rest in html.split('href="')[1:]]
    return [link for link in links if link.startswith("http")]


def _time(ms: int) -> str:
    return stamp(ms).decode()
