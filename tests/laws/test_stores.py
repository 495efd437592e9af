"""Every store agrees with the ledger, which is nothing but dictionaries."""

from functools import partial
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from sesight.domain.event import Event
from sesight.domain.ports import Store
from sesight.domain.rollup import Family, RollupKey, Rollups
from sesight.ingest.pipeline import Pipeline
from sesight.store import open_store
from tests.builders import COUNTING, NOW
from tests.laws.happenings import MESSAGES, again, histories, reading, seeds
from tests.laws.ledger import Ledger, told_one_by_one
from tests.laws.turns import Turns
from tests.reception import RULES
from tests.store.engine import url_of

MEMORY = Path("/dev/shm")
CAMPAIGNS = ("", "winter", "Alpha", "~untagged")
ADDRESSES = sorted({each for _, _, recipients in MESSAGES.values() for each in recipients})


def rows_of(store: Store) -> Rollups:
    """Return every rollup row of a store that is not all zero."""
    store.settle()
    found = {
        RollupKey(*row.key): list(row.counts)
        for family in Family
        for stream in COUNTING.streams
        for campaign in CAMPAIGNS
        for row in store.rollups(family, stream, campaign)
    }
    return {key: row for key, row in found.items() if any(row)}


def totals_of(store: Store) -> Rollups:
    """Return every campaign's totals that are not all zero."""
    found = {
        row.key: list(row.counts)
        for stream in COUNTING.streams
        for campaign in CAMPAIGNS
        for row in store.campaign_totals(stream, campaign)
    }
    return {key: row for key, row in found.items() if any(row)}


def summed(rows: Rollups) -> Rollups:
    """Return the day rows of campaigns, summed over the days."""
    sums: Rollups = {}
    for key, counts in rows.items():
        if key.campaign and key.family == Family.DAY:
            total = key._replace(bucket=0)
            sums[total] = list(map(add, sums.get(total, [0] * len(counts)), counts))
    return {key: row for key, row in sums.items() if any(row)}


def assert_agree(store: Store, ledger: Ledger) -> None:
    """Compare all that a store holds with the ledger."""
    held = {
        (record.message_id, record.recipient): record
        for message in MESSAGES
        for record in store.message(message, NOW)
    }
    assert held == ledger.held
    assert rows_of(store) == ledger.rows
    assert totals_of(store) == summed(ledger.rows)
    items = {
        (stream, address): item
        for stream in COUNTING.streams
        for address in ADDRESSES
        if (item := store.suppression(stream, address)) is not None
    }
    assert items == ledger.items
    waiting = {(each.id, each.reason) for each in store.quarantine(1_000)}
    assert waiting == {(each.id, each.reason) for each in ledger.waiting.values()}


@settings(max_examples=settings.default.max_examples // 10)
@given(histories(), seeds)
def test_sqlite(told: list[Event], seed: int) -> None:
    """SQLite, told the same in another order, repeated and in batches, holds the same records, rows,
    suppression items and quarantine as the ledger told one by one.
    """
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        store = open_store(f"sqlite:///{folder}/laws.db", clock=lambda: NOW, durability="off")
        pipeline = Pipeline(store, RULES, lambda: NOW, lambda _: None)
        for batch in again(told, seed):
            pipeline.process([reading(event) for event in batch])
        assert_agree(store, told_one_by_one(told))
        store.close()


def test_dynamodb(dynamodb: str) -> None:
    """DynamoDB agrees with the ledger too, told in another order, repeated and in batches of which
    several are under way at once. The seed says who goes on at each call, so a failure can be had again.
    """

    @settings(max_examples=max(settings.default.max_examples // 50, 4))
    @given(histories(), seeds)
    def law(told: list[Event], seed: int) -> None:
        store = open_store(url_of(dynamodb), clock=lambda: NOW, streams=COUNTING.streams)
        turns = Turns(seed, at_once=4)
        store.calls.threads = 1
        store.calls.client = turns.through(store.calls.client)
        pipeline = Pipeline(store, RULES, lambda: NOW, lambda _: None)
        batches = [[reading(event) for event in batch] for batch in again(told, seed)]
        turns.run([partial(pipeline.process, batch) for batch in batches])
        assert_agree(store, told_one_by_one(told))
        store.close()

    law()
