"""Finance: statements to their recipients. What a file or a request holds becomes drafts.

Figures live in the drafts only, until they are composed: nothing that is recorded has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from sesight.send.message import Outbound, Unsendable
from sesight.send.message_defaults import Stationery
from sesight.send.outreach import Seal, Template, content_mark, faulty, recipient
from sesight.send.sender import Draft
from sesight.send.statements.files import Refused
from sesight.send.statements.model import Statement
from sesight.send.statements.pdf import Paper
from sesight.send.tags import campaign_tags, format_campaign_tag

STATEMENT_TAG = "statement_id"
"""The tag by which messages are known to be attempts of one statement."""

Attempts = Callable[[str, str, str], int]
"""Returns how many messages an address (the first argument) got of a month's statement, by its tag."""


class Ledger(Struct, frozen=True, kw_only=True):
    """What all statements of an order share: the campaign, the month, how they are written, put on paper
    and sent, how many attempts there were, and a hash under a key of ours.
    """

    campaign: str
    name: str | None
    month: str
    template: Template
    paper: Paper
    stationery: Stationery
    attempts: Attempts
    seal: Seal


def drafts(entries: Sequence[Statement | Refused], ledger: Ledger) -> list[Draft]:
    """Return a draft for each statement, in their order; one that is refused has its reason.

    Raises InvalidRequest for a campaign or a month that no tag can hold.
    """
    _ = _tags(ledger, "0", "0", 1)  # what is wrong for one is so for all
    seen: set[str] = set()
    return [_draft(n, each, ledger, seen) for n, each in enumerate(entries)]


def _draft(n: int, entry: Statement | Refused, ledger: Ledger, seen: set[str]) -> Draft:
    try:
        if isinstance(entry, Refused):
            raise Unsendable(entry.code, entry.sentence)
        if entry.month != ledger.month:
            raise Unsendable("month", "The statement is of another month than what is sent.")
        if entry.id in seen:
            raise Unsendable("duplicate", "A statement of this id comes before it.")
        seen.add(entry.id)
        # one person may have several statements, so an address may come again
        to = recipient(entry.recipient, entry.name, n, {})
    except Unsendable as error:
        return faulty(entry.recipient, n, error)

    def compose(send_id: str) -> Outbound:
        tag = format_campaign_tag(entry.id)
        attempt = 1 + ledger.attempts(to.address, entry.month, tag)
        campaign = format_campaign_tag(ledger.campaign)
        url = ledger.stationery.url(to.address, campaign, send_id)
        name = ledger.name or ledger.campaign
        language = ledger.template.language
        told = {**entry.context(language), **ledger.stationery.given(to, url, name)}
        return ledger.stationery.outbound(
            to,
            ledger.template.body(told),
            _tags(ledger, send_id, tag, attempt),
            name,
            template=ledger.template.name,
            url=url,
            attachments=ledger.paper.attachments(entry, language),
        )

    return Draft(
        recipient=entry.recipient,
        key=entry.id,
        address=to.address,
        spelling=to.spelling,
        compose=compose,
        content=lambda: content_mark(
            ledger.seal, ledger.template, {**entry.context(), "name": to.name}
        ),
    )


def _tags(ledger: Ledger, send_id: str, statement: str, attempt: int) -> dict[str, str]:
    tags = campaign_tags(
        stream=ledger.stationery.stream.id,
        campaign=ledger.campaign,
        send_id=send_id,
        name=ledger.name,
        kind="statement",
        month=ledger.month,
        attempt=attempt,
    )
    return {**tags, STATEMENT_TAG: statement}
