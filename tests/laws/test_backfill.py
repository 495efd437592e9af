"""A backfill may go on: any runs, files, orders and interruptions give the totals of one run."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from sesight.domain.event import Event
from sesight.domain.ports import Changes, Store, View
from sesight.domain.rollup import Family, Rollups
from sesight.domain.timestamps import DAY
from sesight.ingest.pipeline import Pipeline
from sesight.services.recount import Recount, recount
from sesight.store import open_store
from tests.builders import COUNTING, NOW
from tests.laws.happenings import again, histories, reading, seeds, some_events
from tests.laws.test_stores import MEMORY, rows_of, totals_of
from tests.reception import RULES
from tests.store.engine import url_of

BEGAN = NOW + 400 * DAY
"""When the first run begins: all messages of the histories are long past retention."""


class Interrupted(Exception):
    """The process ends here."""


class Process:
    """One process that backfills, at a time; its commit number `fuse` fails, before or after it."""

    def __init__(self, url: str, now: int, fuse: int | None = None, *, after: bool = False) -> None:
        """Open the store as a process does."""
        self.now = now
        self.store: Store = open_store(
            url, clock=lambda: now, durability="off", streams=COUNTING.streams
        )
        self._fuse = fuse
        self._after = after
        rules = replace(RULES, live_from=self.store.live_from, backfill=True)
        self._pipeline = Pipeline(self, rules, lambda: now, None)

    def transact(self, fold: Callable[[View], Changes]) -> object:
        """Commit, unless it is the commit that fails."""
        last = self._fuse == 0
        if self._fuse is not None:
            self._fuse -= 1

        def cut_off(view: View) -> Changes:
            fold(view)
            raise Interrupted

        found = self.store.transact(cut_off if last and not self._after else fold)
        if last:
            raise Interrupted
        return found

    def run(self, batches: list[list[Event]]) -> None:
        """Take batches in, until the process ends or they do."""
        try:
            for batch in batches:
                taken = self._pipeline.process([reading(event) for event in batch])
                assert "frozen-day" not in {each.reason for each in taken}
        except Interrupted:
            pass
        self.store.close()


def swept(url: str, now: int) -> None:
    """Sweep a store as a server does that runs between two runs."""
    store = open_store(url, clock=lambda: now, streams=COUNTING.streams)
    store.transact(lambda _: Changes({}, {}, {}, {}, [], [], event_at=now))
    store.sweep(now, 5_000)
    store.close()


def state(url: str, now: int) -> tuple[Rollups, Rollups, Recount]:
    """Return all totals of a store but those of hours, which are kept for a month, and a recount."""
    store = open_store(url, clock=lambda: now, streams=COUNTING.streams)
    rows = {key: row for key, row in rows_of(store).items() if key.family != Family.HOUR}
    found = (rows, totals_of(store), recount(store, COUNTING, now, COUNTING.streams))
    store.close()
    return found


def in_runs(told: list[Event], seed: int, many: str, one: str) -> None:
    """Compare a store that was told in several runs with one that was told in one."""
    random = Random(seed)
    now = BEGAN
    for _ in range(random.randrange(1, 4)):
        batches = again(random.sample(told, random.randrange(1, len(told) + 1)), seed)
        fuse = random.randrange(len(batches) + 1)
        Process(many, now, fuse, after=random.random() < 0.5).run(batches)
        now += random.choice((0, DAY // 2, 9 * DAY))
        swept(many, now)
    Process(many, now).run(again(told, seed))
    swept(many, now)
    Process(one, BEGAN).run([told])
    found = state(many, now)
    assert found == state(one, BEGAN)
    assert found[2].differences == []


@settings(max_examples=settings.default.max_examples // 10)
@given(histories(), seeds)
def test_runs(told: list[Event], seed: int) -> None:
    """Files split, shuffled and repeated, in several runs of which all but the last may be cut off at any
    commit, over weeks in which a server sweeps: the totals are those of one run, and a recount agrees.
    """
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        in_runs(told, seed, *(f"sqlite:///{folder}/{name}.db" for name in ("many", "one")))


def test_dynamodb(dynamodb: str) -> None:
    """The same holds of DynamoDB, whose rollups come later."""

    @settings(max_examples=max(settings.default.max_examples // 200, 3))
    @given(histories(), seeds)
    def law(told: list[Event], seed: int) -> None:
        in_runs(told, seed, url_of(dynamodb), url_of(dynamodb))

    law()


@pytest.mark.parametrize("after", [False, True])
def test_every_commit(tmp_path: Path, after: bool) -> None:
    """Wherever the first run is cut off, the second comes to the totals of one."""
    told = some_events(40)
    batches = [told[at : at + 2] for at in range(0, len(told), 2)]
    once = f"sqlite:///{tmp_path}/once.db"
    Process(once, BEGAN).run([told])
    for fuse in range(len(batches)):
        url = f"sqlite:///{tmp_path}/{fuse}.db"
        Process(url, BEGAN, fuse, after=after).run(batches)
        swept(url, BEGAN + DAY)
        Process(url, BEGAN + DAY).run(batches[::-1])
        assert state(url, BEGAN + DAY) == state(once, BEGAN)
