"""Finance: drafts of statements, one for each statement of a request or a file.

Figures live in memory only, until the message is composed: nothing that is recorded has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from sesight.send.mailing import Draft
from sesight.send.message import OutgoingMessage, Unsendable
from sesight.send.message_defaults import MessageDefaults
from sesight.send.outreach import (
    KeyedHash,
    MessageTemplate,
    content_hash,
    faulty_draft,
    recipient_address,
)
from sesight.send.statements.files import RefusedStatement
from sesight.send.statements.model import Statement
from sesight.send.statements.renderer import StatementRenderer
from sesight.send.tags import campaign_tags, format_campaign_tag

STATEMENT_TAG = "statement_id"
"""The tag that identifies messages as attempts of one statement."""

Attempts = Callable[[str, str, str], int]
"""Counts earlier messages by address, month and statement tag."""


class StatementBatch(Struct, frozen=True, kw_only=True):
    """What all statements of a mailing share. `name` is the campaign's display name."""

    campaign: str
    name: str | None
    month: str
    template: MessageTemplate
    renderer: StatementRenderer
    message_defaults: MessageDefaults
    attempts: Attempts
    keyed_hash: KeyedHash


def drafts(
    statements: Sequence[Statement | RefusedStatement], batch: StatementBatch
) -> list[Draft]:
    """Return a draft for each statement, in their order; one that is refused has its reason.

    Raises InvalidRequest for a campaign or a month that no tag can hold.
    """
    _ = _tags(batch, "0", "0", 1)  # what is wrong with it fails the request, not one draft
    seen: set[str] = set()
    return [_draft(n, statement, batch, seen) for n, statement in enumerate(statements)]


def _draft(
    n: int, statement: Statement | RefusedStatement, batch: StatementBatch, seen: set[str]
) -> Draft:
    try:
        if isinstance(statement, RefusedStatement):
            raise Unsendable(statement.code, statement.sentence)
        if statement.month != batch.month:
            raise Unsendable("month", "The statement is of another month than this mailing.")
        if statement.id in seen:
            raise Unsendable("duplicate", "A statement of this id comes before it.")
        seen.add(statement.id)
        # one recipient may have several statements, so an address may be repeated
        to = recipient_address(statement.recipient, statement.name, n, {})
    except Unsendable as error:
        return faulty_draft(statement.recipient, n, error)

    def compose(send_id: str) -> OutgoingMessage:
        defaults, template = batch.message_defaults, batch.template
        tag = format_campaign_tag(statement.id)
        attempt = 1 + batch.attempts(to.address, statement.month, tag)
        url = defaults.url(to.address, format_campaign_tag(batch.campaign), send_id)
        name = batch.name or batch.campaign
        context = {**statement.context(template.language), **defaults.context(to, url, name)}
        return defaults.message(
            to,
            template.body(context),
            _tags(batch, send_id, tag, attempt),
            name,
            template=template.name,
            url=url,
            attachments=batch.renderer.attachments(statement, template.language),
        )

    return Draft(
        recipient=statement.recipient,
        key=statement.id,
        address=to.address,
        spelling=to.spelling,
        compose=compose,
        content=lambda: content_hash(
            batch.keyed_hash, batch.template, {**statement.context(), "name": to.name}
        ),
    )


def _tags(batch: StatementBatch, send_id: str, statement_tag: str, attempt: int) -> dict[str, str]:
    tags = campaign_tags(
        stream=batch.message_defaults.stream.id,
        campaign=batch.campaign,
        send_id=send_id,
        name=batch.name,
        kind="statement",
        month=batch.month,
        attempt=attempt,
    )
    return {**tags, STATEMENT_TAG: statement_tag}
