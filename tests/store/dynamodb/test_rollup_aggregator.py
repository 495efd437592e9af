"""The rollup aggregator: every change in the feed counts once, whatever happens on the way."""

import base64
import random
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from sesight.domain.rollup import RollupKey
from sesight.domain.suppression.item import Cause, Suppression
from sesight.domain.timestamps import DAY
from sesight.services.recount import recount
from sesight.store import STREAMS, open_store
from sesight.store.dynamodb.client import equals
from sesight.store.dynamodb.keys import FEED, TOTAL
from sesight.store.dynamodb.record_codec import record_body
from sesight.store.dynamodb.rollup_aggregator import (
    Aggregator,
    Applied,
    FeedChange,
    ShardUnknown,
    WrongFeed,
)
from sesight.store.dynamodb.rollups import COMPACT_AFTER, SEQUENCE_DIGITS, RollupRows, sparse
from sesight.store.dynamodb.store import DynamoStore
from sesight.store.dynamodb.tables import tables_of
from tests.store import pump
from tests.store.contract import COUNTING, NOW, changes, put, record
from tests.store.engine import url_of

SEEDS = 500
TABLE = "outreach-campaign-tracking"


class InMemory(RollupRows):
    """The store's rollup rows over a dictionary instead of DynamoDB."""

    def __init__(self, rows: pump.Rows) -> None:
        """Use the dictionary."""
        self.add = rows.add


class OneByOne:
    """A client that applies a function to one item after the other, where the store's uses threads."""

    def map(self, function, items):
        """Apply a function to each item."""
        return [function(item) for item in items]


class AllHaveRows:
    """No bound on values."""

    def rows(self, keys, *, register):
        """Return each key under itself."""
        return {key: key for key in keys}


def in_memory(rows: pump.Rows) -> Callable:
    """Return what applies changes of a shard to rows in memory."""
    aggregator = Aggregator(OneByOne(), tables_of(STREAMS), lambda: NOW)
    aggregator.rows = InMemory(rows)
    aggregator.values = AllHaveRows()
    return lambda shard, some: aggregator.apply(TABLE, shard, some)


def wrong_seeds(rows_of: Callable[[], pump.Rows], deliver: Callable) -> list[int]:
    """Return the seeds for which the rows are not the sum of the tallies."""
    wrong = []
    for seed in range(SEEDS):
        rng = random.Random(seed)
        told = pump.history(rng)
        rows = rows_of()
        deliver(rng, told.shards, rows, in_memory(rows))
        if rows.sums() != pump.sums_of(told.records):
            wrong.append(seed)
    return wrong


def test_exactly_once() -> None:
    """Under crashes, re-batching, replays and a shard split the rows are the sum of the tallies."""
    assert wrong_seeds(pump.Rows, pump.deliver) == []


def test_last_sequence_is_wrong() -> None:
    """With a condition on the last sequence number the same deliveries give wrong totals."""
    assert len(wrong_seeds(pump.LastSequence, pump.deliver)) > SEEDS // 10


def test_two_readers_by_item_are_wrong() -> None:
    """With a shard's changes split among two readers totals are wrong: hence a factor of 1."""

    def deliver(rng, shards, rows, apply):
        pump.deliver_in_two(shards, apply)

    assert len(wrong_seeds(pump.Rows, deliver)) > SEEDS // 10


@pytest.fixture
def store(dynamodb: str):
    """A new store on AWS's engine."""
    opened = open_store(url_of(dynamodb), clock=lambda: NOW)
    yield opened
    opened.close()


def aggregator_of(store: DynamoStore, now: int = NOW) -> Aggregator:
    """Return an aggregator of the store's tables."""
    return Aggregator(store.client, store.tables, lambda: now)


