"""Outreach: drafts of template mail, one for each recipient of a request or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from sesight.domain.sending import CampaignDetails, TemplateRecipient
from sesight.domain.template import RenderedTemplate
from sesight.send.addresses import Address, parse_address
from sesight.send.mailing import Draft
from sesight.send.message import OutgoingMessage, TemplatedContent, Unsendable
from sesight.send.message_defaults import MessageDefaults
from sesight.send.tags import campaign_tags, format_campaign_tag

KeyedHash = Callable[[bytes], str]
"""A hash in hex digits under a secret key, so that values cannot be guessed from it."""


class MessageTemplate(Protocol):
    """A template that may be sent: rendered here (`Template`) or by SES (`SesTemplate`)."""

    name: str
    language: str | None

    @property
    def version(self) -> str:
        """Return a hash of the template's files."""
        ...

    def body(self, context: Mapping[str, Any]) -> RenderedTemplate | TemplatedContent:
        """Return the content for a context. Raises Unsendable for a context that lacks a variable."""
        ...


def drafts(
    recipients: Iterable[TemplateRecipient],
    campaign: CampaignDetails,
    template: MessageTemplate,
    message_defaults: MessageDefaults,
    context: Mapping[str, Any],
    keyed_hash: KeyedHash,
) -> list[Draft]:
    """Return a draft for each recipient, in their order. `context` has the variables that all share.

    A recipient's own variables win over it; `email`, `name`, `unsubscribe_url`, `postal_address` and
    `campaign` are set for every template. Raises InvalidRequest for a campaign that no tag can hold.
    """
    _ = _tags(
        campaign, message_defaults, "0"
    )  # what is wrong with it fails the request, not one draft
    seen: dict[str, int] = {}
    return [
        _draft(n, recipient, campaign, template, message_defaults, context, keyed_hash, seen)
        for n, recipient in enumerate(recipients)
    ]


def _draft(
    n: int,
    recipient: TemplateRecipient,
    campaign: CampaignDetails,
    template: MessageTemplate,
    message_defaults: MessageDefaults,
    context: Mapping[str, Any],
    keyed_hash: KeyedHash,
    seen: dict[str, int],
) -> Draft:
    try:
        to = recipient_address(recipient.email, recipient.name, n, seen)
    except Unsendable as error:
        return faulty_draft(recipient.email, n, error)
    own = {**context, **recipient.context}

    def compose(send_id: str) -> OutgoingMessage:
        url = message_defaults.url(to.address, format_campaign_tag(campaign.id), send_id)
        name = campaign.name or campaign.id
        return message_defaults.message(
            to,
            template.body({**own, **message_defaults.context(to, url, name)}),
            _tags(campaign, message_defaults, send_id),
            name,
            template=template.name,
            url=url,
            tracked=recipient.tracked,
        )

    return Draft(
        recipient=recipient.email,
        key=to.address,
        address=to.address,
        spelling=to.spelling,
        compose=compose,
        content=lambda: content_hash(
            keyed_hash, template, {**own, "name": to.name or context.get("name")}
        ),
    )


def content_hash(
    keyed_hash: KeyedHash, template: MessageTemplate, values: Mapping[str, Any]
) -> str:
    """Return a hash that tells whether a message would be made of the same template and values."""
    content = (template.name, template.version, values)
    return keyed_hash(msgspec.json.encode(content, order="deterministic"))[:32]


def _tags(
    campaign: CampaignDetails, message_defaults: MessageDefaults, send_id: str
) -> dict[str, str]:
    return campaign_tags(
        stream=message_defaults.stream.id,
        campaign=campaign.id,
        send_id=send_id,
        name=campaign.name,
        kind=campaign.type,
        step=campaign.step,
        variant=campaign.variant,
    )


def recipient_address(email: str, name: str | None, n: int, seen: dict[str, int]) -> Address:
    """Parse the address of the recipient at place `n`. `seen` has the places of the addresses before it,
    and this one is added. Raises Unsendable.
    """
    to = parse_address(email)
    if name and name.strip():
        to = Address(to.address, name, to.spelling)
        _ = to.header
    first = seen.setdefault(to.address, n)
    if first != n:
        raise Unsendable(
            "duplicate", f"The address is in this list already, as number {first + 1}."
        )
    return to


def faulty_draft(recipient: str, n: int, error: Unsendable) -> Draft:
    """Return a draft that cannot be sent. Its key is its place and a hash of the recipient as given."""
    digest = sha256(recipient.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Draft(recipient=recipient, key=f"~{n}-{digest}", fault=error)
