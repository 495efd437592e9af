"""Finance: statements to their recipients. What a file or a request holds becomes drafts.

Figures live in the drafts only, until they are composed: nothing that is recorded has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from sesight.send.mailing import Draft
from sesight.send.message import OutgoingMessage, Unsendable
from sesight.send.message_defaults import MessageDefaults
from sesight.send.outreach import KeyedHash, MessageTemplate, content_mark, faulty, recipient
from sesight.send.statements.files import RefusedStatement
from sesight.send.statements.model import Statement
from sesight.send.statements.renderer import StatementRenderer
from sesight.send.tags import campaign_tags, format_campaign_tag

STATEMENT_TAG = "statement_id"
"""The tag by which messages are known to be attempts of one statement."""

Attempts = Callable[[str, str, str], int]
"""Returns how many messages an address (the first argument) got of a month's statement, by its tag."""


class StatementBatch(Struct, frozen=True, kw_only=True):
    """What all statements of an order share: the campaign, the month, how they are written, put on paper
    and sent, how many attempts there were, and a hash under a key of ours.
    """

    campaign: str
    name: str | None
    month: str
    template: MessageTemplate
    renderer: StatementRenderer
    message_defaults: MessageDefaults
    attempts: Attempts
    keyed_hash: KeyedHash


def drafts(entries: Sequence[Statement | RefusedStatement], batch: StatementBatch) -> list[Draft]:
    """Return a draft for each statement, in their order; one that is refused has its reason.

    Raises InvalidRequest for a campaign or a month that no tag can hold.
    """
    _ = _tags(batch, "0", "0", 1)  # what is wrong for one is so for all
    seen: set[str] = set()
    return [_draft(n, each, batch, seen) for n, each in enumerate(entries)]


def _draft(
    n: int, entry: Statement | RefusedStatement, batch: StatementBatch, seen: set[str]
) -> Draft:
    try:
        if isinstance(entry, RefusedStatement):
            raise Unsendable(entry.code, entry.sentence)
        if entry.month != batch.month:
            raise Unsendable("month", "The statement is of another month than what is sent.")
        if entry.id in seen:
            raise Unsendable("duplicate", "A statement of this id comes before it.")
        seen.add(entry.id)
        # one person may have several statements, so an address may come again
        to = recipient(entry.recipient, entry.name, n, {})
    except Unsendable as error:
        return faulty(entry.recipient, n, error)

    def compose(send_id: str) -> OutgoingMessage:
        tag = format_campaign_tag(entry.id)
        attempt = 1 + batch.attempts(to.address, entry.month, tag)
        campaign = format_campaign_tag(batch.campaign)
        url = batch.message_defaults.url(to.address, campaign, send_id)
        name = batch.name or batch.campaign
        language = batch.template.language
        values = {**entry.context(language), **batch.message_defaults.context(to, url, name)}
        return batch.message_defaults.message(
            to,
            batch.template.body(values),
            _tags(batch, send_id, tag, attempt),
            name,
            template=batch.template.name,
            url=url,
            attachments=batch.renderer.attachments(entry, language),
        )

    return Draft(
        recipient=entry.recipient,
        key=entry.id,
        address=to.address,
        spelling=to.spelling,
        compose=compose,
        content=lambda: content_mark(
            batch.keyed_hash, batch.template, {**entry.context(), "name": to.name}
        ),
    )


def _tags(batch: StatementBatch, send_id: str, statement: str, attempt: int) -> dict[str, str]:
    tags = campaign_tags(
        stream=batch.message_defaults.stream.id,
        campaign=batch.campaign,
        send_id=send_id,
        name=batch.name,
        kind="statement",
        month=batch.month,
        attempt=attempt,
    )
    return {**tags, STATEMENT_TAG: statement}
