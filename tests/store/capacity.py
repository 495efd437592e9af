"""The cost of events in DynamoDB's write units, as AWS's own engine counts them."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from sesight.domain.event import Bounce, Click, Delivery, Event, Identity, Open, Report, Send
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.reading import EventReading
from sesight.ingest.rules import Rules
from sesight.store.dynamodb.keys import FEED
from sesight.store.dynamodb.rollup_aggregator import Aggregator, FeedChange, read_change
from sesight.store.dynamodb.store import DynamoStore
from sesight.store.dynamodb.tables import Table
from tests.store.anything import ses_id
from tests.store.contract import COUNTING, NOW

AGENTS = """\
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.7258.128 Safari/537.36
Mozilla/5.0 (Linux; Android 15; Pixel 9 Pro Build/AP4A.250205.002; wv) AppleWebKit/537.36 (KHTML, like Gecko) Mobile
Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7_1) AppleWebKit/618.3.7 (KHTML, like Gecko) SomeMail/4.22.1-99 Safari/618
Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148
Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)
Mozilla/5.0""".splitlines()
NETWORKS = ("203.0.113.0", "198.51.100.0", "192.0.2.0", "2001:db8:1::")
LINKS = ("https://www.example.com/partners/quarterly/{id}/details", "https://example.org/a")

WAVES = ("Send", "Delivery", "Bounce", "Open", "Click")
MIX = {"Send": 1.0, "Delivery": 0.97, "Bounce": 0.02, "Open": 0.6, "Click": 0.1}
"""Events of each type a message: the mix that costs are told for (2.69 in all)."""


def identity(rng: random.Random, n: int, at: int, stream: str) -> Identity:
    """Return the identity of an ordinary message: sender, subject, template, send id and three
    tags.
    """
    campaign = rng.choice(["spring-partners-2026", "statement-2026-10", "a"])
    tags = {
        "outreach": (
            ("campaign_id", campaign),
            ("campaign_name", "Spring partners 2026"),
            ("campaign_step", "2-follow-up"),
        ),
        "finance": (
            ("campaign_attempt", rng.choice("12")),
            ("campaign_id", campaign),
            ("campaign_month", "2024-09"),
        ),
    }[stream]
    return Identity(
        at,
        "Ana from Example Partnerships <ana.partnerships@news.example.com>",
        "Quarterly partnership update: what changed for your account",
        "spring-partners-v3",
        f"0197a3f2-7c41-7b7e-9a53-{n:08x}{rng.getrandbits(16):04x}",
        rng.choice(["Gmail", "Hotmail", None]),
        tags,
    )


def message(rng: random.Random, n: int, stream: str, kinds: Sequence[str]) -> dict[str, Event]:
    """Return one event of each type for an ordinary message to one recipient."""
    at = NOW - DAY + rng.randrange(DAY // 2)
    who = identity(rng, n, at, stream)
    reply = f"250 2.0.0 OK  17279{n:05d} ffacd0b85a97d-37d0e6f3a12si{n}f8f.456 - gsmtp"
    seen = (rng.choice(AGENTS), rng.choice(NETWORKS), rng.choice(["Unlikely", None]))
    found = {
        "Send": Send(at),
        "Delivery": Delivery(at + 2_345, None, reply, "a8-31.smtp-out.amazonses.com", 2_111),
        "Bounce": Bounce(
            at + 999, None, "Permanent", "General", "smtp; 550 5.1.1 unknown", "5.1.1", "failed"
        ),
        "Open": Open(at + rng.randrange(9 * 10**7), None, *seen),
        "Click": Click(at + rng.randrange(9 * 10**7), None, *seen, rng.choice(LINKS)),
    }
    recipient = f"alexandra.papadopoulou{n}@subsidiary{n % 7}.example.org"
    return {
        kind: Event(ses_id(at, n), who, (Report(recipient, found[kind]),), f"{stream}-tracking")
        for kind in kinds
    }


def waves(
    rng: random.Random, messages: int, stream: str, coalesced: float
) -> dict[str, list[Event]]:
    """Return the events of the mix in batches. No batch has two events of one message, except that
    a share of the deliveries comes with the sends.
    """
    found: dict[str, list[Event]] = {kind: [] for kind in WAVES}
    for n in range(messages):
        share = (n + 0.5) / messages
        kinds = [kind for kind in WAVES if share < MIX[kind] and kind != "Bounce"]
        if share > 1 - MIX["Bounce"]:
            kinds.append("Bounce")
        for kind, event in message(rng, n, stream, kinds).items():
            early = kind == "Delivery" and rng.random() < coalesced
            found["Send" if early else kind].append(event)
    return found


class Meter:
    """Counts the write units of a client's calls, all but those of statements, by table."""

    def __init__(self, client) -> None:
        """Request the consumed capacity of every write, and sum it."""
        self.units: Counter[str] = Counter()
        for name in ("PutItem", "UpdateItem", "TransactWriteItems"):
            client.meta.events.register(f"provide-client-params.dynamodb.{name}", self._ask)
            client.meta.events.register(f"after-call.dynamodb.{name}", self._sum)

    def _ask(self, params: dict, **_: object) -> dict:
        return {**params, "ReturnConsumedCapacity": "INDEXES"}

    def _sum(self, parsed: dict, **_: object) -> None:
        said = parsed.get("ConsumedCapacity", [])
        for one in said if isinstance(said, list) else [said]:
            self.units[one["TableName"]] += one["CapacityUnits"]


