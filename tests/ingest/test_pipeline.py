"""What becomes of each reading of a batch, and when a sender must try again."""

import itertools
from pathlib import Path

import pytest
from msgspec.structs import replace

from sesight.domain.event import Accepted, Delivery, Disposition, Event, Identity, Report, Send
from sesight.domain.ports import RecordKey
from sesight.domain.quarantine import QUARANTINE_BODIES
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.reader import read
from sesight.ingest.reading import EmptyReading, EventReading, Reading, UnreadableReading
from tests.builders import NOW
from tests.laws.ledger import Ledger
from tests.payload import payload, raw
from tests.reception import RULES, Reception

ANA, BO = "ana@contoso.example", "bo@contoso.example"


def sent_to(*recipients: str) -> Reading:
    """Return a message sent to recipients."""
    reports = tuple(Report(each, Send(NOW - DAY)) for each in recipients)
    event = Event("m-1", Identity(NOW - DAY), reports, "outreach-tracking")
    return EventReading("file", event)


def processed(ledger: Ledger, *readings: Reading) -> list[tuple[str, str | None]]:
    """Return dispositions and reasons of one batch."""
    pipeline = Pipeline(ledger, RULES, lambda: NOW, lambda _: None)
    return [(each.disposition.value, each.reason) for each in pipeline.process(readings)]


def test_highest_disposition() -> None:
    """An event over several records has the highest of created, updated and duplicate."""
    ledger = Ledger()
    assert processed(ledger, sent_to(ANA), sent_to(ANA, BO), sent_to(ANA, BO)) == [
        ("created", None),
        ("created", None),
        ("duplicate", None),
    ]


def test_card_by_the_minute(reception: Reception) -> None:
    """A card tells the minutes of the first and the last send and of the last event, so that it is not
    another one after each event.
    """
    minute = (NOW - DAY) // 60_000 * 60_000
    identity = Identity(minute + 59_999, tags=(("campaign_id", "a"),))
    happened = (Send(minute + 59_999), Delivery(minute + 60_001))
    reception.process(
        [
            EventReading("file", Event("m-1", identity, (Report(ANA, one),), "outreach-tracking"))
            for one in happened
        ]
    )
    card = reception.store.card("outreach", "a")
    times = (card.first_sent_at, card.last_sent_at, card.last_event_at)
    assert times == (minute, minute, minute + 60_000)


def test_whole_answer(reception: Reception) -> None:
    """What became of a reading says where it was counted and which records it concerns."""
    readings = read(raw("delivery.json"), "sqs")
    message = payload("delivery")["mail"]["messageId"]
    [done] = reception.process(readings)
    assert done == Processed(
        readings[0],
        Disposition.CREATED,
        None,
        "outreach",
        replace(reception.record(message, "ana@example.org"), tally=None),
        (RecordKey(message, "ana@example.org"),),
    )
    assert done.campaign == "digest-2026-11"


def test_empty_batch(reception: Reception) -> None:
    """A batch of nothing is answered with nothing."""
    assert reception.process([]) == []


def test_confirmed() -> None:
    """A topic subscription that was confirmed is said to be."""
    confirmed = EmptyReading("http", "subscription", confirmed=True)
    assert processed(Ledger(), confirmed) == [("confirmed", "subscription")]


def test_full_quarantine() -> None:
    """What is not understood is refused when the quarantine is full, never dropped; what only has no
    route yet is counted, and a body kept already needs no second place in a batch.
    """
    ledger = Ledger(free=1)
    odd = [UnreadableReading("file", "not-json", "x", body) for body in (b"a", b"b")]
    assert processed(ledger, odd[0], odd[0], odd[1]) == [
        ("quarantined", "not-json"),
        ("quarantined", "not-json"),
        ("refused", "quarantine-full"),
    ]
    unrouted = [read(raw(f"feedback_{name}.json"), "file")[0] for name in ("bounce", "delivery")]
    assert processed(ledger, *unrouted) == [("quarantined", "unrouted")] * 2
    assert [each.reason for each in ledger.waiting.values()] == ["not-json", "unrouted"]


def test_room_is_left_for_what_comes_live() -> None:
    """What is not understood in a file fills half of the quarantine, by number and by bytes, so that
    what comes live still has the other half; what only waits may fill it all.
    """
    odd = [UnreadableReading("file", "not-json", "x", b"%d" % n) for n in range(4)]
    ledger = Ledger(free=QUARANTINE_BODIES // 2 + 2)
    pipeline = Pipeline(ledger, RULES, lambda: NOW, lambda _: None)
    waiting = read(raw("feedback_bounce.json"), "file")
    done = [
        *pipeline.process([*odd, *waiting], at_rest=True),
        *pipeline.process([UnreadableReading("http", "not-json", "x", b"live")]),
    ]
    assert [each.reason for each in done] == [
        *("not-json", "not-json", "quarantine-full", "quarantine-full", "unrouted", "not-json")
    ]
    large = [UnreadableReading("file", "malformed", "x", bytes([n]) * (12 << 20)) for n in range(3)]
    assert [each.reason for each in pipeline.process(large, at_rest=True)] == [
        *("malformed", "malformed", "quarantine-full")
    ]


def test_lost_keys() -> None:
    """An event of which a record could not be stored is refused, so that its sender tries again; the
    others of the batch are not.
    """
    ledger = Ledger(lost=frozenset({RecordKey("m-1", BO)}))
    other = read(raw("send.json"), "file")[0]
    assert processed(ledger, sent_to(ANA), sent_to(ANA, BO), other) == [
        ("created", None),
        ("refused", "store"),
        ("created", None),
    ]


def test_observer_is_told(reception: Reception) -> None:
    """The observer is told of each batch, after its commit."""
    told: list[tuple[int, list[Processed]]] = []

    def observe(batch: list[Processed]) -> None:
        told.append((len(reception.records("m-1")), batch))

    pipeline = Pipeline(reception.store, reception.rules, lambda: NOW, observe)
    done = pipeline.process([sent_to(ANA, BO)])
    assert told == [(2, done)]


@pytest.mark.parametrize("stream", ["outreach", "finance"])
def test_named_stream(reception: Reception, stream: str) -> None:
    """A replay that names a stream sends there what has no configuration set of ours."""
    [reading] = read(raw("feedback_delivery.json"), "file", stream=stream)
    [done] = reception.process([reading])
    assert (done.disposition, done.stream) == (Disposition.CREATED, stream)
    assert reception.totals(stream)["delivered"] == 1


def test_name_of_a_campaign(tmp_path: Path) -> None:
    """What our own sender says of a message keeps the campaign's name as its owner wrote it, and its
    records with what SES says of it, whichever comes first.
    """
    tags = (("campaign_id", "spring"), ("campaign_name", "Uber-uns-3f2a9c10"))
    told = (*tags, ("campaign_name", "Über uns"))
    events = [
        Event("m-1", Identity(NOW, tags=said), (Report(ANA, kind(NOW)),), "outreach-tracking")
        for said, kind in ((tags, Send), (told, Accepted))
    ]
    for n, order in enumerate(itertools.permutations(events)):
        folder = tmp_path / str(n)
        folder.mkdir()
        reception = Reception(folder)
        for event in order:
            reception.process([EventReading("file", event)])
        card = reception.store.card("outreach", "spring")
        assert card is not None
        assert card.name == "Über uns"
        assert reception.record("m-1", ANA).identity.tags == told
        reception.store.close()
