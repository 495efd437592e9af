"""A change feed as DynamoDB delivers it, with everything that may happen to it on the way."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

from msgspec.structs import replace

from sesight.domain.counting import tally_of
from sesight.domain.event import Bounce, Click, Delivery, Identity, Open, Send
from sesight.domain.record import Record
from sesight.domain.rollup import Deltas, RollupKey, Rollups
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb.keys import TOTAL
from sesight.store.dynamodb.record_codec import record_body
from sesight.store.dynamodb.rollup_aggregator import FeedChange
from sesight.store.dynamodb.rollups import SEQUENCE_DIGITS, Contribution, sparse
from tests.store.contract import COUNTING, NOW

Apply = Callable[[str, Sequence[FeedChange]], object]
"""Applies changes of one shard."""


class Crash(Exception):
    """The process ends here."""


class Rows:
    """Rollup rows in a dictionary, each updated atomically and on DynamoDB's condition; the process
    crashes after `fuse` updates.
    """

    def __init__(self) -> None:
        """Start with no row."""
        self.parts: dict[tuple[RollupKey, str], tuple[str, dict[str, int]]] = {}
        self.fuse: int | None = None

    def add(
        self, key: RollupKey, shard: str, contributions: Sequence[Contribution], now: int
    ) -> dict | None:
        """Add to a part, unless it has seen the first contribution."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                raise Crash
        checkpoint, counts = self.parts.get((key, shard), ("", {}))
        if checkpoint and not self.is_new(checkpoint, contributions):
            return {"ckpt": {"S": checkpoint}}
        counts = dict(counts)
        for one in contributions:
            for name, n in one.increments.items():
                counts[name] = counts.get(name, 0) + n
        self.parts[key, shard] = (contributions[-1].sequence, counts)
        return None

    def is_new(self, checkpoint: str, contributions: Sequence[Contribution]) -> bool:
        """Return whether all of the contributions come after the checkpoint."""
        return checkpoint < contributions[0].sequence

    def sums(self) -> dict[RollupKey, dict[str, int]]:
        """Return each row that is not all zero."""
        found: dict[RollupKey, dict[str, int]] = {}
        for (key, _), (_, counts) in self.parts.items():
            row = found.setdefault(key, {})
            for name, n in counts.items():
                row[name] = row.get(name, 0) + n
        nonzero = {key: {name: n for name, n in row.items() if n} for key, row in found.items()}
        return {key: row for key, row in nonzero.items() if row}


class LastSequence(Rows):
    """Wrong: the condition is on the LAST sequence number of the batch."""

    def is_new(self, checkpoint: str, contributions: Sequence[Contribution]) -> bool:
        """Return whether the last contribution comes after the checkpoint."""
        return checkpoint < contributions[-1].sequence


class History(NamedTuple):
    """Changes by shard, and the records that they end with."""

    shards: dict[str, list[FeedChange]]
    records: list[Record]


def history(rng: random.Random, changes: int = 40) -> History:
    """Return changes of a few records: they grow and move to another campaign and day, and a shard
    is split in the middle.
    """
    records: dict[int, Record] = {}
    shards: dict[str, list[FeedChange]] = {}
    sequence = rng.choice([10**20 - 15, 10**20, 10**39 - 20])
    for n in range(changes):
        number = rng.randrange(6)
        before = records.get(number)
        after = records[number] = _changed(rng, number, before)
        if before is not None and record_body(before) == record_body(after):
            continue  # DynamoDB tells of no write that changes nothing
        shard = f"shardId-{crc32(str(number).encode()) % (2 if n < changes // 2 else 3)}"
        if n >= changes // 2:
            shard += "-child"
        sequence += rng.randrange(1, 9)
        shards.setdefault(shard, []).append(
            FeedChange(
                str(sequence).zfill(SEQUENCE_DIGITS),
                "MODIFY" if before is not None else "INSERT",
                f"m{number}",
                record_body(before) if before is not None else None,
                record_body(after),
            )
        )
    return History(shards, list(records.values()))


def _changed(rng: random.Random, number: int, before: Record | None) -> Record:
    at = NOW - DAY * rng.randrange(1, 3)
    identity = Identity(at, "a@example.com")
    timeline: tuple = (Send(at),)
    if before is not None:
        identity, timeline = before.identity, before.timeline
        at = identity.sent_at
        what = rng.randrange(6)
        if what == 0:
            identity = replace(identity, tags=(("campaign_id", rng.choice("ab")),))
        elif what == 1:
            identity = replace(identity, sent_at=min(at, NOW - 2 * DAY))
        else:
            later = at + rng.randrange(10**8)
            more = rng.choice(
                [
                    Delivery(later, None, "250 ok"),
                    Open(later, None, "Mozilla/5.0"),
                    Click(later, link=f"https://x.example/{number % 2}"),
                    Bounce(later, None, "Permanent", "General"),
                ]
            )
            timeline = tuple(sorted({*timeline, more}, key=lambda one: (one.RANK, one.at)))
    record = Record(f"m{number}", f"r{number}@gmail.com", "outreach", identity, timeline)
    return replace(record, tally=tally_of(record, COUNTING))


def sums_of(records: Sequence[Record]) -> dict[RollupKey, dict[str, int]]:
    """Return the rows that records add up to, including campaigns' totals."""
    deltas = Deltas()
    for record in records:
        deltas.add(None, record.tally)
    rows: Rollups = deltas.rows()
    found = {key: sparse(counts) for key, counts in rows.items()}
    for key, counts in list(found.items()):
        if key.family == "day" and key.campaign:
            total = found.setdefault(key._replace(family=TOTAL, bucket=0), {})
            for name, n in counts.items():
                total[name] = total.get(name, 0) + n
    return found


def deliver(
    rng: random.Random, shards: dict[str, list[FeedChange]], rows: Rows, apply: Apply
) -> None:
    """Deliver every shard in its order, in batches of any size, with crashes during and after
    batches, each followed by the same changes in other batches; and start again from an earlier
    point now and then.
    """
    left = dict.fromkeys(shards, 0)
    while left:
        shard = rng.choice(sorted(left))
        changes, at = shards[shard], left[shard]
        size = rng.randrange(1, 12)
        if rng.random() < 0.3:
            rows.fuse = rng.randrange(12)
        try:
            apply(shard, changes[at : at + size])
        except Crash:
            continue  # what was applied stays; the batch comes again
        finally:
            rows.fuse = None
        if rng.random() < 0.15:
            continue  # it ended before it could say that it was done
        left[shard] = at + size
        if rng.random() < 0.1:
            left[shard] = rng.randrange(at + 1)
        if left[shard] >= len(changes):
            del left[shard]


def deliver_in_two(shards: dict[str, list[FeedChange]], apply: Apply) -> None:
    """Wrong: two readers share a shard, each with the changes of half of the items."""
    for shard, changes in shards.items():
        for start in range(0, len(changes), 8):
            some = changes[start : start + 8]
            for half in (1, 0):
                of_half = [
                    one for one in some if crc32((one.message_id or "").encode()) % 2 == half
                ]
                if of_half:
                    apply(shard, of_half)
