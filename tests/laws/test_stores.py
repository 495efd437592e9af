"""Every store agrees with the ledger, which is nothing but dictionaries."""

from collections.abc import Callable
from functools import partial
from operator import add
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from sesight.domain.event import Event
from sesight.domain.ports import Store
from sesight.domain.rollup import Family, RollupKey, Rollups
from sesight.domain.suppression.manual import SuppressionCommand
from sesight.ingest.pipeline import Pipeline
from sesight.store import open_store
from tests.builders import COUNTING, NOW
from tests.laws.happenings import MESSAGES, again, histories, reading, seeds
from tests.laws.ledger import Ledger, told_one_by_one
from tests.laws.test_decisions import KEYS, decisions_on
from tests.laws.turns import Turns
from tests.reception import RULES
from tests.store.engine import url_of

MEMORY = Path("/dev/shm")
CAMPAIGNS = ("", "winter", "Alpha", "~untagged")
ADDRESSES = sorted({*KEYS, *(each for _, _, people in MESSAGES.values() for each in people)})


def rows_of(store: Store) -> Rollups:
    """Return every rollup row of a store, whatever is in it."""
    store.settle()
    return {
        RollupKey(*row.key): list(row.counts)
        for family in Family
        for stream in COUNTING.streams
        for campaign in CAMPAIGNS
        for row in store.rollups(family, stream, campaign)
    }


def totals_of(store: Store) -> Rollups:
    """Return every campaign's totals, whatever is in them."""
    return {
        row.key: list(row.counts)
        for stream in COUNTING.streams
        for campaign in CAMPAIGNS
        for row in store.campaign_totals(stream, campaign)
    }


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


Act = Callable[[Pipeline], object]
"""Takes in a batch of events, or of decisions."""


def acts_of(told: list[Event], decisions: list[SuppressionCommand], seed: int) -> list[Act]:
    """Return events and decisions in another order, some of them several times, in batches."""
    batches = [[reading(event) for event in batch] for batch in again(told, seed)]
    acts: list[Act] = [partial(Pipeline.process, readings=batch) for batch in batches]
    random = Random(seed)
    repeated = decisions + random.choices(decisions, k=len(decisions) and random.randrange(4))
    random.shuffle(repeated)
    for at in range(0, len(repeated), 2):
        some = repeated[at : at + 2]
        acts.insert(random.randrange(len(acts) + 1), partial(Pipeline.decide, decisions=some))
    return acts


def expected(told: list[Event], decisions: list[SuppressionCommand]) -> Ledger:
    """Return the ledger of events and decisions told one by one."""
    ledger = told_one_by_one(told)
    ledger.decide(*decisions)
    return ledger


@settings(max_examples=settings.default.max_examples // 10)
@given(histories(), seeds)
def test_sqlite(told: list[Event], seed: int) -> None:
    """SQLite, told the same in another order, repeated and in batches, holds the same records, rows,
    suppression items and quarantine as the ledger told one by one.
    """
    decisions = decisions_on(told, Random(seed))
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        store = open_store(f"sqlite:///{folder}/laws.db", clock=lambda: NOW, durability="off")
        pipeline = Pipeline(store, RULES, lambda: NOW, lambda _: None)
        for act in acts_of(told, decisions, seed):
            act(pipeline)
        assert_agree(store, expected(told, decisions))
        store.close()


def test_dynamodb(dynamodb: str) -> None:
    """DynamoDB agrees with the ledger too, told in another order, repeated and in batches of which
    several are under way at once. The seed says who goes on at each call, so a failure can be had again.
    """

    @settings(max_examples=max(settings.default.max_examples // 50, 4))
    @given(histories(), seeds)
    def law(told: list[Event], seed: int) -> None:
        decisions = decisions_on(told, Random(seed))
        store = open_store(url_of(dynamodb), clock=lambda: NOW, streams=COUNTING.streams)
        turns = Turns(seed, at_once=4)
        store.client.threads = 1
        store.client.botocore = turns.through(store.client.botocore)
        pipeline = Pipeline(store, RULES, lambda: NOW, lambda _: None)
        turns.run([partial(act, pipeline) for act in acts_of(told, decisions, seed)])
        assert_agree(store, expected(told, decisions))
        store.close()

    law()
