"""Replay: feed stored events in again, in large batches.

Reading and committing cost about the same, so large files are read in processes of their own. A small
input is read in this process, since starting others would take longer, and so is an archive in S3, where
most of the time is spent waiting for the network.
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
from sesight.ingest.replay.reader_processes import (
    ReadChunk,
    ReaderProcesses,
    Task,
    read_here,
    read_in_order,
)
from sesight.ingest.transport.files import InputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from sesight.domain.event import Disposition
    from sesight.ingest.pipeline import Pipeline
    from sesight.ingest.processed import Processed

SMALL = 4_000_000
"""Bytes of input up to which it is read in this process."""


class FrozenDay(Struct, frozen=True):
    """A send day of a stream whose totals are final, with the number of its events that were refused."""

    stream: str
    day: str
    events: int


class Summary(Struct, rename="camel", omit_defaults=True):
    """What a replay did. The dispositions sum to `read`. `frozen` has the send days that a backfill had
    to leave as they are.
    """

    read: int
    dispositions: dict[str, int]
    seconds: float
    events_per_second: float
    reasons: dict[str, int]
    frozen: list[FrozenDay] = []

    @property
    def has_events(self) -> bool:
        """Return whether any event was read, counted or not."""
        return not (
            _COUNTED.isdisjoint(self.dispositions) and _NOT_COUNTED.isdisjoint(self.reasons)
        )


_COUNTED = frozenset({"created", "updated", "duplicate", "expired", "erased"})
_NOT_COUNTED = frozenset(
    {"ignored-set", "unknown-account", "unknown-set", "unrouted", "future-send-time", "store"}
)
"""Reasons for not counting an event; all other reasons are of bodies that hold no event."""


class ReplayCounter:
    """Counts what became of readings, and measures the time."""

    def __init__(self) -> None:
        self.read = 0
        self._dispositions: Counter[Disposition] = Counter()
        self._reasons: Counter[str] = Counter()
        self._frozen: Counter[tuple[str, int]] = Counter()
        self._started = time.perf_counter()

    def add(self, processed: list[Processed]) -> None:
        """Count a processed batch."""
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
        """Return the fields of a `Summary`."""
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
    files: list[InputFile],
    known_sets: Collection[str],
    *,
    stream: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Feed every body of the files into a pipeline; return what became of them.

    When this returns, everything is durable. `progress` is called with the bytes and readings done.
    Raises SettingsError for a file that cannot be read, after committing what was read before, and
    StoreUnavailable.
    """
    size = sum(file.size or 0 for file in files)
    is_large = size > SMALL or any(file.size is None for file in files)
    is_local = all(type(file) is InputFile for file in files)
    task = Task(files, frozenset(known_sets), stream)
    if not is_large:
        chunks = read_here(task)
    elif is_local:
        chunks = _read_in_processes(task)
    else:
        chunks = read_in_order(task)
    counter = ReplayCounter()
    failed = None
    collects_garbage = gc.isenabled()
    gc.disable()  # a batch makes no cycles: reference counting alone frees it
    try:
        with closing(chunks):
            for chunk in chunks:
                if chunk.readings:
                    counter.add(pipeline.process(chunk.readings, at_rest=True))
                failed = failed or chunk.failed
                if progress is not None:
                    progress(chunk.done, counter.read)
        pipeline.sync()
    finally:
        if collects_garbage:
            gc.enable()
    if failed is not None:
        raise SettingsError(failed)
    return Summary(*counter.figures())


def _read_in_processes(task: Task) -> Generator[ReadChunk, None, None]:
    """Yield chunks from reader processes. The next one is received while the last one is committed,
    which waits for the disk.
    """
    readers = ReaderProcesses(task)
    executor = ThreadPoolExecutor(1)
    try:
        chunks = readers.chunks()
        pending = executor.submit(next, chunks, None)
        while (chunk := pending.result()) is not None:
            pending = executor.submit(next, chunks, None)
            yield chunk
    finally:
        readers.close()  # before the executor, whose thread may wait for them
        executor.shutdown()
