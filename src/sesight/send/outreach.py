"""Outreach: template mail to people. A request, a list or a file becomes drafts."""

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
"""A hash, in hex digits, under a key of ours."""


class MessageTemplate(Protocol):
    """A template that was checked for its stream."""

    name: str
    language: str | None

    @property
    def version(self) -> str:
        """Return a hash of all that messages are made of but what is told."""
        ...

    def body(self, context: Mapping[str, Any]) -> RenderedTemplate | TemplatedContent:
        """Return what the template makes of a context. Raises Unsendable for what that lacks."""
        ...


def drafts(
    people: Iterable[TemplateRecipient],
    campaign: CampaignDetails,
    template: MessageTemplate,
    message_defaults: MessageDefaults,
    context: Mapping[str, Any],
    keyed_hash: KeyedHash,
) -> list[Draft]:
    """Return a draft for each person, in their order. `context` is what all are told alike; `seal` is a
    hash under a key of ours.

    What a person's own context says wins over it; `email`, `name`, `unsubscribe_url`,
    `postal_address` and `campaign` are given to every template.
    Raises InvalidRequest for a campaign that no tag can hold.
    """
    _ = _tags(campaign, message_defaults, "0")  # a campaign that is wrong is so for everybody
    seen: dict[str, int] = {}
    return [
        _draft(n, person, campaign, template, message_defaults, context, keyed_hash, seen)
        for n, person in enumerate(people)
    ]


def _draft(
    n: int,
    person: TemplateRecipient,
    campaign: CampaignDetails,
    template: MessageTemplate,
    message_defaults: MessageDefaults,
    context: Mapping[str, Any],
    keyed_hash: KeyedHash,
    seen: dict[str, int],
) -> Draft:
    try:
        to = recipient(person.email, person.name, n, seen)
    except Unsendable as error:
        return faulty(person.email, n, error)

    def compose(send_id: str) -> OutgoingMessage:
        url = message_defaults.url(to.address, format_campaign_tag(campaign.id), send_id)
        name = campaign.name or campaign.id
        values = {**context, **person.context, **message_defaults.context(to, url, name)}
        tags = _tags(campaign, message_defaults, send_id)
        content = template.body(values)
        return message_defaults.message(
            to, content, tags, name, template=template.name, url=url, tracked=person.tracked
        )

    return Draft(
        recipient=person.email,
        key=to.address,
        address=to.address,
        spelling=to.spelling,
        compose=compose,
        content=lambda: content_mark(
            keyed_hash,
            template,
            {**context, **person.context, "name": to.name or context.get("name")},
        ),
    )


def content_mark(
    keyed_hash: KeyedHash, template: MessageTemplate, values: Mapping[str, Any]
) -> str:
    """Return what tells whether a message would be made of the same template and values again; nobody
    can find the values by it.
    """
    made_of = (template.name, template.version, values)
    return keyed_hash(msgspec.json.encode(made_of, order="deterministic"))[:32]


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


def recipient(email: str, name: str | None, n: int, seen: dict[str, int]) -> Address:
    """Read a recipient's address; `seen` are those before it, by place. Raises Unsendable."""
    to = parse_address(email)
    if name and name.strip():
        to = Address(to.address, name, to.spelling)
        _ = to.header
    before = seen.setdefault(to.address, n)
    if before != n:
        raise Unsendable(
            "duplicate", f"The address is in this list already, as number {before + 1}."
        )
    return to


def faulty(given: str, n: int, error: Unsendable) -> Draft:
    """Return a draft of what cannot be sent; its key is its place and a hash of what was given."""
    digest = sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Draft(recipient=given, key=f"~{n}-{digest}", fault=error)
