"""The DynamoDB store on AWS's own engine: the contract, and what DynamoDB alone can get wrong."""

from collections.abc import Callable, Iterator

import pytest

from sesight.domain.ports import Store
from sesight.store import open_store
from sesight.store.dynamodb import DynamoStore
from tests.store import contract, contract_pages
from tests.store.contract import NOW
from tests.store.engine import url_of


@pytest.fixture
def url(dynamodb: str) -> str:
    """Where the store's tables are."""
    return url_of(dynamodb)


@pytest.fixture
def reopen(url: str) -> Callable[..., DynamoStore]:
    """Open the same tables, with the clock at NOW."""
    return lambda **more: open_store(url, clock=lambda: NOW, **more)


@pytest.fixture
def store(reopen: Callable[..., DynamoStore]) -> Iterator[DynamoStore]:
    """A new store."""
    opened = reopen()
    yield opened
    opened.close()


@pytest.fixture
def fresh(url: str) -> Iterator[Callable[[], Store]]:
    """Give an empty store again and again."""
    opened = open_store(url, retention_days=0, clock=lambda: NOW)
    calls = opened._calls  # noqa: SLF001 - to empty tables is no business of a store

    def empty() -> Store:
        for tables in opened._streams.values():  # noqa: SLF001
            table = tables.tracking.name
            items = calls("scan", TableName=table, ProjectionExpression="messageId, recipient")
            calls.delete_many(table, items["Items"])
        return opened

    yield empty
    opened.close()


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


class TestTotals(contract.Totals):
    """Bound."""


class TestLists(contract.Lists):
    """Bound."""