def rows_in(store: DynamoStore) -> dict[RollupKey, dict[str, int]]:
    """Return the rows that are stored, campaigns' totals too."""
    found = {}
    for campaign in ("", "a", "b", "~untagged"):
        for family in ("day", "hour", "age", "link"):
            for row in store.rollups(family, "outreach", campaign):
                found[row.key] = sparse(row.counts)
        for row in store.campaign_totals("outreach", campaign) if campaign else ():
            found[row.key._replace(family=TOTAL)] = sparse(row.counts)
    return {key: counts for key, counts in found.items() if counts}


@pytest.mark.parametrize("seed", range(3))
def test_on_the_engine(store: DynamoStore, seed: int) -> None:
    """The same deliveries lead to the same rows on AWS's engine as in memory."""
    rng = random.Random(seed)
    told = pump.history(rng)
    aggregator = aggregator_of(store)
    table = store.tables["outreach"].tracking.name
    apply = lambda shard, some: aggregator.apply(table, shard, some)  # noqa: E731
    pump.deliver(rng, told.shards, pump.Rows(), apply)
    assert rows_in(store) == pump.sums_of(told.records)


BOTH_IMAGES = "NEW_AND_OLD_IMAGES"


def lambda_event(
    store: DynamoStore, some: list[FeedChange], shows: str = BOTH_IMAGES, **more: object
) -> dict:
    """Return changes in the form of a Lambda event: binary values are base64. `shows` is the feed's
    view type, which determines its images.
    """
    table = store.tables["outreach"].tracking.name

    def image(body: bytes | None) -> dict:
        return {"body": {"B": base64.b64encode(body).decode()}} if body is not None else {}

    records = []
    for change in some:
        said = {
            "SequenceNumber": change.sequence.lstrip("0"),
            "Keys": {"messageId": {"S": change.message_id}},
            "StreamViewType": shows,
        }
        for name, body in (("OldImage", change.before), ("NewImage", change.after)):
            if body is not None and shows in (BOTH_IMAGES, name.replace("Image", "_IMAGE").upper()):
                said[name] = image(body)
        records.append(
            {
                "eventName": change.kind,
                "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:000000000000:table/{table}/stream/x",
                "dynamodb": said,
            }
        )
    return {"Records": records, **more}


def test_lambda_event(store: DynamoStore) -> None:
    """A windowed batch is applied, and a new mapping that starts at the oldest change adds nothing."""
    told = pump.history(random.Random(9))
    aggregator = aggregator_of(store)
    for _ in range(2):
        for shard, some in told.shards.items():
            applied = aggregator.take(lambda_event(store, some, shardId=shard))
            assert (applied.changes, applied.bad) == (len(some), 0)
    assert rows_in(store) == pump.sums_of(told.records)


def test_no_shard(store: DynamoStore) -> None:
    """Without a shard's id nothing is applied, and the batch fails."""
    told = pump.history(random.Random(9))
    with pytest.raises(ShardUnknown, match="tumbling_window"):
        aggregator_of(store).take(lambda_event(store, next(iter(told.shards.values()))))
    assert rows_in(store) == {}
    assert aggregator_of(store).take({"Records": []}) == Applied(0, 0, 0)


def bad_records(store: DynamoStore) -> dict[str, int]:
    """Return how many unreadable changes the rows of each stream's feed count."""
    counts = Counter()
    for stream, tables in store.tables.items():
        for item in store.client.query(TableName=tables.rollups.name, **equals(pk=f"{FEED}#")):
            counts[stream] += int(item["badRecords"]["N"])
    return counts


