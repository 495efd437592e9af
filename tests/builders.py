"""Events in the words of the domain, varied by keyword, and their way into a store or a sum."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from sesight.domain.card import Card
from sesight.domain.counting import Counting, tally_of
from sesight.domain.event import (
    UNATTRIBUTED,
    AnyOccurrence,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Event,
    Identity,
    Open,
    Reject,
    RenderingFailure,
    Report,
    Send,
    Subscription,
)
from sesight.domain.ports import Changes, RecordKey, Store, View
from sesight.domain.record import Record, fold
from sesight.domain.rollup import Deltas, RollupRow
from sesight.domain.stream import FINANCE, OUTREACH
from sesight.domain.suppression.item import Suppression, with_cause
from sesight.domain.suppression.policy import (
    SuppressionPolicy,
    causes_of,
    streams_in_scope,
    with_counted,
)
from sesight.domain.timestamps import DAY, HOUR

NOW = 1_795_500_000_000 // DAY * DAY + 12 * HOUR
"""Noon of the day the tests are at: 24 November 2026, UTC."""

COUNTING = Counting({"outreach": OUTREACH, "finance": FINANCE}, ("campaign_step",))
POLICY = SuppressionPolicy()

OUTLOOK = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17126; Pro)"
APPLE_MPP = "Mozilla/5.0"

Told = tuple[str, Event]
"""An event and the stream it was published for."""

_ids = count(1)


def message_id() -> str:
    """Return an id as SES makes them, another each time."""
    return f"0102019{next(_ids):09x}-7f3c2a10-5b6e-4d1a-9c3f-000000000000-000000"


def event(
    occurrence: AnyOccurrence,
    to: str = "ana@contoso.example",
    *,
    message: str = "m-1",
    stream: str = "outreach",
    campaign: str | None = "winter-b",
    sent_at: int = NOW - DAY,
    **identity: Any,
) -> Told:
    """Return one event about one recipient; further keywords go to its Identity, tags included."""
    tags = dict(identity.pop("tags", ()))
    if campaign is not None:
        tags["campaign_id"] = campaign
    identity.setdefault("sender", "news@news.example.com")
    identity.setdefault("subject", "Winter")
    known = Identity(sent_at, tags=tuple(sorted(tags.items())), **identity)
    return stream, Event(message, known, (Report(to, occurrence),))


def sent(to: str = "ana@contoso.example", **about: Any) -> Told:
    """SES accepted the message."""
    return event(Send(about.get("sent_at", NOW - DAY)), to, **about)


def delivery(to: str = "ana@contoso.example", after: int = 1_300, **about: Any) -> Told:
    """The recipient's server took the message, `after` ms from its send."""
    at = about.get("sent_at", NOW - DAY) + after
    return event(
        Delivery(at, reply="250 2.0.0 OK", mta="mx.contoso.example", millis=after), to, **about
    )


def delay(to: str = "ana@contoso.example", after: int = 600_000, **about: Any) -> Told:
    """The message could not be delivered yet."""
    at = about.get("sent_at", NOW - DAY) + after
    return event(DeliveryDelay(at, kind="TransientCommunicationFailure"), to, **about)


def bounce(
    to: str = "ana@contoso.example",
    kind: str = "Permanent",
    sub_type: str = "General",
    status: str | None = "5.1.1",
    after: int = 2_000,
    action: str | None = "failed",
    **about: Any,
) -> Told:
    """The message came back."""
    at = about.get("sent_at", NOW - DAY) + after
    reply = f"smtp; 550 {status} no such user"
    held = Bounce(at, kind=kind, sub_type=sub_type, reply=reply, status=status, action=action)
    return event(held, to, **about)


def complaint(to: str = "ana@contoso.example", after: int = HOUR, **about: Any) -> Told:
    """Somebody marked the message as spam; to `*`, one of several did."""
    at = about.get("sent_at", NOW - DAY) + after
    return event(Complaint(at, kind="abuse"), to, **about)


def opened(
    to: str = "ana@contoso.example",
    after: int = 2 * HOUR,
    agent: str | None = OUTLOOK,
    **about: Any,
) -> Told:
    """The pixel was fetched, by a person unless the agent says otherwise."""
    at = about.get("sent_at", NOW - DAY) + after
    return event(Open(at, agent=agent, ip="203.0.113.0"), to, **about)


