"""The DynamoDB store under many writers at once, throttling, outages and crashes: nothing is lost."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import EndpointConnectionError

from sesight.domain.errors import StoreUnavailable
from sesight.domain.event import Bounce, Click, Delivery, Event, Identity, Open, Report, Send
from sesight.domain.ports import RecordFilter, RecordKey
from sesight.domain.record import Record, fold
from sesight.domain.rollup import Deltas, RollupKey, Rollups
from sesight.domain.suppression.manual import AddSuppression
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.tally import COUNTERS
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.reading import EventReading, Reading, UnreadableReading
from sesight.ingest.rules import Rules
from sesight.store import open_store
from sesight.store.dynamodb.store import DynamoStore
from tests.store.contract import COUNTING, NOW, counted, put, record
from tests.store.engine import url_of
from tests.store.faulty import LostAnswers, make_faulty, refusal

WORKERS = 16

DELIVERIES = 20
"""How often a queue of the tests delivers an event."""


@pytest.fixture
def url(dynamodb: str) -> str:
    """The URL of the store's tables."""
    return url_of(dynamodb)


@pytest.fixture
def store(url: str) -> Iterator[DynamoStore]:
    """A new store."""
    opened = open_store(url, clock=lambda: NOW)
    yield opened
    opened.close()


def pipeline_of(store: DynamoStore) -> Pipeline:
    """Return a pipeline into the store."""
    rules = Rules(counting=COUNTING, suppression=SuppressionPolicy(), live_from=store.live_from)
    return Pipeline(store, rules, lambda: NOW, lambda _: None)


def readings(events: list[Event]) -> list[Reading]:
    """Return events as read from a file."""
    return [EventReading("file", event) for event in events]


def mail(rng: random.Random, messages: int, *, bounces: bool = True) -> list[Event]:
    """Return the events of some messages of one campaign."""
    events = []
    for n in range(messages):
        at = NOW - 86_400_000 + n
        identity = Identity(at, "news@example.com", "Hello", tags=(("campaign_id", "spring"),))
        kinds = [Send(at), Delivery(at + 5, None, "250 ok")]
        kinds += [Open(at + rng.randrange(10**6), None, "Mozilla/5.0") for _ in range(4)]
        kinds += [Click(at + rng.randrange(10**6), link="https://x.example/a") for _ in range(2)]
        if bounces and n % 4 == 0:
            kinds.append(Bounce(at + 9, None, "Permanent", "General", status="5.1.1"))
        events += [
            Event(
                f"m{n}",
                identity,
                (Report(f"r{n}@example.org", kind),),
                "outreach-tracking",
            )
            for kind in kinds
        ]
    return events


def folded(events: list[Event]) -> dict[RecordKey, Record]:
    """Return the records that events fold to, each once and in order."""
    found: dict[RecordKey, Record] = {}
    for event in events:
        for report in event.reports:
            key = RecordKey(event.message_id, report.recipient)
            found[key] = fold(found.get(key), event, report, "outreach")
    return {key: counted(one) for key, one in found.items()}


def held(store: DynamoStore, events: list[Event]) -> dict[RecordKey, Record]:
    """Return the stored records of the events' messages."""
    return {
        RecordKey(one.message_id, one.recipient): one
        for name in {event.message_id for event in events}
        for one in store.message(name, NOW)
    }