def process(store: DynamoStore, batches: Iterable[Sequence[Event]], size: int = 500) -> int:
    """Process batches; return the number of events."""
    rules = Rules(counting=COUNTING, suppression=SuppressionPolicy(), live_from=store.live_from)
    pipeline = Pipeline(store, rules, lambda: NOW, lambda _: None)
    events = 0
    for batch in batches:
        for start in range(0, len(batch), size):
            some = batch[start : start + size]
            pipeline.process([EventReading("file", event) for event in some])
            events += len(some)
    return events


def feed_of(store: DynamoStore, table: Table) -> list[dict]:
    """Return the records of a table's change feed."""
    arn = store.client("describe_table", TableName=table.name)["Table"]["LatestStreamArn"]
    client = store._streams_client()  # noqa: SLF001
    found = []
    for shard in client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = client.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while records := (answer := client.get_records(ShardIterator=iterator))["Records"]:
            found += records
            iterator = answer["NextShardIterator"]
    client.close()
    return found


def record_units(store: DynamoStore, stream: str) -> Counter[str]:
    """Return the write units of a stream's record changes, by table or index, as PutItem is
    charged. The engine does not report what statements consume, so each change is written again to
    a table like it.
    """
    table = store.tables[stream].tracking
    twin = table._replace(name=f"{table.name}-twin")
    client = store.client
    client("create_table", **twin.definition())
    found: Counter[str] = Counter()
    for change in feed_of(store, table):
        said = client(
            "put_item",
            TableName=twin.name,
            Item=change["dynamodb"]["NewImage"],
            ReturnConsumedCapacity="INDEXES",
        )["ConsumedCapacity"]
        found[table.name] += said["Table"]["CapacityUnits"]
        for index, units in said.get("GlobalSecondaryIndexes", {}).items():
            found[index] += units["CapacityUnits"]
    return found


def size_of(item: dict) -> int:
    """Return the size of an item as DynamoDB counts it: names, texts in UTF-8, bytes, and for a
    number half its digits plus one.
    """
    found = 0
    for name, value in item.items():
        ((kind, content),) = value.items()
        found += len(name)
        if kind == "S":
            found += len(content.encode())
        elif kind == "B":
            found += len(content)
        else:
            found += (len(content.strip("0")) + 1) // 2 + 1
    return found


def rollup_units(store: DynamoStore, stream: str, changes: list[FeedChange], size: int) -> float:
    """Return the write units of rollup rows per change, applied in batches of a size."""
    aggregator = Aggregator(store.client, store.tables, lambda: NOW)
    meter = Meter(store.client.botocore)
    table = store.tables[stream].tracking.name
    for start in range(0, len(changes), size):
        aggregator.apply(table, f"{FEED}-{size}", changes[start : start + size])
    return sum(meter.units.values()) / len(changes)


def changes_of(store: DynamoStore, stream: str) -> list[FeedChange]:
    """Return the changes of a stream's records."""
    return [read_change(one) for one in feed_of(store, store.tables[stream].tracking)]
