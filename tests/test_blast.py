"""A blast to one campaign: two processors at once, a reader beside them, then its totals.

A tenth of it by default; SESIGHT_BLAST_MESSAGES says how many messages (`make blast`: 100,000).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sesight.domain.ports import RecordFilter
from sesight.domain.tally import COUNTERS
from sesight.store import open_store
from sesight.store.dynamodb.client import equals
from sesight.store.dynamodb.keys import CAMPAIGN_SHARDS, sharded
from sesight.store.dynamodb.store import DynamoStore
from tests.blast import CAMPAIGN
from tests.builders import NOW
from tests.invocation import aggregate
from tests.store.engine import dynamodb_local, url_of

MESSAGES = int(os.environ.get("SESIGHT_BLAST_MESSAGES", "10000"))
WANTED = RecordFilter(streams=("outreach",), campaign=CAMPAIGN)


def pages(store: DynamoStore, most: int) -> list[str]:
    """Return the message ids of a campaign's newest pages."""
    found: list[str] = []
    cursor = None
    while len(found) < most:
        page = store.messages(WANTED, 100, cursor, NOW)
        found += [record.message_id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    return found


def goes_on(process: subprocess.Popen) -> bool:
    """Return whether a process still runs after a second."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        return True
    return False


@pytest.mark.dynamodb
def test_blast() -> None:
    """Every event is stored once, the campaign is spread evenly over its keys, pages have no gap and no
    repetition while it goes on, memory is bounded, and the totals are the true ones.
    """
    with dynamodb_local() as engine:
        url = url_of(engine)
        store = open_store(url, clock=lambda: NOW)
        assert isinstance(store, DynamoStore)
        half = MESSAGES // 2
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.blast", url, str(first), str(last)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parent.parent,
                env={**os.environ, "SESIGHT_BLAST_MESSAGES": ""},
            )
            for first, last in ((0, half), (half, MESSAGES))
        ]
        looks = 0
        for process in running:
            while goes_on(process):
                seen = pages(store, 500)
                assert len(seen) == len(set(seen))
                looks += bool(seen)
        told = [json.loads(process.communicate()[0]) for process in running]
        assert looks > 0
        assert max(each["peak"] for each in told) < 256

        ids = pages(store, MESSAGES + 1)
        assert (len(ids), len(set(ids))) == (MESSAGES, MESSAGES)
        sizes = [
            sum(1 for _ in _entries(store, sharded(CAMPAIGN, n))) for n in range(CAMPAIGN_SHARDS)
        ]
        assert sum(sizes) == MESSAGES
        assert max(sizes) / (MESSAGES / CAMPAIGN_SHARDS) < 1.1

        aggregate(store)
        totals: Counter[str] = Counter()
        for row in store.rollups("day", "outreach", CAMPAIGN, dimension=""):
            totals.update(dict(zip(COUNTERS, row.counts, strict=True)))
        assert totals["recipients"] == totals["sent"] == MESSAGES
        assert totals["bounced"] + totals["delivered"] + totals["pending"] == MESSAGES
        assert totals["opens"] + totals["clicks"] > 0.6 * MESSAGES
        store.close()


def _entries(store: DynamoStore, shard: str) -> object:
    table = store.tables["outreach"].tracking.name
    return store.client.query(
        TableName=table, IndexName="CampaignIndex", **equals(campaignShard=shard)
    )
