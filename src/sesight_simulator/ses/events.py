"""Events: what SES publishes about an accepted message, as its JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from sesight_simulator.ses.addresses import bare, is_simulator
from sesight_simulator.ses.delivery_results import REACHED, READ, Delay, Fate, fate_of
from sesight_simulator.ses.message import SentMessage
from sesight_simulator.traffic.event_bodies import date_header, stamp

HEADER_BYTES = 10 * 1024
"""SES repeats no more of a message's header than this."""
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The test virus: an attachment with it is rejected."""

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
    """Its JSON."""


def events_of(
    message: SentMessage, fate: Callable[[str], Fate], delay: Delay, *, announce: bool = True
) -> tuple[list[SesEvent], dict[str, Fate]]:
    """All events of a message that follow from its being sent, and the fate of each address tried.

    `announce`: a Send precedes the Rendering Failure. SES does it or does not.
    """
    story = _Story(message, delay)
    if message.failure is not None:
        if announce:
            story.add("Send", {}, unrendered=True)
        failure = {"errorMessage": message.failure, "templateName": message.template}
        story.add("Rendering Failure", failure)
        return story.events, {}
    story.add("Send", {}, unrendered=message.template is not None)
    if _is_bad(message):
        story.add("Reject", {"reason": "Bad content"})
        return story.events, {}
    for reason in ("BOUNCE", "COMPLAINT", "UNSUBSCRIBED"):
        held = [each for each, why in message.suppressed.items() if why == reason]
        if held:
            story.suppressed(held, reason)
    tried = [bare(each) for each in message.recipients]
    fates = {each: fate_of(each, fate) for each in tried if each not in message.suppressed}
    story.live(fates)
    return story.events, fates


def opened(message: SentMessage, at: int, **more: Any) -> SesEvent:
    """An Open of a message; `more` are fields of its body, such as `userAgent`."""
    body = {"timestamp": _time(at), "userAgent": _BROWSER, "ipAddress": "192.0.2.61"}
    return _event(message, at, "Open", {**body, "isBotEvent": "Unlikely", **more})


def clicked(message: SentMessage, at: int, link: str, **more: Any) -> SesEvent:
    """A Click on a link of a message."""
    body = {
        "timestamp": _time(at),
        "ipAddress": "192.0.2.61",
        "userAgent": _BROWSER,
        "link": link,
        "linkTags": None,
        "isBotEvent": "Unlikely",
    }
    return _event(message, at, "Click", {**body, **more})


def unsubscribed(message: SentMessage, at: int, before: Any, after: Any) -> SesEvent:
    """The Subscription event of a recipient who left a contact list."""
    held = message.list_management or {}
    body = {
        "contactList": held.get("ContactListName"),
        "timestamp": _time(at),
        "source": "UnsubscribeHeader",
        "newTopicPreferences": after,
        "oldTopicPreferences": before,
    }
    return _event(message, at, "Subscription", body)


class _Story:
    """The events of one message, put together in the order of their times."""

    def __init__(self, message: SentMessage, delay: Delay) -> None:
        self.message = message
        self.events: list[SesEvent] = []
        self._delay = delay
        self._times: dict[str, int] = {}

    def add(self, event_type: str, body: dict[str, Any], *, unrendered: bool = False) -> None:
        at = self._at(event_type)
        self.events.append(_event(self.message, at, event_type, body, unrendered=unrendered))

    def _at(self, event_type: str) -> int:
        if event_type not in self._times:  # a delay may be another one each time it is asked for
            self._times[event_type] = self.message.at + self._delay(event_type)
        return self._times[event_type]

    def suppressed(self, held: list[str], reason: str) -> None:
        """SES did not try these addresses."""
        if reason == "COMPLAINT":
            body = {
                "feedbackId": self._feedback_id(),
                "complaintSubType": "OnAccountSuppressionList",
                "complainedRecipients": [{"emailAddress": each} for each in held],
                "timestamp": _time(self._at("Complaint")),
            }
            self.add("Complaint", body)
            return
        sub_type, sentence = (
            ("OnAccountSuppressionList", "it is on the suppression list for your account")
            if reason == "BOUNCE"
            else ("UnsubscribedRecipient", "the recipient has unsubscribed from the contact list")
        )
        diagnostic = f"Amazon SES did not send the message to this address because {sentence}."
        self._bounce("Permanent", sub_type, held, ("failed", "5.1.1", diagnostic), ours=True)

    def live(self, fates: dict[str, Fate]) -> None:
        """What becomes of the addresses that were tried."""

        def of(*wanted: Fate) -> list[str]:
            return [each for each, fate in fates.items() if fate in wanted]

        if late := of(Fate.DELAYED):
            self._delayed(late)
        if reached := of(*REACHED):
            self._delivery(reached)
        if gone := of(Fate.BOUNCED):
            self._bounce(
                "Permanent", "General", gone, ("failed", "5.1.1", "smtp; 550 5.1.1 user unknown")
            )
        if listed := of(Fate.SUPPRESSED):
            sentence = "Amazon SES has suppressed sending to this address because it has a recent "
            sentence += "history of bouncing as an invalid address."
            self._bounce("Permanent", "General", listed, ("failed", "5.1.1", sentence), ours=True)
        if full := of(Fate.SOFT_BOUNCED):
            self._bounce(
                "Transient",
                "MailboxFull",
                full,
                ("failed", "4.2.2", "smtp; 452 4.2.2 mailbox full"),
            )
        if away := of(Fate.AUTO_REPLIED):
            self._bounce("Transient", "General", away, None)
        if angry := of(Fate.COMPLAINED):
            self._complaint(angry)
        if of(*READ) and self.message.tracked("Open"):
            self.events.append(opened(self.message, self._at("Open")))
        links = _links(self.message)
        if of(Fate.CLICKED) and links and self.message.tracked("Click"):
            self.events.append(clicked(self.message, self._at("Click"), links[0]))

    def _delayed(self, late: list[str]) -> None:
        at = self._at("DeliveryDelay")
        row = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 no answer from host"}
        body = {
            "timestamp": _time(at),
            "delayType": "TransientCommunicationFailure",
            "expirationTime": _time(at + 14 * 3_600_000),
            "reportingMTA": "198.51.100.17",
            "delayedRecipients": [{"emailAddress": each, **row} for each in late],
        }
        self.add("DeliveryDelay", body)

    def _delivery(self, reached: list[str]) -> None:
        body = {
            "timestamp": _time(self._at("Delivery")),
            "processingTimeMillis": self._at("Delivery") - self.message.at,
            "recipients": reached,
            "smtpResponse": "250 2.0.0 OK simulated",
            "remoteMtaIp": "203.0.113.26",
            "reportingMTA": f"a7-11.smtp-out.{self.message.region}.amazonses.com",
        }
        self.add("Delivery", body)

    def _bounce(
        self,
        kind: str,
        sub_type: str,
        held: list[str],
        report: tuple[str, str, str] | None,
        *,
        ours: bool = False,
    ) -> None:
        rows: list[dict[str, str]] = [{"emailAddress": each} for each in held]
        body: dict[str, Any] = {
            "feedbackId": self._feedback_id(),
            "bounceType": kind,
            "bounceSubType": sub_type,
            "bouncedRecipients": rows,
            "timestamp": _time(self._at("Bounce")),
        }
        if report is not None:
            action, status, diagnostic = report
            for each in rows:
                each |= {"action": action, "status": status, "diagnosticCode": diagnostic}
            host = "amazonses.com" if ours else "a7-11.smtp-out.amazonses.com"
            body["reportingMTA"] = f"dns; {host}"
            if not ours:
                body["remoteMtaIp"] = "203.0.113.80"
        self.add("Bounce", body)

    def _complaint(self, angry: list[str]) -> None:
        at = self._at("Complaint")
        simulated = any(map(is_simulator, angry))
        body = {
            "feedbackId": self._feedback_id(),
            "complaintSubType": None,
            "complainedRecipients": [{"emailAddress": each} for each in angry],
            "timestamp": _time(at),
            "userAgent": "Amazon SES Mailbox Simulator" if simulated else "ExampleISP-Feedback/2.1",
            "complaintFeedbackType": "abuse",
            "arrivalDate": _time(at),
        }
        self.add("Complaint", body)

    def _feedback_id(self) -> str:
        return f"{self.message.message_id[:-7]}-{len(self.events):06d}"


def _event(
    message: SentMessage,
    at: int,
    event_type: str,
    body: dict[str, Any],
    *,
    unrendered: bool = False,
) -> SesEvent:
    key = {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(
        event_type, event_type.lower()
    )
    mail = _mail(message, event_type, unrendered=unrendered)
    encoded = msgspec.json.encode({"eventType": event_type, "mail": mail, key: body})
    return SesEvent(at, message.message_id, event_type, encoded)


def _mail(message: SentMessage, event_type: str, *, unrendered: bool) -> dict[str, Any]:
    domain = bare(message.source).partition("@")[2]
    mail: dict[str, Any] = {
        "timestamp": _time(message.at),
        "source": message.source,
        "sourceArn": f"arn:aws:ses:{message.region}:000000000000:identity/{domain}",
        "sendingAccountId": "000000000000",
        "messageId": message.message_id,
        "destination": message.recipients,
    }
    if event_type in {"Rendering Failure", "DeliveryDelay"}:
        # AWS's own samples of these have neither headers nor the sender's tags
        mail["headersTruncated"] = False
        mail["tags"] = {"ses:configuration-set": [message.configuration_set]}
        return mail
    mail |= _heads(message, unrendered=unrendered)
    tags = {
        "ses:source-tls-version": ["TLSv1.3"],
        "ses:operation": [message.operation],
        "ses:configuration-set": [message.configuration_set],
        "ses:source-ip": ["192.0.2.44"],
        "ses:from-domain": [domain],
        "ses:caller-identity": ["sesight"],
    }
    if event_type not in {"Send", "Reject"}:
        tags |= {"ses:outgoing-tls-version": ["TLSv1.3"], "ses:outgoing-ip": ["198.51.100.17"]}
    mail["tags"] = {**tags, **{name: [value] for name, value in message.tags.items()}}
    return mail


def _heads(message: SentMessage, *, unrendered: bool) -> dict[str, Any]:
    common: dict[str, Any] = {"from": [message.source], "date": date_header(message.at).decode()}
    lists = {"to": message.to, "cc": message.cc, "replyTo": message.reply_to}
    common |= {name: values for name, values in lists.items() if values}
    common["messageId"] = message.message_id
    if unrendered:  # a template's subject is not known yet when the Send is told
        headers = [("From", message.source), ("To", ", ".join(message.to)), *message.extra_headers]
    else:
        headers = message.original_headers()
        common["subject"] = message.subject
    kept, size = [], 0
    for name, value in headers:
        size += len(name) + len(value) + 4
        if size > HEADER_BYTES:
            break
        kept.append({"name": name, "value": value})
    return {
        "headersTruncated": len(kept) < len(headers),
        "headers": kept,
        "commonHeaders": common,
    }


def _is_bad(message: SentMessage) -> bool:
    return any(EICAR in each["RawContent"] for each in message.attachments) or EICAR in (
        message.given_raw or b""
    )


def _links(message: SentMessage) -> list[str]:
    text = message.html or ""
    links = [each.partition('"')[0] for each in text.split('href="')[1:]]
    return [each for each in links if each.startswith("http")]


def _time(ms: int) -> str:
    return stamp(ms).decode()
