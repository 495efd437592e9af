"""The DynamoDB store on AWS's own engine: the contract, and what DynamoDB alone can get wrong."""

import random
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import EndpointConnectionError

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.event import Delivery, Send
from sesight.domain.ports import RecordFilter, Store
from sesight.domain.quarantine import Quarantined
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import Suppression
from sesight.domain.timestamps import DAY
from sesight.store import open_store
from sesight.store.dynamodb.client import equals
from sesight.store.dynamodb.store import DynamoStore
from tests.store import contract, contract_pages, contract_retention, contract_sending
from tests.store.anything import ses_id
from tests.store.contract import BOTH, NOW, TODAY, changes, everything, put, record
from tests.store.engine import url_of


@pytest.fixture
def url(dynamodb: str) -> str:
    """Where the store's tables are."""
    return url_of(dynamodb)


@pytest.fixture
def reopen(url: str) -> Callable[..., DynamoStore]:
    """Open the same tables, with the clock at NOW."""
    return lambda **more: open_store(url, **{"clock": lambda: NOW, **more})


def never(**_: object) -> None:
    """Refuse a call that reads whole tables."""
    raise AssertionError("a Scan")


@pytest.fixture
def store(reopen: Callable[..., DynamoStore]) -> Iterator[DynamoStore]:
    """A new store, which fails at any Scan."""
    opened = reopen()
    opened.client.botocore.meta.events.register("before-call.dynamodb.Scan", never)
    yield opened
    opened.close()


@pytest.fixture
def fresh(url: str) -> Iterator[Callable[[], Store]]:
    """Give an empty store again and again."""
    opened = open_store(url, retention_days=0, clock=lambda: NOW)
    client = opened.client

    def empty() -> Store:
        for tables in opened.tables.values():
            table = tables.tracking.name
            items = client("scan", TableName=table, ProjectionExpression="messageId, recipient")
            client.delete_many(table, items["Items"])
        return opened

    yield empty
    opened.close()


def unreachable(**_: object) -> None:
    """Answer as a network that is down."""
    raise EndpointConnectionError(endpoint_url="http://x")


@pytest.fixture
def away() -> Callable[[DynamoStore], None]:
    """Let no call get through, and none be tried for long."""

    def cut_off(store: DynamoStore) -> None:
        store.limit_time(lambda: 0.05)
        store.client.botocore.meta.events.register("before-call.dynamodb", unreachable)

    return cut_off


@pytest.fixture
def count() -> contract.Count:
    """Add increments as a recount does."""
    return lambda store, rollups: store.repair(rollups)


class TestRecords(contract.Records):
    """Bound."""


class TestCommits(contract.Commits):
    """Bound."""


class TestPages(contract_pages.Pages):
    """Bound."""

    STEP = 23


class TestExpiry(contract.Expiry):
    """Bound."""


class TestSettings(contract_retention.Settings):
    """Bound."""


class TestClocks(contract_retention.Clocks):
    """Bound."""


class TestBackfills(contract_retention.Backfills):
    """Bound."""


class TestTotals(contract.Totals):
    """Bound."""


class TestLists(contract.Lists):
    """Bound."""


class TestBatches(contract_sending.Batches):
    """Bound."""


class TestClaims(contract_sending.Claims):
    """Bound."""


class TestResults(contract_sending.Results):
    """Bound."""

    EXAMPLES = 50


class TestPauses(contract_sending.Pauses):
    """Bound."""


class TestKeeping(contract_sending.Keeping):
    """Bound."""


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://",
        "dynamodb:///x",
        "dynamodb://eu-west-1/x",
        "dynamodb://eu-west-1?endpont=x",
        "dynamodb://eu-west-1?prefix=a&prefix=b",
    ],
)
def test_unknown_url(url: str) -> None:
    """A URL that says something else is refused with the form there is."""
    with pytest.raises(SettingsError, match="dynamodb://REGION"):
        open_store(url)


def test_no_tables(store: DynamoStore, dynamodb: str) -> None:
    """On AWS a store never makes tables: where they are missing it says what to do."""
    client = store.client
    client("delete_table", TableName=store._parts.metadata.table)  # noqa: SLF001
    with pytest.raises(StoreUnavailable, match="ResourceNotFound"):
        store.newest_at()


def test_closed(store: DynamoStore) -> None:
    """A closed store takes nothing."""
    store.close()
    with pytest.raises(StoreUnavailable):
        put(store)


