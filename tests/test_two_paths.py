"""The same events through SQLite and through the Lambda functions: equal records, equal answers."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from sesight.app import App
from sesight.domain.ports import RecordFilter
from sesight.domain.timestamps import DAY
from sesight.lambdas import gateway
from sesight.lambdas.processor import Processor
from sesight.settings import Settings, StoreSettings
from sesight.store.dynamodb.store import DynamoStore
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import generate
from tests.builders import NOW
from tests.invocation import KEY, Context, aggregate, batches, event_loop, failed, http_event
from tests.payload import PAYLOADS, raw
from tests.store.engine import url_of

STREAMS = ("outreach", "finance")
CURSOR = re.compile(rb'("(?:nextCursor|newerCursor)":")([^"]+)"')
REQUEST = re.compile(rb'"requestId":"[^"]+"')
STORE = re.compile(rb'"store":"[^"]*"')


CHANGING = {"/suppressions/import", "/suppressions/remove", "/unsubscribe/{token}"}
"""Routes that change something and read nothing."""

SENDING = {
    "/outreach/send",
    "/financial/send",
    "/templates/{name}/preview",
    *(
        f"/{stream}/send/jobs{rest}"
        for stream in ("outreach", "financial")
        for rest in ("", "/{jobId}", "/{jobId}/results")
    ),
}
"""Routes that need a sender, who has tests of his own."""


class Asked(NamedTuple):
    """A request to the API: its documented route, the path, the query and the body."""

    route: str
    path: str
    query: Mapping[str, Any] = MappingProxyType({})
    body: Any = None


class Answer(NamedTuple):
    """An answer of the API."""

    status: int
    body: bytes

    @property
    def said(self) -> tuple[int, bytes]:
        """Return an answer without what differs by store: cursors, its URL, and the id of the
        request.
        """
        body = STORE.sub(b'"store":"-"', CURSOR.sub(rb'\1-"', self.body))
        return self.status, REQUEST.sub(b'"requestId":"-"', body)

    @property
    def cursor(self) -> str | None:
        """Return the cursor of the next page."""
        return json.loads(self.body).get("nextCursor") if self.body.startswith(b'{"') else None


def bodies() -> list[bytes]:
    """Return the bodies for both paths: simulated traffic with everything that can happen, and real
    payloads.
    """
    plan = Plan(
        seed=11, end=NOW, days=100, messages=300, campaigns=4, bounces=3.0, complaints=20.0,
        multi_recipient=0.03, duplicates=0.05, disorder=0.1,
    )  # fmt: skip
    told = [event.body for event in generate(plan)]
    real = [raw(path.name) for path in sorted(PAYLOADS.glob("[b-do-s]*.json"))]
    told += [each for each in real if b'"eventType"' in each and b'"Records"' not in each]
    return [*told, b"{no json", b'{"eventType":"Unheard","mail":{"messageId":"m-x"}}']


class Sides:
    """An app over each store, both called through API Gateway."""

    def __init__(self, sqlite: App, dynamodb: App) -> None:
        """Make the API of each."""
        self.sqlite = sqlite
        self.dynamodb = dynamodb
        self._handlers = [gateway(sqlite), gateway(dynamodb)]

    def answers(self, asked: Asked, cursors: Sequence[str | None] = (None, None)) -> list[Answer]:
        """Return both answers, each at its own cursor if any."""
        found = []
        for handler, cursor in zip(self._handlers, cursors, strict=True):
            more = {} if cursor is None else {"cursor": cursor}
            event = http_event(asked.path, {**asked.query, **more}, body=asked.body)
            answer = handler(event, Context())
            found.append(Answer(answer["statusCode"], answer["body"].encode()))
        return found


def watch(store: DynamoStore) -> None:
    """Fail on a scan, and on reading much more than the answer has."""

    def no_scan(**_: object) -> None:
        raise AssertionError("a Scan")

    def all_of_it(parsed: dict, **_: object) -> None:
        assert parsed["ScannedCount"] == parsed["Count"]

    events = store.client.botocore.meta.events
    events.register("before-call.dynamodb.Scan", no_scan)
    events.register("after-call.dynamodb.Query", all_of_it)


@pytest.fixture(scope="module")
def sides(dynamodb: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Both stores with the same events: one filled by a server's pipeline, the other by functions
    and change feeds.
    """
    url = url_of(dynamodb)
    file = tmp_path_factory.mktemp("two-paths") / "sesight.db"

    def settings(store: str) -> Settings:
        return Settings(region="eu-west-1", store=StoreSettings(store), recipient_key=KEY)

    told = bodies()
    processor = Processor(settings(url), "outreach", lambda: NOW)
    store = processor._store  # noqa: SLF001
    watch(store)
    for event in batches(told):
        assert failed(processor.handle(event, Context())) == []
    aggregate(store)
    aggregate(store)  # whatever comes again counts once
    processor.close()
    single = App(settings(f"sqlite:///{file}"), clock=lambda: NOW, durability="off")
    from sesight.ingest.reader import read

    single.pipeline.process(
        [reading for each in told for reading in read(each, "sqs", known_sets=single.known_sets)]
    )
    single.close()
    with event_loop():
        both = Sides(
            App(settings(f"sqlite:///{file}"), clock=lambda: NOW),
            App(settings(url), clock=lambda: NOW),
        )
        assert isinstance(both.dynamodb.store, DynamoStore)
        watch(both.dynamodb.store)
        yield both
        both.sqlite.close()
        both.dynamodb.close()


