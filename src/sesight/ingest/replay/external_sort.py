"""Events put in order of their messages before they are committed, in memory and, if need be, on disk.

A record is loaded, counted and written once for each batch that touches it, so a batch that holds
all of a message's events costs a third of three that hold one each. Order does not matter to what
comes out: this is for speed alone, and where the disk has no room nothing is put in order there.
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
"""Entries put in order at once in memory (some 40 MB of them)."""

FIRST = 6_144
"""Entries of the first run; each is twice the one before, so that nobody waits long for the first."""

ROOM = 1 << 30
"""Bytes of a spool; an input with more in no order is put in order by as much at a time."""

CHUNK = 1_024
"""Entries of a run that are read back at once."""

SAMPLE = 512
"""Entries of a run that are looked at to see whether it came in order."""


class SortEntry(NamedTuple):
    """A reading as bytes, and what it is put in order by: its message id, "" for none."""

    key: str
    data: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[SortEntry]).decode
_key = itemgetter(0)


def by_message(
    entries: Iterable[SortEntry], run: int = RUN, room: int = ROOM
) -> Generator[list[SortEntry], None, None]:
    """Yield all entries, those of one message close together.

    An input in order of time is in order of messages but for what comes late, and is handed on a run
    at a time. One in no such order goes to a temporary file, run by run, and the runs are merged at
    its end or when there are `room` bytes of them; an empty list says that a run went there.
    """
    left = iter(entries)
    with tempfile.TemporaryFile(buffering=0) as file:
        spool = _Spool(file)
        size = min(FIRST, run)
        while taken := list(islice(left, size)):
            whole = len(taken) < size and not spool.runs
            size = min(2 * size, run)
            settled = whole or _came_in_order(taken)
            taken.sort(key=_key)
            if settled or not spool.put(taken):
                yield taken
                continue
            del taken
            yield []
            if spool.size > room:
                yield from spool.drain()
        yield from spool.drain()


def _came_in_order(run: list[SortEntry]) -> bool:
    """Say whether the later part of a run speaks of later messages (SES's ids begin with the time)."""
    keys = [entry.key for entry in run[:: max(1, len(run) // SAMPLE)]]
    half = len(keys) // 2
    earlier, later = sorted(keys[:half]), sorted(keys[half:])
    return half > 0 and earlier[half * 3 // 4] < later[half // 4]


class _Spool:
    """Sorted runs in a temporary file, merged when they are taken out."""

    def __init__(self, file: IO[bytes]) -> None:
        self.runs: list[list[int]] = []
        """The sizes of each run's chunks, in the order of the file."""
        self.size = 0
        self._file = file
        self._full = False

    def put(self, run: list[SortEntry]) -> bool:
        """Keep a sorted run; False if the disk has no room for it."""
        if self._full:
            return False
        chunks = [_encode(run[at : at + CHUNK]) for at in range(0, len(run), CHUNK)]
        try:
            self._file.seek(self.size)
            for chunk in chunks:
                _write(self._file, chunk)
        except OSError:
            self._full = True
            return False
        self.runs.append([len(chunk) for chunk in chunks])
        self.size += sum(map(len, chunks))
        return True

    def drain(self) -> Iterator[list[SortEntry]]:
        """Yield all entries in order, and be empty afterwards.

        What is at most the least of the last keys read of each run can be followed by nothing lesser.
        """
        runs = [_Run(self._file, start, sizes) for start, sizes in self._starts()]
        self.runs, self.size = [], 0
        while runs:
            for run in runs:
                run.read()
            bounds = [run.held[-1].key for run in runs if run.sizes]
            bound = min(bounds) if bounds else None
            taken = [entry for run in runs for entry in run.take(bound)]
            taken.sort(key=_key)
            yield taken
            runs = [run for run in runs if run.held or run.sizes]

    def _starts(self) -> Iterator[tuple[int, list[int]]]:
        start = 0
        for sizes in self.runs:
            yield start, sizes
            start += sum(sizes)


class _Run:
    """A run as it is taken out: where its next chunk is, and what was read and not yet taken."""

    def __init__(self, file: IO[bytes], start: int, sizes: list[int]) -> None:
        self.held: list[SortEntry] = []
        self.sizes = sizes[::-1]
        self._file = file
        self._at = start

    def read(self) -> None:
        """Read the next chunk if nothing is held."""
        if not self.held and self.sizes:
            size = self.sizes.pop()
            self._file.seek(self._at)
            self.held = _decode(self._file.read(size))
            self._at += size

    def take(self, bound: str | None) -> list[SortEntry]:
        """Take what is not beyond a key; all there is for None."""
        cut = len(self.held) if bound is None else bisect_right(self.held, bound, key=_key)
        taken, self.held = self.held[:cut], self.held[cut:]
        return taken


def _write(file: IO[bytes], data: bytes) -> None:
    """Write all of it: an unbuffered file may take less."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
