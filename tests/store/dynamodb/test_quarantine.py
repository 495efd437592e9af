"""The quarantine in DynamoDB: the contract, and what this store alone can get wrong."""

import random

from sesight.domain.quarantine import Quarantined
from sesight.store.dynamodb.client import equals
from sesight.store.dynamodb.store import DynamoStore
from tests.store import contract_quarantine
from tests.store.contract import put


class TestQuarantine(contract_quarantine.Quarantine):
    """The contract."""


def test_parts_of_large_bodies(store: DynamoStore) -> None:
    """Nothing stays of a large body that was released; a body whose parts are missing is not
    listed, and can be released.
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
