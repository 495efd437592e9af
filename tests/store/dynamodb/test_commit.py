"""Commits in DynamoDB: the contract, and what this store alone can get wrong."""

from collections.abc import Callable

from sesight.domain.event import Delivery, Send
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb.store import DynamoStore
from tests.store import contract, contract_backfill, contract_commit, contract_retention
from tests.store.anything import ses_id
from tests.store.contract import NOW, TODAY, changes, put, record
from tests.store.faulty import never


class TestRecords(contract_commit.Records):
    """The contract."""


class TestCommits(contract_commit.Commits):
    """The contract."""


def item_of(store: DynamoStore) -> dict:
    """Return the only item of the outreach tracking table."""
    table = store.tables["outreach"].tracking.name
    client = store.client.botocore
    client.meta.events.unregister("before-call.dynamodb.Scan", never)
    (item,) = client.scan(TableName=table)["Items"]
    return item


def test_expiry_attribute(store: DynamoStore) -> None:
    """The expiry attribute is in seconds; a record kept for ever has none."""
    at = NOW - 3 * DAY
    put(store, record(at))
    item = item_of(store)
    assert int(item["expirationTime"]["N"]) == (at // DAY + 91) * DAY // 1000
    assert int(item["version"]["N"]) == 1


def test_unknown_attributes_stay(store: DynamoStore) -> None:
    """Attributes written by a later version survive a change of the record by this version."""
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


def test_expiry_of_a_backfill(reopen: Callable[..., DynamoStore]) -> None:
    """DynamoDB expires the records of a backfilled day together, as if sent when the backfill
    began, whichever run wrote them; a late live event does not expire one early.
    """
    clock = contract_retention.Clock(NOW)
    store = reopen(clock=clock)
    table = store.tables["outreach"].tracking.name
    at = NOW - 400 * DAY
    late = NOW - 30 * DAY
    contract_backfill.backfill(
        store, NOW, contract_retention.sent_at(at, 1), contract_retention.sent_at(late, 2)
    )
    clock.now = NOW + 20 * DAY
    store.transact(lambda _: changes(event_at=clock.now))
    contract_backfill.backfill(store, clock.now, contract_retention.sent_at(at, 3))
    delivered = Delivery(late + 5_000)
    contract.apply(store, contract_retention.sent_at(late, 2, delivered)[1:])
    contract.apply(store, contract_retention.sent_at(late, 4))  # a record that no backfill has
    items = store.client("scan", TableName=table)["Items"]
    ends = str((TODAY + 91) * DAY // 1_000)
    assert {item["messageId"]["S"]: item["expirationTime"]["N"] for item in items} == dict.fromkeys(
        [ses_id(at, 1), ses_id(late, 2), ses_id(at, 3), ses_id(late, 4)], ends
    )
    store.close()