def clicked(
    to: str = "ana@contoso.example",
    after: int = 3 * HOUR,
    link: str | None = "https://example.com/pricing",
    agent: str | None = OUTLOOK,
    **about: Any,
) -> Told:
    """A link was fetched, by a person unless the agent says otherwise."""
    at = about.get("sent_at", NOW - DAY) + after
    return event(Click(at, agent=agent, ip="203.0.113.0", link=link), to, **about)


def unsubscribed(to: str = "ana@contoso.example", after: int = 4 * HOUR, **about: Any) -> Told:
    """The contact left the list."""
    at = about.get("sent_at", NOW - DAY) + after
    return event(Subscription(at, contact_list="news", left=("*",), source="link"), to, **about)


def rejected(to: str = "ana@contoso.example", **about: Any) -> Told:
    """SES found a virus."""
    held = Reject(about.get("sent_at", NOW - DAY), clock="sent", reason="Bad content")
    return event(held, to, **about)


def not_rendered(to: str = "ana@contoso.example", **about: Any) -> Told:
    """The template could not be filled in."""
    held = RenderingFailure(about.get("sent_at", NOW - DAY), clock="sent", error="no name")
    return event(held, to, **about)


def folded(told: Iterable[Told], known: Iterable[Record] = ()) -> dict[RecordKey, Record]:
    """Return the records the events make, counted."""
    records = {RecordKey(record.message_id, record.recipient): record for record in known}
    for stream, happened in told:
        for report in happened.reports:
            key = RecordKey(happened.message_id, report.recipient)
            records[key] = fold(records.get(key), happened, report, stream)
    return {key: _counted(record) for key, record in records.items()}


def record(*told: Told) -> Record:
    """Return the only record that the events make, counted."""
    [only] = folded(told).values()
    return only


def _counted(record: Record) -> Record:
    tally = tally_of(record, COUNTING)
    return Record(
        record.message_id,
        record.recipient,
        record.stream,
        record.identity,
        record.timeline,
        record.capped,
        record.spelling,
        tally,
    )


def rows_of(told: Iterable[Told]) -> list[RollupRow]:
    """Return the rollup rows of events alone in the world."""
    deltas = Deltas()
    for record in folded(told).values():
        assert record.tally is not None
        deltas.add(None, record.tally)
    return [RollupRow(key, counts) for key, counts in deltas.rows().items()]


def fill(store: Store, told: Iterable[Told], newest_at: int = NOW) -> None:
    """Commit events to a store as intake does: records, totals, cards and suppressions at once."""
    told = list(told)

    def change(view: View) -> Changes:
        held = view.records({happened.message_id for _, happened in told})
        before = {RecordKey(r.message_id, r.recipient): r for known in held.values() for r in known}
        after = folded(told, before.values())
        deltas = Deltas()
        cards: dict[tuple[str, str], Card] = {}
        for key, record in after.items():
            assert record.tally is not None
            known = before.get(key)
            deltas.add(None if known is None else known.tally, record.tally)
            card = _card(record)
            of = (record.stream, record.campaign)
            cards[of] = cards[of].joined(card) if of in cards else card
        return Changes(after, _suppressions(view, told), deltas.rows(), cards, [], [], newest_at)

    assert store.transact(change) == set()
    store.settle()


def _card(record: Record) -> Card:
    who = record.identity
    return Card(
        record.stream,
        record.campaign,
        record.tag("campaign_name"),
        who.provider,
        who.sender,
        who.subject,
        who.template,
        who.sent_at,
        who.sent_at,
        max(occurrence.at for occurrence in record.timeline),
    )


def _suppressions(view: View, told: list[Told]) -> dict[tuple[str, str], Suppression]:
    items: dict[tuple[str, str], Suppression] = {}
    for stream, happened in told:
        for report in happened.reports:
            if report.recipient == UNATTRIBUTED:
                continue
            of = COUNTING.streams[stream]
            for address, cause in causes_of(happened, report, of, "winter-b", POLICY):
                for reached in streams_in_scope(cause.scope, stream, COUNTING.streams):
                    key = (reached, address)
                    known = items.get(key) or view.suppressions([key]).get(key)
                    items[key] = with_cause(known, reached, address, cause)
    return {key: with_counted(item, NOW, POLICY) for key, item in items.items()}
