"""The cost of the DynamoDB store: the size of items, and write units per event."""

import random
import subprocess
import sys
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from sesight.domain.counting import tally_of
from sesight.domain.record import Record, fold
from sesight.domain.timestamps import DAY
from sesight.store import open_store
from sesight.store.dynamodb.keys import index_keys
from sesight.store.dynamodb.record_codec import read_record, record_item
from sesight.store.dynamodb.store import DynamoStore
from tests.store import capacity
from tests.store.contract import COUNTING, NOW
from tests.store.engine import url_of

ORDINARY = ("Send", "Delivery", "Open", "Open", "Open", "Click")


@pytest.fixture
def store(dynamodb: str) -> Iterator[DynamoStore]:
    """A new store."""
    opened = open_store(url_of(dynamodb), clock=lambda: NOW)
    yield opened
    opened.close()


def ordinary(n: int, stream: str) -> Record:
    """Return the record of ordinary mail: one recipient, three tags, three opens, a click."""
    found: Record | None = None
    for again, kind in enumerate(ORDINARY):
        event = capacity.message(random.Random(n), n, stream, [kind])[kind]
        if kind in ("Open", "Click"):
            told = random.Random(n * 31 + again)
            seen = (told.choice(capacity.AGENTS), told.choice(capacity.NETWORKS), "Unlikely")
            late = NOW - DAY + told.randrange(10 * DAY)
            held = replace(event.reports[0].occurrence, at=late, agent=seen[0], ip=seen[1])
            event = replace(event, reports=(replace(event.reports[0], occurrence=held),))
        found = fold(found, event, event.reports[0], stream)
    return replace(found, tally=tally_of(found, COUNTING))


@pytest.mark.parametrize("stream", ["outreach", "finance"])
def test_size(stream: str) -> None:
    """Two thousand records of ordinary mail are read as they were written, and none is over 1,024
    bytes.
    """
    sizes = []
    for n in range(2_000):
        one = ordinary(n, stream)
        keys = index_keys(one, months=stream == "finance")
        item = record_item(one, keys, NOW + 91 * DAY, 7)
        assert read_record(item, stream) == one
        sizes.append(capacity.size_of(item))
    assert max(sizes) <= 1_024


@pytest.mark.parametrize("stream", ["outreach", "finance"])
@pytest.mark.parametrize(("coalesced", "most"), [(0.0, 2.15), (0.5, 2.0)])
def test_write_units(store: DynamoStore, stream: str, coalesced: float, most: float) -> None:
    """An event of the mix costs at most 2.15 write units including indexes, card and metadata, and
    2.0 when half of the deliveries come in one batch with their sends.
    """
    meter = capacity.Meter(store.client.botocore)
    batches = capacity.waves(random.Random(1), 200, stream, coalesced).values()
    events = capacity.process(store, batches)
    notes = sum(n for table, n in meter.units.items() if "suppression" not in table)
    units = capacity.record_units(store, stream)
    assert events == sum(map(len, batches)) > 500
    assert units["CampaignIndex"] == 200  # an index is written once a message
    # a batch of 500 events has no more notes than one of some
    assert sum(units.values()) / events + notes / len(batches) / 500 <= most


def test_import() -> None:
    """Importing the store loads neither a web framework nor cryptography, and botocore only when it
    is opened.
    """
    program = """
import sys, sesight.store.dynamodb.store, sesight.store.dynamodb.rollup_aggregator, sesight.ingest.pipeline
print(sorted({"botocore", "cryptography", "litestar", "urllib3"} & set(sys.modules)))
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
