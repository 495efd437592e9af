"""Records as bytes and back."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.event import AnyOccurrence, Delivery, Identity, Open, Send
from sesight.domain.record import Record
from sesight.domain.tally import Tally, TallyDimensions
from sesight.store.sqlite.message_id import pack, unpack
from sesight.store.sqlite.record_codec import decode, encode
from sesight.store.sqlite.row_id import LATEST
from sesight.store.sqlite.shared_values import SharedValues, ValueIds, pack_value
from tests.store.anything import message_ids, occurrences, records, ses_id, tallies


class Table:
    """The shared values, kept in memory."""

    def __init__(self) -> None:
        self.stored: list[bytes] = [b""]
        self.shared = ValueIds(self.number, 0)
        self.values = SharedValues(self.stored.__getitem__)

    def number(self, value: Any, _: int) -> int:
        data = pack_value(value)
        if data not in self.stored:
            self.stored.append(data)
        return self.stored.index(data)

    def encode(self, one: Record, before: Any = None) -> bytes:
        displaced = not 0 <= one.sent_at < LATEST
        return encode(one, pack(one.message_id)[1], self.shared, before, displaced=displaced)[0]

    def decode(self, one: Record, body: bytes) -> Any:
        return decode(pack(one.message_id)[0], body, one.sent_at, one.stream, self.values)


@given(records)
def test_lossless(one: Record) -> None:
    """Any record is decoded as it was encoded, and is encoded to the same bytes again, from its
    decoded parts or anew.
    """
    table = Table()
    body = table.encode(one)
    found = table.decode(one, body)
    assert found.record == one
    assert table.encode(found.record) == body
    assert table.encode(found.record, found) == body


@given(records, st.lists(occurrences, max_size=3), st.integers(0, 6), tallies)
def test_changed(one: Record, more: list[AnyOccurrence], place: int, tally: Tally | None) -> None:
    """A changed record has the same bytes whether unchanged parts are reused or encoded anew."""
    table = Table()
    before = table.decode(one, table.encode(one))
    timeline = before.record.timeline
    timeline = (*timeline[:place], *more, *timeline[place + 1 :])
    after = Record(
        one.message_id,
        one.recipient,
        one.stream,
        before.record.identity,
        timeline,
        one.capped,
        one.spelling,
        tally,
    )
    body = table.encode(after, before)
    assert table.decode(one, body).record == after
    assert body == table.encode(after)


@given(message_ids)
def test_message_ids(one: str) -> None:
    """Any message id is unpacked exactly, and its key is a positive 63-bit number."""
    key, kept = pack(one)
    assert (unpack(key, kept), 0 <= key < 1 << 63) == (one, True)


def test_message_keys_grow() -> None:
    """Keys of SES's ids grow with the time in them."""
    keys = [pack(ses_id(at, number))[0] for at, number in [(5, 9), (5, 1 << 31), (6, 0)]]
    assert keys == sorted(keys)


def test_size() -> None:
    """A record of ordinary mail takes under 200 bytes beside shared values."""
    at = 1_790_000_000_000
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    reply = "250 2.0.0 OK  1790000001 5b1f17b1804b1-432dc6d0a5bsi35461465e9.129 - gsmtp"
    one = Record(
        ses_id(at),
        "somebody@example.org",
        "outreach",
        Identity(
            at,
            "news@example.com",
            "What we have been doing all summer",
            "summer-letter",
            "5b1f17b1804b1432",
            tags=(("campaign_id", "summer"), ("campaign_name", "Summer_letter")),
        ),
        (
            Send(at),
            Delivery(at + 1_234, None, reply, "a8-70.smtp-out.eu-west-1.amazonses.com", 1_234),
            Open(at + 60_000, None, agent, "203.0.113.0", "Unlikely"),
            Open(at + 90_000, None, agent, "203.0.113.0", "Unlikely"),
        ),
        tally=Tally(
            1, TallyDimensions("outreach", "summer", 20_000, "gmail"), 9, 3, 259, (2,), (0, 0)
        ),
    )
    assert len(Table().encode(one)) < 200
