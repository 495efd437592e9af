"""An external merge sort of readings by message, in memory and, if necessary, in a temporary file.

A record is loaded, tallied and written once for each batch that touches it, so one batch with all three
events of a message costs a third of three batches with one each. The order changes no result: sorting is
only for speed. If the disk is full, the readings stay unsorted.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from typing import IO

RUN = 49_152
"""Entries sorted in memory at once (about 40 MB)."""

FIRST_RUN = 6_144
"""Entries of the first run. Each run is twice as long as the one before, so that the first is soon
ready to be committed.
"""

SPOOL_BYTES = 1 << 30
"""Bytes of the temporary file. A larger unsorted input is sorted by this much at a time."""

CHUNK = 1_024
"""Entries of a run that are read back from the file at once."""

SAMPLE = 512
"""Entries of a run that are compared to see whether it arrived sorted."""


class SortEntry(NamedTuple):
    """An encoded reading with its sort key: its message id, "" if it has none."""

    key: str
    data: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[SortEntry]).decode
_key = itemgetter(0)


def by_message(
    entries: Iterable[SortEntry], run_size: int = RUN, spool_bytes: int = SPOOL_BYTES
) -> Generator[list[SortEntry], None, None]:
    """Yield all entries in lists, those of one message close together.

    An input in order of time is almost sorted by message: its runs are sorted and yielded one by one.
    The runs of any other input go to a temporary file and are merged at the end, or as soon as there
    are `spool_bytes` of them. An empty list means that a run went to the file.
    """
    remaining = iter(entries)
    with tempfile.TemporaryFile(buffering=0) as file:
        spool = _Spool(file)
        size = min(FIRST_RUN, run_size)
        while run := list(islice(remaining, size)):
            is_whole_input = len(run) < size and not spool.runs
            size = min(2 * size, run_size)
            needs_no_merge = is_whole_input or _is_in_order_of_time(run)
            run.sort(key=_key)
            if needs_no_merge or not spool.put(run):
                yield run
                continue
            del run
            yield []
            if spool.size > spool_bytes:
                yield from spool.drain()
        yield from spool.drain()


def _is_in_order_of_time(run: list[SortEntry]) -> bool:
    """Return whether the second half of a run is of later messages. SES's ids begin with the time."""
    keys = [entry.key for entry in run[:: max(1, len(run) // SAMPLE)]]
    half = len(keys) // 2
    earlier, later = sorted(keys[:half]), sorted(keys[half:])
    return half > 0 and earlier[half * 3 // 4] < later[half // 4]


class _Spool:
    """Sorted runs in a temporary file, merged when they are read back."""

    def __init__(self, file: IO[bytes]) -> None:
        self.runs: list[list[int]] = []
        """The sizes of each run's chunks, in the order of the file."""
        self.size = 0
        self._file = file
        self._is_full = False

    def put(self, run: list[SortEntry]) -> bool:
        """Write a sorted run; return False if the disk is full."""
        if self._is_full:
            return False
        chunks = [_encode(run[at : at + CHUNK]) for at in range(0, len(run), CHUNK)]
        try:
            self._file.seek(self.size)
            for chunk in chunks:
                _write(self._file, chunk)
        except OSError:
            self._is_full = True
            return False
        self.runs.append([len(chunk) for chunk in chunks])
        self.size += sum(map(len, chunks))
        return True

    def drain(self) -> Iterator[list[SortEntry]]:
        """Yield all entries in order and empty the spool.

        A chunk of each run is in memory. Entries up to the least of the chunks' last keys can be
        yielded: no later chunk has a smaller key.
        """
        runs = [_Run(self._file, start, sizes) for start, sizes in self._starts()]
        self.runs, self.size = [], 0
        while runs:
            for run in runs:
                run.read()
            bounds = [run.entries[-1].key for run in runs if run.sizes]
            bound = min(bounds) if bounds else None
            merged = [entry for run in runs for entry in run.take(bound)]
            merged.sort(key=_key)
            yield merged
            runs = [run for run in runs if run.entries or run.sizes]

    def _starts(self) -> Iterator[tuple[int, list[int]]]:
        start = 0
        for sizes in self.runs:
            yield start, sizes
            start += sum(sizes)


class _Run:
    """A run while it is merged. `entries` are read but not yielded, `sizes` are of the chunks to read."""

    def __init__(self, file: IO[bytes], start: int, sizes: list[int]) -> None:
        self.entries: list[SortEntry] = []
        self.sizes = sizes[::-1]
        self._file = file
        self._position = start

    def read(self) -> None:
        """Read the next chunk if no entries are left of the last one."""
        if not self.entries and self.sizes:
            size = self.sizes.pop()
            self._file.seek(self._position)
            self.entries = _decode(self._file.read(size))
            self._position += size

    def take(self, bound: str | None) -> list[SortEntry]:
        """Remove and return the entries up to a key, all of them for None."""
        entries = self.entries
        cut = len(entries) if bound is None else bisect_right(entries, bound, key=_key)
        self.entries = entries[cut:]
        return entries[:cut]


def _write(file: IO[bytes], data: bytes) -> None:
    """Write everything: one call of an unbuffered file may write less."""
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[file.write(remaining) :]
