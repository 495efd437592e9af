"""Replay: stored events fed in again, read in a process of their own and committed in large batches.

Reading and committing cost about the same, so on two cores they run side by side. A small input is
read in this process: starting another would cost more.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections import Counter
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from sesight.domain.errors import SettingsError
from sesight.ingest.files import STANDARD_INPUT, Progress, Source, bodies
from sesight.ingest.reading import Reading, read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from sesight.domain.event import Disposition
    from sesight.ingest.pipeline import Pipeline

ORIGIN = "file"
"""The origin of readings from files."""

BATCH = 12_288
"""Readings of one transaction: the price of a commit no longer shows, memory stays small."""

SMALL = 4_000_000
"""Bytes up to which an input is read in this process."""


class Summary(Struct, rename="camel"):
    """What a replay did: dispositions sum to what was read."""

    read: int
    dispositions: dict[str, int]
    seconds: float
    events_per_second: float
    reasons: dict[str, int]


class _Portion(Struct, array_like=True):
    """What the reading process hands over: readings, how far it is, and why it stopped."""

    readings: list[Reading]
    done: int = 0
    failed: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Portion).decode


def replay(
    pipeline: Pipeline,
    found: list[Source],
    known_sets: Collection[str],
    *,
    stream: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Feed every body of the sources into a pipeline and say what became of them.

    `progress` is told bytes and readings done. Raises SettingsError for an unreadable source (what
    was read before it is committed) and StoreUnavailable.
    """
    size = sum(source.size or 0 for source in found)
    apart = size > SMALL or any(source.size is None for source in found)
    portions = _read_apart if apart else _read_here
    dispositions: Counter[Disposition] = Counter()
    reasons: Counter[str] = Counter()
    read_so_far = 0
    started = time.perf_counter()
    collecting = gc.isenabled()
    gc.disable()  # everything a batch makes is dropped with it, and nothing of it is cyclic
    try:
        for portion in portions(found, tuple(known_sets), stream):
            if portion.readings:
                processed = pipeline.process(portion.readings)
                dispositions.update([each.disposition for each in processed])
                reasons.update([each.reason for each in processed if each.reason is not None])
                read_so_far += len(processed)
            if portion.failed is not None:
                raise SettingsError(portion.failed)
            if progress is not None:
                progress(portion.done, read_so_far)
    finally:
        if collecting:
            gc.enable()
    seconds = time.perf_counter() - started
    return Summary(
        read_so_far,
        {name.value: n for name, n in sorted(dispositions.items())},
        round(seconds, 3),
        round(read_so_far / seconds, 1) if seconds else 0.0,
        dict(sorted(reasons.items())),
    )


def _portions(
    found: list[Source], known_sets: tuple[str, ...], stream: str | None
) -> Iterator[_Portion]:
    sets = frozenset(known_sets)
    progress = Progress()
    readings: list[Reading] = []
    try:
        for body in bodies(found, progress):
            readings.extend(read(body, ORIGIN, known_sets=sets, stream=stream))
            if len(readings) >= BATCH:
                yield _Portion(readings, progress.done)
                readings = []
    except SettingsError as error:
        yield _Portion(readings, progress.done, str(error))
    else:
        yield _Portion(readings, progress.done)


_read_here = _portions


def _read_apart(
    found: list[Source], known_sets: tuple[str, ...], stream: str | None
) -> Iterator[_Portion]:
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    # a new process has no standard input of its own: it is given ours, as pipes are
    given = None
    if any(source.path == STANDARD_INPUT for source in found):
        given = multiprocessing.connection.Connection(os.dup(sys.stdin.fileno()), writable=False)
    reader = context.Process(
        target=_hand_over,
        args=(theirs, given, found, known_sets, stream),
        name="reader",
        daemon=True,
    )
    start_apart(reader)
    theirs.close()
    if given is not None:
        given.close()
    try:
        while True:
            try:
                yield _decode(ours.recv_bytes())
            except EOFError:
                break
    finally:
        ours.close()
        reader.join(timeout=5)
        if reader.is_alive():
            reader.terminate()
    if reader.exitcode:
        raise SettingsError("The process that reads the files ended early; replay them again.")


def start_apart(process: BaseProcess) -> None:
    """Start a process that does not hear Ctrl-C, which reaches the whole group: the one that commits
    decides what it means.
    """
    # it unblocks signals whatever they were before, when it is started by the process's own start
    resource_tracker.ensure_running()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _hand_over(
    to: Connection,
    given: Connection | None,
    found: list[Source],
    known_sets: tuple[str, ...],
    stream: str | None,
) -> None:
    if given is not None:
        os.dup2(given.fileno(), sys.stdin.fileno())
    gc.disable()
    try:
        for portion in _portions(found, known_sets, stream):
            to.send_bytes(_encode(portion))
    except BrokenPipeError:
        pass  # the other side was stopped and has said so
    finally:
        to.close()
