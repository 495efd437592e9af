"""The DynamoDB store against AWS's own engine: throughput beside bare PutItem, and write units."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.figures import Figure
from sesight.store import open_store
from sesight.store.dynamodb.store import DynamoStore
from tests.store import capacity
from tests.store.contract import NOW
from tests.store.engine import dynamodb_local, url_of

PUTS = 4_000
THREADS = 16
BATCH = 500
FLOOR = 1.75
"""Write units an event if every open and click came merged: 1.70 changes and three index entries a
message of 2.69 events.
"""

DOLLARS = 0.625
"""For a million write units on demand (us-east-1)."""


def throughput(engine: str, messages: int) -> tuple[float, float]:
    """Return events a second of the processor in batches of 500, and PutItems a second."""
    store = open_store(url_of(engine), clock=lambda: NOW)
    random_events = random.Random(7)
    events = [
        event
        for wave in capacity.waves(random_events, messages, "outreach", 0.0).values()
        for event in wave
    ]
    capacity.process(store, [events[:BATCH]])  # the engine warms up
    started = time.perf_counter()
    capacity.process(store, [events], BATCH)
    rate = len(events) / (time.perf_counter() - started)
    put = puts(store)
    store.close()
    return rate, put


def puts(store: DynamoStore) -> float:
    """Return how many records a second go in by PutItem alone, by sixteen threads."""
    table = store.tables["outreach"].tracking
    items = [change["dynamodb"]["NewImage"] for change in capacity.feed_of(store, table)][:PUTS]
    twin = table._replace(name=f"{table.name}-puts")
    store.client("create_table", **twin.definition())
    client = store.client.botocore
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda item: client.put_item(TableName=twin.name, Item=item), items))
    return len(items) / (time.perf_counter() - started)


def units(engine: str, stream: str, coalesced: float, messages: int) -> float:
    """Return write units an event, indexes included."""
    store = open_store(url_of(engine), clock=lambda: NOW)
    waves = capacity.waves(random.Random(1), messages, stream, coalesced)
    events = capacity.process(store, waves.values())
    per_event = sum(capacity.record_units(store, stream).values()) / events
    store.close()
    return per_event


def rollups(engine: str, messages: int) -> dict[int, float]:
    """Return write units of rollup rows a change, by the size of the aggregator's batches."""
    store = open_store(url_of(engine), clock=lambda: NOW)
    waves = capacity.waves(random.Random(1), messages, "outreach", 0.0)
    capacity.process(store, waves.values())
    changes = capacity.changes_of(store, "outreach")
    units_by_size = {
        size: capacity.rollup_units(store, "outreach", changes[:number], size)
        for size, number in ((1, 100), (10, 1_000), (1_000, 4_000))
    }
    store.close()
    return units_by_size


def figures() -> Iterator[Figure]:
    """Yield every figure of the DynamoDB store."""
    with dynamodb_local() as engine:
        rate, bare = throughput(engine, 2_000)
        yield Figure(
            "processor on DynamoDB Local, batches of 500", rate, "events/s", bare, "bare PutItem",
            1_000, note="the engine's own pace decides: it is one SQLite queue",
        )  # fmt: skip
        for stream in ("outreach", "finance"):
            for coalesced, limit in ((0.0, 2.15), (0.5, 2.0)):
                measured = units(engine, stream, coalesced, 400)
                yield Figure(
                    f"write units an event, {stream}, {coalesced:.0%} coalesced", measured, "units",
                    FLOOR, "floor with 3 views", limit, is_maximum=True,
                    note=f"${measured * DOLLARS:.2f} a million events; floor ${FLOOR * DOLLARS:.2f}",
                )  # fmt: skip
        for size, measured in rollups(engine, 400).items():
            yield Figure(
                f"rollup units a change, aggregator batches of {size:,}", measured, "units",
                note=f"${measured * DOLLARS:.2f} a million changes",
            )  # fmt: skip
