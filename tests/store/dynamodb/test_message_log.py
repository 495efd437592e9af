"""The message log in DynamoDB: the contract, and what this store alone can get wrong."""

from sesight.store.dynamodb.store import DynamoStore
from tests.store import contract_message_log
from tests.store.contract import BOTH, NOW, put, record


class TestPages(contract_message_log.Pages):
    """The contract."""

    STEP = 23


def test_stale_index(store: DynamoStore) -> None:
    """An index entry whose record was deleted meanwhile is skipped."""
    many = [record(NOW - n, n) for n in range(6)]
    put(store, *many)
    page = store.messages(BOTH, 2, None, NOW)
    table = store.tables["outreach"].tracking.name
    key = {"messageId": {"S": many[2].message_id}, "recipient": {"S": many[2].recipient}}
    store.client("delete_item", TableName=table, Key=key)
    assert store.messages(BOTH, 2, page.cursor, NOW).records == many[3:5]