@pytest.mark.parametrize("shows", ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", ""])
def test_other_images(store: DynamoStore, shows: str) -> None:
    """A feed without both images is refused as a whole, with a sentence that says what to set."""
    told = pump.history(random.Random(9))
    shard, some = next(iter(told.shards.items()))
    with pytest.raises(WrongFeed, match=f"{shows}.*NEW_AND_OLD_IMAGES"):
        aggregator_of(store).take(lambda_event(store, some, shows, shardId=shard))
    assert (rows_in(store), bad_records(store)) == ({}, {})


def test_other_images_followed(store: DynamoStore) -> None:
    """The same holds when this process follows the feed itself: totals are never made of half a
    feed.
    """
    table = store.tables["outreach"].tracking
    store.client("update_table", TableName=table.name, StreamSpecification={"StreamEnabled": False})
    store.client(
        "update_table",
        TableName=table.name,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    put(store, record(NOW, 1))
    with pytest.raises(WrongFeed, match="NEW_IMAGE"):
        store.settle()
    assert rows_in(store) == {}
    store._awaited.clear()  # noqa: SLF001 - what never comes is not waited for at the end


def test_lacking_images(store: DynamoStore) -> None:
    """A change without an image that its kind must have is unreadable and in no total."""
    told = pump.history(random.Random(9))
    shard, some = max(told.shards.items(), key=lambda both: len(both[1]))
    lacking = [
        change._replace(**{name: None})
        for change in some
        for name in ("before", "after")
        if change.kind == "MODIFY" or name == "after"
    ]
    applied = aggregator_of(store).take(lambda_event(store, lacking, shardId=shard))
    assert (applied.bad, rows_in(store)) == (len(lacking), {})


def test_unknown_table(store: DynamoStore) -> None:
    """The feed of a table that belongs to no stream is refused with a sentence that names it."""
    told = pump.history(random.Random(9))
    shard, some = next(iter(told.shards.items()))
    event = lambda_event(store, some, shardId=shard)
    for change in event["Records"]:
        change["eventSourceARN"] = "arn:aws:dynamodb:eu-west-1:000000000000:table/orders/stream/x"
    with pytest.raises(WrongFeed, match="'orders'"):
        aggregator_of(store).take(event)


def test_sequence_widths(store: DynamoStore) -> None:
    """Around a power of ten the longer sequence number is the later one."""
    told = pump.history(random.Random(4))
    shard, some = max(told.shards.items(), key=lambda both: len(both[1]))
    numbered = [
        change._replace(sequence=str(10**21 - 2 + n).zfill(SEQUENCE_DIGITS))
        for n, change in enumerate(some)
    ]
    aggregator = aggregator_of(store)
    for change in numbered:
        aggregator.take(lambda_event(store, [change], shardId=shard))
    once = rows_in(store)
    for change in numbered:
        aggregator.take(lambda_event(store, [change], shardId=shard))
    assert rows_in(store) == once != {}


def test_removals(store: DynamoStore) -> None:
    """Expired and erased records leave totals as they are."""
    old = NOW - 91 * DAY
    put(store, record(old, 1), record(old + 1, 2))
    store.settle()
    before = store.rollups("day", "outreach")
    assert store.sweep(NOW, 9).records == 2
    store.settle()
    assert store.rollups("day", "outreach") == before != []


def test_recount_beside_the_feed(store: DynamoStore) -> None:
    """Changes still in the feed are no differences to a recount, which finds and repairs real
    errors beside them.
    """
    found = []

    def look() -> int:
        found.append(recount(store, COUNTING, NOW, ("outreach",)))
        return len(found[-1].increments)

    put(store, *(record(NOW - n, n) for n in range(9)))
    assert look() == 0
    (day, *_) = store.rollups("day", "outreach", dimension="")
    store.repair({day.key: [3] * len(day.counts)})
    put(store, *(record(NOW - n, n) for n in range(9, 20)))
    assert look() == 1
    put(store, *(record(NOW - n, n) for n in range(20, 30)))
    store.repair(found[-1].increments)
    assert look() == 0
    store.settle()
    assert store.rollups("day", "outreach", dimension="")[0].counts[0] == 30


def test_bad_record(store: DynamoStore) -> None:
    """A change that cannot be read is counted, and those around it are applied."""
    told = pump.history(random.Random(6), 12)
    one = told.records[0]
    assert one.tally is not None
    assert one.tally.dimensions is not None
    astray = replace(
        one, tally=replace(one.tally, dimensions=replace(one.tally.dimensions, stream="gone"))
    )
    aggregator = aggregator_of(store)
    bad = 0
    for shard, some in told.shards.items():
        poison = some[-1]._replace(
            sequence=str(int(some[-1].sequence) + 1).zfill(SEQUENCE_DIGITS), after=b"\x01nonsense"
        )
        poisons = [
            poison,
            poison._replace(sequence="9" * 39 + "0", after=b"\x63of later times"),
            poison._replace(sequence="9" * 40, after=record_body(astray), kind="INSERT"),
        ]
        for _ in range(2):
            table = store.tables["outreach"].tracking.name
            bad = aggregator.apply(table, shard, [*some, *poisons]).bad
    assert (bad, rows_in(store)) == (3, pump.sums_of(told.records))
    assert bad_records(store) == {"outreach": 3 * len(told.shards)}


def test_suppressions(store: DynamoStore) -> None:
    """Suppressions count under their first day and reason, and no longer once removed."""

    def item(address: str, counted: tuple[int, str] | None) -> Suppression:
        return Suppression("finance", address, (Cause(5, "c", "manual", 5),), counted=counted)

    def put_items(*items: Suppression) -> None:
        suppressions = {(one.stream, one.address): one for one in items}
        store.transact(lambda _: changes(suppressions=suppressions))
        store.settle()

    put_items(item("a@x.example", (3, "manual")), item("b@x.example", (3, "manual")))
    put_items(item("a@x.example", (4, "complaint")), item("b@x.example", None))
    found = {
        row.key: sparse(row.counts)
        for row in store.rollups("suppressed", "finance")
        if any(row.counts)
    }
    assert found == {
        RollupKey("suppressed", "finance", "", 4, "reason", "complaint"): {"recipients": 1}
    }


def test_compaction(store: DynamoStore) -> None:
    """Old parts of rows are compacted while readers read; no total ever differs."""
    told = pump.history(random.Random(2), 60)
    table = store.tables["outreach"].tracking.name
    old, young = aggregator_of(store, NOW - COMPACT_AFTER - 1), aggregator_of(store, NOW - 1)
    for n, (shard, some) in enumerate(sorted(told.shards.items())):
        (young if n == 4 else old).apply(table, shard, some)
    before = rows_in(store)
    seen, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(rows_in(store))

    reader = threading.Thread(target=look)
    reader.start()
    rows = store._parts.rollups  # noqa: SLF001
    went = [rows.compact("outreach", NOW, ("a", "b", "~untagged")) for _ in range(2)]
    done.set()
    reader.join()
    assert went[0] > 20
    assert went[1] == 0
    assert all(one == before for one in [*seen, rows_in(store)])
    for shard, some in told.shards.items():  # what is young may come again
        if shard.endswith("child"):
            young.apply(table, shard, some[:0])
    assert rows_in(store) == before == pump.sums_of(told.records)


def test_compaction_that_broke_off(store: DynamoStore) -> None:
    """Parts that a compaction covered but did not delete are not counted, and deleted later."""
    told = pump.history(random.Random(2), 60)
    table = store.tables["outreach"].tracking.name
    old = aggregator_of(store, NOW - COMPACT_AFTER - 1)
    for shard, some in told.shards.items():
        old.apply(table, shard, some)
    rows, client = store._parts.rollups, store.client  # noqa: SLF001
    delete_many = client.delete_many
    client.delete_many = lambda table, keys: (_ for _ in ()).throw(pump.Crash)
    with pytest.raises(pump.Crash):
        rows.compact("outreach", NOW, ("a", "b", "~untagged"))
    client.delete_many = delete_many
    assert rows_in(store) == pump.sums_of(told.records)
    while rows.compact("outreach", NOW, ("a", "b", "~untagged")):
        assert rows_in(store) == pump.sums_of(told.records)