def test_records(sides: Sides) -> None:
    """Every record is the same, even if events came twice, late and in batches of 500."""
    found = [
        app.store.messages(RecordFilter(streams=STREAMS), 5_000, None, NOW).records
        for app in (sides.sqlite, sides.dynamodb)
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 200


def test_rows(sides: Sides) -> None:
    """Every rollup row is the same, including those of expired send days and suppressions."""

    def rows(app: App) -> dict:
        cards = [card.campaign for card, _ in app.store.cards(STREAMS)]
        return {
            row.key: list(row.counts)
            for stream in STREAMS
            for family in ("day", "hour", "age", "link", "month", "suppressed")
            for campaign in ("", *cards)
            for row in app.store.rollups(family, stream, campaign)
            if any(row.counts)
        }

    assert rows(sides.sqlite) == rows(sides.dynamodb)
    assert isinstance(sides.dynamodb.store, DynamoStore)


def questions(sides: Sides) -> Iterator[Asked]:
    """Yield requests to every route, made from what the stores hold."""
    yield Asked("/overview", "/overview")
    for step in ("hour", "day", "week"):
        yield Asked("/overview", "/overview", {"step": step, "compare": "none", "from": _day(20)})
    yield Asked("/overview", "/overview", {"stream": "finance", "from": _day(3), "to": _day(1)})
    lists = ("/messages", "/outreach/tracking-data-ses", "/financial/tracking-data")
    records = sides.sqlite.store.messages(RecordFilter(streams=STREAMS), 5_000, None, NOW).records
    some = records[:: len(records) // 4]
    for path in (*lists, "/outreach/tracking-data"):
        yield Asked(path, path)
        yield Asked(path, path, {"limit": 20, "from": _day(30), "to": _day(2)})
    for path in lists:
        for outcome in ("delivered", "bounced", "complained", "not_delivered", "pending"):
            yield Asked(path, path, {"outcome": outcome, "limit": 15})
        for event in ("Open", "Click", "Bounce", "Complaint"):
            yield Asked(path, path, {"event": event, "limit": 25})
        yield Asked(path, path, {"format": "csv"})
        yield Asked(path, path, {"month": "2026-11", "limit": 40})
    for record in some:
        yield Asked("/messages/{messageId}", f"/messages/{record.message_id}")
        rid = sides.sqlite.recipient_id(record.recipient)
        if record.recipient != "*":
            yield Asked("/recipients/{rid}", f"/recipients/{rid}")
            yield Asked("/messages", "/messages", {"recipient": rid})
            asked = {"address": record.recipient}
            yield Asked("/recipients/lookup", "/recipients/lookup", body=asked)
            yield Asked("/outreach/tracking-data-ses", lists[1], {"email": record.recipient})
        yield Asked("/messages", "/messages", {"campaign": record.campaign, "limit": 25})
    yield Asked("/messages/{messageId}", "/messages/unheard-of")
    for query in ({}, {"sort": "-bounce", "limit": 2}, {"state": "sending"}, {"q": "a"}):
        yield Asked("/campaigns", "/campaigns", query)
    yield Asked("/campaigns", "/campaigns", {"format": "csv"})
    for card, _ in sides.sqlite.store.cards(STREAMS):
        path = f"/campaigns/{card.stream}/{card.campaign}"
        for step in ("age", "day"):
            yield Asked("/campaigns/{stream}/{campaign}", path, {"step": step})
    yield Asked("/financial/months", "/financial/months")
    yield Asked("/financial/months", "/financial/months", {"format": "csv"})
    for query in ({}, {"limit": 7}, {"reason": "bounced", "limit": 5}, {"active": "all"}):
        yield Asked("/suppressions", "/suppressions", query)
    yield Asked("/suppressions", "/suppressions", {"stream": "finance", "format": "csv"})
    yield Asked("/suppressions/stats", "/suppressions/stats")
    asked = {"addresses": sorted({record.recipient for record in records} - {"*"})[:200]}
    yield Asked("/suppressions/check", "/suppressions/check", body=asked)
    for path in (
        "/provider",
        "/templates",
        "/health",
        "/health/intake",
        "/quarantine",
        "/openapi.json",
        "/docs",
    ):
        yield Asked(path, path)
    yield Asked("/quarantine", "/quarantine", {"reason": "not-json", "limit": 1})


def _day(ago: int) -> str:
    from sesight.domain.timestamps import day_name

    return day_name(NOW // DAY - ago)


def test_answers(sides: Sides) -> None:
    """Every read route answers the same from both, byte for byte, on every page; nothing is scanned."""
    routes = set()
    for asked in questions(sides):
        routes.add(asked.route)
        here, there = sides.answers(asked)
        assert here.said == there.said, asked
        while here.cursor is not None and there.cursor is not None:
            here, there = sides.answers(asked, (here.cursor, there.cursor))
            assert here.said == there.said, asked
        assert here.cursor == there.cursor is None, asked
    document = json.loads(sides.answers(Asked("", "/openapi.json"))[0].body)
    documented = {path.removeprefix("/api") for path in document["paths"]}
    # Prometheus's text counts what a process did, and says when it began; mail is not sent here
    assert documented - routes == {"/metrics", *CHANGING, *SENDING}
