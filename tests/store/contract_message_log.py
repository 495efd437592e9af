"""What every store must do with pages of the message log."""

import itertools
import random

import pytest

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import (
    AnyOccurrence,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    EventType,
    Identity,
    Open,
    Reject,
    RenderingFailure,
    Send,
    Subscription,
)
from sesight.domain.outcome import NOT_DELIVERED, derive_facts
from sesight.domain.ports import RecordFilter, RecordPage, Store
from sesight.domain.record import Record
from sesight.domain.timestamps import DAY
from tests.store.contract import BOTH, NOW, everything, put, record


class Pages:
    """Pages of records: every filter, in order, without gap or duplicate."""

    STEP = 1
    """Of the combinations of filters, every so many are tried."""

    @pytest.fixture
    def mail(self, store: Store) -> list[Record]:
        """Store various records; return them in the order of pages."""
        rng = random.Random(5)
        mixed = []
        for n in range(160):
            at = NOW - DAY - rng.randrange(5 * DAY)
            kinds: tuple[AnyOccurrence, ...] = rng.choice(
                [
                    (Send(at), Delivery(at + 1)),
                    (Send(at), Delivery(at + 1), Open(at + 2, None, "Mozilla/5.0")),
                    (Send(at), Delivery(at + 1), Click(at + 3, link="https://example.org/")),
                    (Send(at), Bounce(at + 1, None, "Permanent", "General")),
                    (Send(at), Bounce(at + 1, None, "Transient", "General")),
                    (Send(at), Bounce(at + 1, None, "Transient", "MailboxFull")),
                    (Send(at), Bounce(at + 1, None, "Permanent", "OnAccountSuppressionList")),
                    (Send(at), Delivery(at + 1), Complaint(at + 2, None, "abuse")),
                    (Send(at), Delivery(at + 1), Subscription(at + 2, None, "list", ("*",))),
                    (Send(at), Reject(at)),
                    (Send(at), RenderingFailure(at)),
                    (Send(at), DeliveryDelay(at + 1)),
                    (Send(at),),
                ]
            )
            tags = (
                ("campaign_id", rng.choice("ab")),
                ("campaign_month", rng.choice(["2024-09", "2024-10"])),
            )
            identity = Identity(at, tags=tags, provider=rng.choice(["ses", "ses", "legacy"]))
            mixed.append(
                record(
                    at,
                    n,
                    recipient=f"p{n % 9}@example.org",
                    stream=rng.choice(["outreach", "finance"]),
                    identity=identity,
                    timeline=kinds,
                )
            )
        for some in itertools.batched(mixed, 50) if hasattr(itertools, "batched") else [mixed]:
            put(store, *some)
        return sorted(mixed, key=lambda one: -one.sent_at)

    def expected(self, mail: list[Record], wanted: RecordFilter) -> list[Record]:
        """Return whether a record matches a filter, written as plainly as possible."""

        def holds(one: Record) -> bool:
            said = derive_facts(one.timeline)
            words = {said.outcome.word}
            words |= {"not_delivered"} if said.outcome in NOT_DELIVERED else set()
            words |= {"complained"} if said.complained_at else set()
            words |= {"unsubscribed"} if said.unsubscribed_at else set()
            place = one.tally.dimensions
            return (
                one.stream in wanted.streams
                and wanted.campaign in (None, one.campaign)
                and wanted.address in (None, one.recipient)
                and wanted.month in (None, place.month)
                and wanted.provider in (None, one.identity.provider)
                and (not wanted.outcomes or bool(words & set(wanted.outcomes)))
                and (wanted.event is None or wanted.event in [e.type for e in one.timeline])
                and (wanted.since is None or one.sent_at >= wanted.since)
                and (wanted.until is None or one.sent_at < wanted.until)
            )

        return [one for one in mail if holds(one)]

    def test_every_filter(self, store: Store, mail: list[Record]) -> None:
        """Every combination of filters finds exactly the matching records, over pages of any size."""
        months = [None, 2024 * 12 + 8]
        outcomes = [
            (),
            ("not_delivered",),
            ("bounced", "complained"),
            ("delivered", "rejected"),
            ("delayed",),
            ("unsubscribed",),
        ]
        events = [None, *[str(kind) for kind in EventType]]
        for number, (streams, campaign, address, month, said, event) in enumerate(
            itertools.product(
                [("outreach",), ("finance", "outreach")],
                [None, "a", "none"],
                [None, "p3@example.org"],
                months,
                outcomes,
                events,
            )
        ):
            if number % self.STEP:
                continue
            wanted = RecordFilter(
                streams=streams,
                campaign=campaign,
                address=address,
                month=month,
                outcomes=said,
                event=event,
                provider="legacy" if number % 7 == 0 else None,
                since=NOW - 4 * DAY if number % 3 == 0 else None,
                until=NOW - 2 * DAY if number % 5 == 0 else None,
            )
            assert everything(store, wanted, 1 + number % 40) == self.expected(mail, wanted), wanted

    def test_patience(self, store: Store) -> None:
        """A page that scanned many records for few matches says how far it got, and the next page
        continues there.
        """
        many = [record(NOW - n, n) for n in range(1, 100)]
        sought = record(
            NOW - 100,
            100,
            timeline=(Send(NOW - 100), Open(NOW - 90, None, "Mozilla/5.0")),
        )
        put(store, *many, sought)
        wanted = RecordFilter(streams=("outreach",), event="Open")
        first = store.messages(wanted, 2, None, NOW)
        assert (first.records, first.searched_to) == ([], NOW - 20)
        assert everything(store, wanted, 2) == [sought]

    def test_under_inserts(self, store: Store, mail: list[Record]) -> None:
        """Records stored while a client pages neither hide other records nor show one twice."""
        found: list[Record] = []
        cursor, first = None, None
        for number in itertools.count(1_000):
            page = store.messages(BOTH, 7, cursor, NOW)
            first = first or page
            found += page.records
            put(store, record(NOW - number, number), record(NOW - 9 * DAY + number, number))
            cursor = page.cursor
            if cursor is None or number > 1_200:
                break
        older = [one for one in found if one.sent_at < NOW - 8 * DAY]
        assert [one for one in found if one not in older] == mail
        assert len(set(older)) == len(older)

    def test_newer(self, store: Store, mail: list[Record]) -> None:
        """From any page a client can page up to newer records, including those stored since."""
        pages: list[RecordPage] = [store.messages(BOTH, 9, None, NOW)]
        while pages[-1].cursor:
            pages.append(store.messages(BOTH, 9, pages[-1].cursor, NOW))
        for above, below in itertools.pairwise(pages):
            assert store.messages(BOTH, 9, below.newer, NOW, newer=True).records == above.records
        top = store.messages(BOTH, 9, pages[0].newer, NOW, newer=True)
        assert top.records == []
        new = [record(NOW - 5, 7_000), record(NOW - 6, 7_001)]
        put(store, *new)
        up = store.messages(BOTH, 9, top.newer, NOW, newer=True)
        assert up.records == new
        down = store.messages(BOTH, 9, up.cursor, NOW)
        assert down.records == pages[0].records

    def test_newer_of_nothing(self, store: Store) -> None:
        """The cursor of an empty list returns the first records that are stored later."""
        page = store.messages(BOTH, 9, None, NOW)
        one = record()
        put(store, one)
        assert (page.records, page.cursor) == ([], None)
        assert store.messages(BOTH, 9, page.newer, NOW, newer=True).records == [one]

    def test_foreign_cursor(self, store: Store, mail: list[Record]) -> None:
        """A cursor that was altered, or made for another filter, is refused."""
        cursor = store.messages(BOTH, 9, None, NOW).cursor
        changed = ("B" if cursor[0] == "A" else "A") + cursor[1:]
        for wanted, text in [
            (BOTH, changed),
            (BOTH, ""),
            (BOTH, "ä"),
            (BOTH, cursor + "A"),
            (RecordFilter(streams=("outreach",)), cursor),
        ]:
            with pytest.raises(InvalidRequest):
                store.messages(wanted, 9, text, NOW)

    def test_unknown_words(self, store: Store) -> None:
        """Unknown outcomes and events are refused instead of returning an empty page."""
        for wanted in (
            RecordFilter(streams=("outreach",), outcomes=("vanished",)),
            RecordFilter(streams=("outreach",), event="Vanish"),
        ):
            with pytest.raises(InvalidRequest):
                store.messages(wanted, 9, None, NOW)