def test_expiry_attribute(store: DynamoStore) -> None:
    """DynamoDB is told the expiry in seconds; a record kept for ever has none."""
    at = NOW - 3 * DAY
    put(store, record(at))
    item = item_of(store)
    assert int(item["expirationTime"]["N"]) == (at // DAY + 91) * DAY // 1000
    assert int(item["version"]["N"]) == 1


def test_unknown_attributes_stay(store: DynamoStore) -> None:
    """What a later version has written beside a record survives this version's change of it."""
    put(store, record(NOW - 5, 1))
    client, table = store.client, store.tables["outreach"].tracking.name
    key = {name: item_of(store)[name] for name in ("messageId", "recipient")}
    client(
        "update_item",
        TableName=table,
        Key=key,
        UpdateExpression="SET later = :x",
        ExpressionAttributeValues={":x": {"S": "kept"}},
    )
    put(store, record(NOW - 5, 1, timeline=(Send(NOW - 5), Send(NOW - 4))))
    assert (item_of(store)["later"], item_of(store)["version"]) == ({"S": "kept"}, {"N": "2"})


def test_no_op(store: DynamoStore) -> None:
    """A batch that changes nothing writes nothing."""
    put(store, record(NOW - 5, 1))
    store.transact(lambda view: changes(view.records([]).values()))
    assert item_of(store)["version"] == {"N": "1"}


def test_suppression_words(store: DynamoStore) -> None:
    """A suppression reads well in the console, and is found by what its address begins with."""
    for name in ("ana", "anna", "bo"):
        one = Suppression("outreach", f"{name}@x.example", counted=(3, "manual"))
        store.transact(lambda _, one=one: changes(suppressions={(one.stream, one.address): one}))
    table = store.tables["outreach"].suppression.name
    found = store.client(
        "query",
        TableName=table,
        IndexName="PrefixIndex",
        KeyConditionExpression="#list = :all AND begins_with(email, :an)",
        ExpressionAttributeNames={"#list": "list"},
        ExpressionAttributeValues={":all": {"S": "all"}, ":an": {"S": "an"}},
    )["Items"]
    assert [(one["email"]["S"], one["active"], one["reason"]["S"]) for one in found] == [
        ("ana@x.example", {"BOOL": True}, "manual"),
        ("anna@x.example", {"BOOL": True}, "manual"),
    ]


def test_other_streams(url: str) -> None:
    """A stream of the settings has its own tables; of one that has none nothing is known."""
    own = Stream("news", "News", "marketing", "news-set", tables="letters")
    opened = open_store(url, clock=lambda: NOW, streams={"news": own})
    one = record(NOW - 5, 1, stream="news")
    put(opened, one)
    assert everything(opened, RecordFilter(streams=("news", "outreach"))) == [one]
    assert opened.tables["news"].tracking.name.endswith("letters-campaign-tracking")
    with pytest.raises(SettingsError, match="no tables"):
        put(opened, record(NOW - 5, 2))
    assert opened.rollups("day", "outreach") == []
    opened.close()


def test_parts_of_large_bodies(store: DynamoStore) -> None:
    """Nothing stays of a large body that was let go; one whose parts are gone is listed no more, and
    can be let go.
    """
    control = store._parts.metadata.table  # noqa: SLF001
    body = random.Random(3).randbytes(900_000)
    for parts_first in (False, True):
        put(store, quarantined=[Quarantined("1", "odd", "Large.", body, 5)])
        if parts_first:
            key = {"pk": {"S": "BODY#1"}, "sk": {"S": "part-0002"}}
            store.client("delete_item", TableName=control, Key=key)
            assert store.quarantine(9) == []
        put(store, released=["1"])
        assert list(store.client.query(TableName=control, **equals(pk="BODY#1"))) == []
        assert store.quarantine_counts() == {}


def test_stale_index(store: DynamoStore) -> None:
    """An index entry of a record that has gone meanwhile is passed over."""
    many = [record(NOW - n, n) for n in range(6)]
    put(store, *many)
    page = store.messages(BOTH, 2, None, NOW)
    table = store.tables["outreach"].tracking.name
    key = {"messageId": {"S": many[2].message_id}, "recipient": {"S": many[2].recipient}}
    store.client("delete_item", TableName=table, Key=key)
    assert store.messages(BOTH, 2, page.cursor, NOW).records == many[3:5]


def item_of(store: DynamoStore) -> dict:
    """Return the only item of the outreach tracking table."""
    table = store.tables["outreach"].tracking.name
    client = store.client.botocore
    client.meta.events.unregister("before-call.dynamodb.Scan", never)
    (item,) = client.scan(TableName=table)["Items"]
    return item


def test_expiry_of_a_backfill(reopen: Callable[..., DynamoStore]) -> None:
    """Records of a backfilled day expire by DynamoDB together, as if sent when it began, whichever run
    wrote them; and a late event that comes in the usual way does not end one early.
    """
    clock = contract_retention.Clock(NOW)
    store = reopen(clock=clock)
    table = store.tables["outreach"].tracking.name
    at = NOW - 400 * DAY
    late = NOW - 30 * DAY
    contract_retention.backfill(
        store, NOW, contract_retention.sent_at(at, 1), contract_retention.sent_at(late, 2)
    )
    clock.now = NOW + 20 * DAY
    store.transact(lambda _: changes(event_at=clock.now))
    contract_retention.backfill(store, clock.now, contract_retention.sent_at(at, 3))
    delivered = Delivery(late + 5_000)
    contract.apply(store, contract_retention.sent_at(late, 2, delivered)[1:])
    contract.apply(store, contract_retention.sent_at(late, 4))  # a record that no backfill has
    items = store.client("scan", TableName=table)["Items"]
    ends = str((TODAY + 91) * DAY // 1_000)
    assert {item["messageId"]["S"]: item["expirationTime"]["N"] for item in items} == dict.fromkeys(
        [ses_id(at, 1), ses_id(late, 2), ses_id(at, 3), ses_id(late, 4)], ends
    )
    store.close()
