"""Replay: stored events fed in again, read in processes of their own and committed in large batches.

Reading and committing cost about the same, so on two cores they run side by side. A small input is
read in this process: starting another would cost more. So is what comes over the network, which is
waited for anyway.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.domain.timestamps import DAY, day_name
from sesight.ingest.event_batch import FROZEN
from sesight.ingest.replay.reader_processes import Portion, Readers, Task, read_here, read_in_order
from sesight.ingest.transport.files import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from sesight.domain.event import Disposition
    from sesight.ingest.pipeline import Pipeline
    from sesight.ingest.processed import Processed

SMALL = 4_000_000
"""Bytes up to which an input is read in this process."""


class FrozenDay(Struct, frozen=True):
    """A stream's send day whose totals are final, and how many events of it came."""

    stream: str
    day: str
    events: int


class Summary(Struct, rename="camel", omit_defaults=True):
    """What a replay did: dispositions sum to what was read. `frozen` names the send days of which a
    backfill could take nothing, if there are any.
    """

    read: int
    dispositions: dict[str, int]
    seconds: float
    events_per_second: float
    reasons: dict[str, int]
    frozen: list[FrozenDay] = []

    @property
    def has_events(self) -> bool:
        """Return whether any event was read, taken or not."""
        return not (_TAKEN.isdisjoint(self.dispositions) and _NOT_TAKEN.isdisjoint(self.reasons))


_TAKEN = frozenset({"created", "updated", "duplicate", "expired", "erased"})
_NOT_TAKEN = frozenset(
    {"ignored-set", "unknown-account", "unknown-set", "unrouted", "future-send-time", "store"}
)
"""Reasons for which an event that was read is not taken; the others are of bodies without one."""


class Account:
    """What became of readings so far, and since when."""

    def __init__(self) -> None:
        """Start now, with nothing."""
        self.read = 0
        self._dispositions: Counter[Disposition] = Counter()
        self._reasons: Counter[str] = Counter()
        self._frozen: Counter[tuple[str, int]] = Counter()
        self._started = time.perf_counter()

    def add(self, processed: list[Processed]) -> None:
        """Count what was processed."""
        self._dispositions.update([each.disposition for each in processed])
        self._reasons.update([each.reason for each in processed if each.reason is not None])
        self._frozen.update(
            [
                (each.stream or "", event.identity.sent_at // DAY)
                for each in processed
                if each.reason == FROZEN and (event := each.event) is not None
            ]
        )
        self.read += len(processed)

    def figures(
        self,
    ) -> tuple[int, dict[str, int], float, float, dict[str, int], list[FrozenDay]]:
        """Return the fields of a summary."""
        seconds = time.perf_counter() - self._started
        return (
            self.read,
            {name.value: n for name, n in sorted(self._dispositions.items())},
            round(seconds, 3),
            round(self.read / seconds, 1) if seconds else 0.0,
            dict(sorted(self._reasons.items())),
            [FrozenDay(name, day_name(day), n) for (name, day), n in sorted(self._frozen.items())],
        )


def replay(
    pipeline: Pipeline,
    found: list[Source],
    known_sets: Collection[str],
    *,
    stream: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Feed every body of the sources into a pipeline and say what became of them.

    When this returns, everything is durable. `progress` is told bytes and readings done. Raises
    SettingsError for an unreadable source (what was read before it is committed) and StoreUnavailable.
    """
    size = sum(source.size or 0 for source in found)
    large = size > SMALL or any(source.size is None for source in found)
    local = all(type(source) is Source for source in found)
    task = Task(found, frozenset(known_sets), stream)
    account = Account()
    collecting = gc.isenabled()
    gc.disable()  # everything a batch makes is dropped with it, and nothing of it is cyclic
    failed = None
    reading = _ahead(task) if large and local else read_in_order(task) if large else read_here(task)
    try:
        with closing(reading) as portions:
            for portion in portions:
                if portion.readings:
                    account.add(pipeline.process(portion.readings, at_rest=True))
                failed = failed or portion.failed
                if progress is not None:
                    progress(portion.done, account.read)
        pipeline.sync()
    finally:
        if collecting:
            gc.enable()
    if failed is not None:
        raise SettingsError(failed)
    return Summary(*account.figures())


def _ahead(task: Task) -> Generator[Portion, None, None]:
    """Yield portions, the next one being received while one is committed, which waits for the disk."""
    readers = Readers(task)
    receiving = ThreadPoolExecutor(1)
    try:
        portions = readers.portions()
        coming = receiving.submit(next, portions, None)
        while (portion := coming.result()) is not None:
            coming = receiving.submit(next, portions, None)
            yield portion
    finally:
        readers.close()  # first: the thread may be waiting for them
        receiving.shutdown()