def test_many_at_once(url: str) -> None:
    """After sixteen processors of shuffled and repeated events, every record equals the fold of all
    events, every address is suppressed that should be, and totals equal the sum of tallies. Refused
    events are redelivered, as by a queue.
    """
    rng = random.Random(8)
    events = mail(rng, 24)
    told = events + rng.sample(events, len(events) // 3)
    rng.shuffle(told)
    batches = [told[at : at + 7] for at in range(0, len(told), 7)]
    stores = [open_store(url, clock=lambda: NOW) for _ in range(WORKERS)]
    pipelines = [pipeline_of(one) for one in stores]

    def process(number: int) -> list[str]:
        dispositions: list[str] = []
        left = readings(batches[number])
        for _ in range(DELIVERIES):
            answers = pipelines[number % WORKERS].process(left)
            dispositions += [str(one.disposition) for one in answers]
            left = [one.reading for one in answers if one.disposition == "refused"]
            if not left:
                break
        assert not left
        return dispositions

    with ThreadPoolExecutor(WORKERS) as threads:
        dispositions = [one for batch in threads.map(process, range(len(batches))) for one in batch]
    expected = folded(events)
    assert held(stores[0], events) == expected
    assert dispositions.count("created") >= len(expected)
    assert sum(one.conflicts for one in stores) > 0
    bounced = [f"r{n}@example.org" for n in range(0, 24, 4)]
    for stream in ("outreach", "finance"):
        items = [stores[0].suppression(stream, address) for address in bounced]
        assert all(item is not None and item.counted is not None for item in items)
    stores[0].settle()
    deltas = Deltas()
    for one in expected.values():
        deltas.add(None, one.tally)
    rows: Rollups = {
        row.key: list(row.counts)
        for family in ("day", "age", "hour", "link")
        for campaign in ("", "spring")
        for row in stores[0].rollups(family, "outreach", campaign)
    }
    assert rows == deltas.rows()
    for one in stores:
        one.close()


def test_unprocessed(store: DynamoStore) -> None:
    """Keys that DynamoDB leaves unprocessed are requested again until all are read."""
    many = [record(NOW - n, n) for n in range(250)]
    put(store, *many)
    rng = random.Random(1)

    def some_only(true: Callable, **arguments: dict) -> dict:
        now, later = {}, {}
        for table, asked in arguments["RequestItems"].items():
            parts: tuple[list, list] = ([], [])
            for key in asked["Keys"]:
                parts[rng.random() < 0.5].append(key)
            for found, keys in zip((now, later), parts, strict=True):
                if keys:
                    found[table] = {**asked, "Keys": keys}
        answer = true(RequestItems=now) if now else {"Responses": {}}
        return {"Responses": answer["Responses"], "UnprocessedKeys": later}

    make_faulty(store, batch_get_item=some_only)
    assert store.messages(RecordFilter(streams=("outreach",)), 500, None, NOW).records == many


def test_throttled(store: DynamoStore) -> None:
    """Throttled calls and statements are retried and counted by table."""
    rng = random.Random(2)

    def throttled_call(true: Callable, **arguments: object) -> dict:
        if rng.random() < 0.5:
            raise refusal(
                "ThrottlingException",
                ThrottlingReasons=[{"reason": "x", "resource": "arn:…/index/CampaignIndex"}],
            )
        return true(**arguments)

    def throttled_statements(true: Callable, **arguments: list) -> dict:
        asked = arguments["Statements"]
        through = [n for n in range(len(asked)) if rng.random() < 0.5]
        found = [{"Error": {"Code": "ThrottlingError"}} for _ in asked]
        if through:
            answers = true(Statements=[asked[n] for n in through])["Responses"]
            for n, answer in zip(through, answers, strict=True):
                found[n] = answer
        return {"Responses": found}

    make_faulty(
        store,
        batch_get_item=throttled_call,
        put_item=throttled_call,
        batch_execute_statement=throttled_statements,
    )
    events = mail(rng, 30)
    answers = pipeline_of(store).process(readings(events))
    assert "refused" not in {str(one.disposition) for one in answers}
    assert held(store, events) == folded(events)
    table = store.tables["outreach"].tracking.name
    assert store.throttled["arn:…/index/CampaignIndex"] > 0
    assert store.throttled[table] > 0


def test_out_of_time(url: str) -> None:
    """Only what cannot be written in time is reported back, and it is stored later."""
    left = [1.0]
    store = open_store(url, clock=lambda: NOW)
    store.limit_time(lambda: left[0])

    def without_one(true: Callable, **arguments: list) -> dict:
        good = [one for one in arguments["Statements"] if {"S": "m3"} not in one["Parameters"]]
        answers = true(Statements=good)["Responses"] if good else []
        throttled = {"Error": {"Code": "ThrottlingError"}}
        return {
            "Responses": [
                answers.pop(0) if one in good else throttled for one in arguments["Statements"]
            ]
        }

    client = store.client.botocore
    make_faulty(store, batch_execute_statement=without_one)
    events = mail(random.Random(3), 10, bounces=False)
    answers = pipeline_of(store).process(readings(events))
    refused = {one.reading.event.message_id for one in answers if str(one.disposition) == "refused"}
    assert refused == {"m3"}
    store.client.botocore = client
    left[0] = 20.0
    pipeline_of(store).process(readings(events))
    assert held(store, events) == folded(events)
    store.close()


def test_outage(url: str) -> None:
    """While DynamoDB is unreachable, a batch is refused as a whole and reads fail; later all of it
    is stored.
    """
    store = open_store(url, clock=lambda: NOW)
    store.limit_time(lambda: 0.2)

    def away(true: Callable, **_: object) -> dict:
        raise EndpointConnectionError(endpoint_url="http://x")

    client = store.client.botocore
    names = ("batch_get_item", "get_item", "put_item", "query", "batch_execute_statement")
    make_faulty(store, **dict.fromkeys(names, away))
    events = mail(random.Random(4), 5)
    for ask in (
        lambda: pipeline_of(store).process(readings(events)),
        lambda: store.messages(RecordFilter(streams=("outreach",)), 9, None, NOW),
        lambda: store.card("outreach", "spring"),
    ):
        with pytest.raises(StoreUnavailable):
            ask()
    store.client.botocore = client
    pipeline_of(store).process(readings(events))
    assert held(store, events) == folded(events)
    store.close()


def test_forbidden(store: DynamoStore) -> None:
    """A call that the credentials do not allow fails with a clear sentence and is not retried."""
    asked = []

    def refused(true: Callable, **_: object) -> dict:
        asked.append(1)
        raise refusal("AccessDeniedException")

    make_faulty(store, get_item=refused)
    with pytest.raises(StoreUnavailable, match="to get_item: the credentials in use have expired"):
        store.card("outreach", "spring")
    assert asked == [1]


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("crashes_before", ["put_item", "batch_execute_statement", "update_item"])
def test_crash(store: DynamoStore, crashes_before: str) -> None:
    """Wherever a batch breaks off, its redelivery leads to the same record, suppression and card."""
    rng = random.Random(5)
    broken = []

    def crash_once(true: Callable, **arguments: object) -> dict:
        if not broken:
            broken.append(1)
            raise Crash
        return true(**arguments)

    make_faulty(store, **{crashes_before: crash_once})
    events = mail(rng, 12)
    with pytest.raises(Crash):
        pipeline_of(store).process(readings(events))
    pipeline_of(store).process(readings(events))
    assert held(store, events) == folded(events)
    assert store.suppression("finance", "r0@example.org") is not None
    assert store.card("outreach", "spring").last_sent_at == NOW - 86_400_000
    store.settle()
    assert store.cards(["outreach"])[0][1][0] == 12


def test_repair_whose_answer_is_lost(store: DynamoStore) -> None:
    """Increments of a repair whose answer is lost on the way are added once."""
    put(store, record(NOW, 1))
    store.settle()
    (row, *_) = store.rollups("day", "outreach", dimension="")
    lost = LostAnswers(store, "TransactWriteItems", each=2)
    store.repair({row.key: [5] * len(row.counts)})
    assert lost.lost == 2
    (mended, *_) = store.rollups("day", "outreach", dimension="")
    assert mended.counts == [n + 5 for n in row.counts]


@pytest.mark.parametrize(
    "operation", ["PutItem", "UpdateItem", "BatchExecuteStatement", "TransactWriteItems"]
)
def test_lost_answers(url: str, operation: str) -> None:
    """A batch and manual suppressions whose writes got no answer have the same result, and the same
    report, as those whose writes were answered.
    """
    events = mail(random.Random(7), 30)
    bounced = Report("late@example.org", Bounce(NOW - 5, None, "Permanent", "General"))
    unrouted = Event("m-unknown", Identity(NOW - 9), (bounced,))
    garbage = [UnreadableReading("file", "not-json", "", b"%d" % n) for n in range(3)]
    decisions = [
        AddSuppression(change="act", at=NOW, address=f"r{n}@example.org") for n in range(3)
    ]

    def taken(store: DynamoStore) -> tuple:
        pipeline = pipeline_of(store)
        told = [
            pipeline.process([*readings([*events[at::2], unrouted]), *garbage]) for at in (0, 1)
        ]
        said = [str(one.disposition) for batch in told for one in batch]
        decided = pipeline.decide(decisions)
        store.repair({RollupKey("day", "outreach", "spring", 9, "", ""): [1] * len(COUNTERS)})
        store.settle()
        sums = [store.rollups(family, "outreach", "spring") for family in ("day", "link")]
        return said, decided, held(store, events), store.quarantine_counts(), sums

    expected, store = (
        open_store(url, clock=lambda: NOW),
        open_store(f"{url}lost-", clock=lambda: NOW),
    )
    lost = LostAnswers(store, operation)
    assert taken(store) == taken(expected)
    assert lost.lost > 0
    for one in (store, expected):
        one.close()


def test_away_after_the_records(store: DynamoStore) -> None:
    """If DynamoDB becomes unreachable after records are written, they count: only what is not
    stored or not yet weighed is reported back, so nothing written is called a duplicate later.
    """
    store.limit_time(lambda: 0.3)
    client, written = store.client.botocore, []

    def statements(true: Callable, **arguments: object) -> dict:
        written.append(1)
        return true(**arguments)

    def away_then(true: Callable, **arguments: object) -> dict:
        if written:
            raise EndpointConnectionError(endpoint_url="http://x")
        return true(**arguments)

    later = dict.fromkeys(
        ("query", "batch_get_item", "update_item", "transact_write_items"), away_then
    )
    make_faulty(store, batch_execute_statement=statements, **later)
    sends = [one for one in mail(random.Random(8), 4, bounces=False) if is_a(one, Send)]
    deliveries = [one for one in mail(random.Random(8), 2, bounces=False) if is_a(one, Delivery)]
    answers = pipeline_of(store).process(readings([*sends, *deliveries]))
    # of the messages that were delivered all is given back: that speaks against soft bounces
    assert told(answers) == ["refused", "refused", "created", "created", "refused", "refused"]
    store.client.botocore = client
    store.limit_time(lambda: 20.0)
    again = pipeline_of(store).process(readings([*sends, *deliveries]))
    assert told(again) == ["duplicate"] * 6
    assert held(store, sends) == folded([*sends, *deliveries])


def is_a(event: Event, kind: type) -> bool:
    """Return whether an event is of a type."""
    return isinstance(event.reports[0].occurrence, kind)


def told(answers: list[Processed]) -> list[str]:
    """Return the dispositions of readings."""
    return [str(one.disposition) for one in answers]


def test_one_refused_record(store: DynamoStore) -> None:
    """If DynamoDB refuses a call because of one record, only that record is reported back; the
    others are created.
    """

    def without_one(true: Callable, **arguments: list) -> dict:
        if any({"S": "m3"} in one["Parameters"] for one in arguments["Statements"]):
            raise refusal("ValidationException")
        return true(**arguments)

    make_faulty(store, batch_execute_statement=without_one)
    sends = [one for one in mail(random.Random(9), 9, bounces=False) if is_a(one, Send)]
    answers = pipeline_of(store).process(readings(sends))
    assert told(answers) == ["created"] * 3 + ["refused"] + ["created"] * 5


class CardPuts:
    """Counts the puts of cards that clients make, and those that were refused."""

    def __init__(self, stores: list[DynamoStore]) -> None:
        """Count from now on."""
        self.made = self.refused = 0
        for one in stores:
            events = one.client.botocore.meta.events
            events.register("before-call.dynamodb.PutItem", self._made)
            events.register("after-call.dynamodb.PutItem", self._answered)

    def _made(self, params: dict, context: dict, **_: object) -> None:
        context["card"] = b'"CARD"' in params["body"]
        self.made += context["card"]

    def _answered(self, http_response: object, context: dict, **_: object) -> None:
        self.refused += context["card"] and http_response.status_code == 400


def test_one_campaign_in_many_functions(url: str) -> None:
    """Sixteen functions that process 160 events of one campaign within three minutes each write its
    card a few times at most, with few conflicts, and the card joins all events.
    """
    stores = [open_store(url, clock=lambda: NOW) for _ in range(WORKERS)]
    pipelines = [pipeline_of(one) for one in stores]
    start = NOW - NOW % 60_000
    events = [
        Event(
            f"m{n}",
            Identity(start + n * 1_000, "news@example.com", "Hello", tags=(("campaign_id", "a"),)),
            (Report(f"r{n}@example.org", Send(start + n * 1_000)),),
            "outreach-tracking",
        )
        for n in range(160)
    ]
    puts = CardPuts(stores)
    with ThreadPoolExecutor(WORKERS) as threads:
        list(
            threads.map(
                lambda n: [pipelines[n].process(readings([one])) for one in events[n::WORKERS]],
                range(WORKERS),
            )
        )
    card = stores[0].card("outreach", "a")
    for one in stores:
        one.close()
    assert (card.first_sent_at, card.last_sent_at) == (start, start + 120_000)
    assert puts.refused < puts.made <= 3 * WORKERS


def test_flood_of_garbage(url: str) -> None:
    """Many unreadable bodies are written in few transactions, none of which counts a single body;
    functions that receive some of the same bodies store and count each once.
    """
    stores = [open_store(url, clock=lambda: NOW) for _ in range(4)]
    flood = [UnreadableReading("file", "not-json", "", b"%d" % n) for n in range(600)]
    sent: list[bytes] = []
    for one in stores:
        one.client.botocore.meta.events.register(
            "before-call.dynamodb.TransactWriteItems",
            lambda params, **_: sent.append(params["body"]),
        )
    with ThreadPoolExecutor(len(stores)) as threads:
        list(
            threads.map(
                lambda n: pipeline_of(stores[n]).process(flood[n * 100 : n * 100 + 300]),
                range(len(stores)),
            )
        )
    assert stores[0].quarantine_counts() == {"not-json": 600}
    ids = [held.id for held in stores[0].quarantine(1_000)]
    assert len(set(ids)) == 600
    counts = Counter(key for body in sent for key in re.findall(rb"not-json#\d", body))
    assert len(sent) < 150
    assert max(counts.values()) < 40
    put(stores[0], released=ids)
    assert stores[0].quarantine_counts() == {}
    assert stores[0].quarantine(10) == []
    for one in stores:
        one.close()


def test_redelivery_writes_nothing(store: DynamoStore) -> None:
    """The redelivery of a stored batch writes no record, so the change feed is silent."""
    events = mail(random.Random(6), 12)
    pipeline_of(store).process(readings(events))
    store.settle()

    def never(true: Callable, **_: object) -> dict:
        raise AssertionError("a write")

    make_faulty(store, batch_execute_statement=never, put_item=never, update_item=never)
    answers = pipeline_of(store).process(readings(events))
    assert {str(one.disposition) for one in answers} == {"duplicate"}
