"""Opening the DynamoDB store."""

import pytest

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.ports import RecordFilter
from sesight.domain.stream import Stream
from sesight.store import open_store
from sesight.store.dynamodb.store import DynamoStore
from tests.store.contract import NOW, everything, put, record


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
    """A URL of another form is refused with the right form."""
    with pytest.raises(SettingsError, match="dynamodb://REGION"):
        open_store(url)


def test_no_tables(store: DynamoStore, dynamodb: str) -> None:
    """On AWS a store never creates tables: if they are missing, the error says what to do."""
    client = store.client
    client("delete_table", TableName=store._parts.metadata.table)  # noqa: SLF001
    with pytest.raises(StoreUnavailable, match="ResourceNotFound"):
        store.newest_at()


def test_closed(store: DynamoStore) -> None:
    """A closed store refuses batches."""
    store.close()
    with pytest.raises(StoreUnavailable):
        put(store)


def test_other_streams(url: str) -> None:
    """Each stream of the settings has its own tables; a stream without tables has no data."""
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
