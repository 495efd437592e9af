"""Fixtures of the DynamoDB store's tests: stores that the contract is bound to."""

from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import EndpointConnectionError

from sesight.domain.ports import Store
from sesight.store import open_store
from sesight.store.dynamodb.store import DynamoStore
from tests.store import contract
from tests.store.contract import NOW
from tests.store.engine import url_of
from tests.store.faulty import never


@pytest.fixture
def url(dynamodb: str) -> str:
    """The URL of the store's tables."""
    return url_of(dynamodb)


@pytest.fixture
def reopen(url: str) -> Callable[..., DynamoStore]:
    """Open the same tables, with the clock at NOW."""
    return lambda **more: open_store(url, **{"clock": lambda: NOW, **more})


@pytest.fixture
def store(reopen: Callable[..., DynamoStore]) -> Iterator[DynamoStore]:
    """A new store, which fails at any Scan."""
    opened = reopen()
    opened.client.botocore.meta.events.register("before-call.dynamodb.Scan", never)
    yield opened
    opened.close()


@pytest.fixture
def fresh(url: str) -> Iterator[Callable[[], Store]]:
    """Return an empty store at each call."""
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
    """Fail like a network that is down."""
    raise EndpointConnectionError(endpoint_url="http://x")


@pytest.fixture
def away() -> Callable[[DynamoStore], None]:
    """Let every call fail, after few retries."""

    def cut_off(store: DynamoStore) -> None:
        store.limit_time(lambda: 0.05)
        store.client.botocore.meta.events.register("before-call.dynamodb", unreachable)

    return cut_off


@pytest.fixture
def count() -> contract.Count:
    """Add increments as a recount does."""
    return lambda store, rollups: store.repair(rollups)
