"""Putting events in order of their messages: nothing is lost, and what belongs together comes together."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesight.ingest.replay import external_sort as sorting
from sesight.ingest.replay.external_sort import SortEntry, by_message

RUN = 128
LONG = 600
"""Entries of a run that is long beside how late events are."""


def entry(key: str, n: int) -> SortEntry:
    """Return an entry that can be told from all others."""
    return SortEntry(key, msgspec.Raw(msgspec.msgpack.encode(n)))


def traffic(messages: int, each: int = 3) -> list[SortEntry]:
    """Return entries in order of time: a message's later events come some messages later."""
    said = [
        (message + 20 * late, f"{message:08d}", message * each + late)
        for message in range(messages)
        for late in range(each)
    ]
    return [entry(key, n) for _, key, n in sorted(said)]


def shuffled(entries: list[SortEntry]) -> list[SortEntry]:
    """Return the entries in a random order, the same each time."""
    mixed = list(entries)
    random.Random(7).shuffle(mixed)
    return mixed


def values(runs: list[list[SortEntry]]) -> list[int]:
    """Return what the entries of runs hold, in their order."""
    return [msgspec.msgpack.decode(each.data) for run in runs for each in run]


@given(st.lists(st.text("abc", max_size=2), max_size=200), st.integers(1, 40), st.integers(0, 900))
def test_all_entries_come_out_once(keys: list[str], run: int, room: int) -> None:
    """Whatever the order, the size of a run and the room on disk, every entry comes out once."""
    entries = [entry(key, n) for n, key in enumerate(keys)]
    found = list(by_message(iter(entries), run, room))
    assert sorted(values(found)) == list(range(len(keys)))


def test_in_no_order_comes_out_in_order() -> None:
    """Entries in no order come out sorted by message, those of one message in their own order."""
    entries = shuffled(traffic(2_000))
    found = list(by_message(iter(entries), RUN))
    out = [each for run in found for each in run]
    assert out == sorted(entries, key=lambda each: each.key)
    assert found[0] == []  # while a run goes to the disk there is nothing to hand over


def test_in_order_is_handed_over_as_it_comes() -> None:
    """Entries in order of time are not kept back: a run comes out before the next one is read."""
    entries = traffic(2_000)
    read = 0

    def reading() -> Any:
        nonlocal read
        for each in entries:
            read += 1
            yield each

    handed = 0
    for run in by_message(reading(), LONG):
        handed += len(run)
        assert handed == read
    assert handed == len(entries)


def test_in_order_keeps_messages_together() -> None:
    """Of a file in order of time most messages come whole within one run."""
    entries = traffic(2_000)
    runs = list(by_message(iter(entries), LONG))
    parts = Counter(key for run in runs for key in {each.key for each in run})
    assert sum(n == 1 for n in parts.values()) > 1_500


def test_more_than_the_room_is_ordered_in_parts() -> None:
    """Beyond the bytes a spool may have, it is emptied and begins anew."""
    entries = shuffled(traffic(2_000))
    found = list(by_message(iter(entries), RUN, 20_000))
    keys = [[each.key for each in run] for run in found if run]
    assert sorted(values(found)) == list(range(len(entries)))
    assert all(part == sorted(part) for part in keys)
    assert len(keys) > 1
    assert all(part[0] < keys[0][-1] for part in keys[1:])  # each part has messages of all times


def test_a_full_disk_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk has no room the entries come out unspooled; what was spooled before comes too."""
    written = 0

    def write(file: Any, data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 20_000:
            raise OSError(28, "No space left on device")
        file.write(data)

    monkeypatch.setattr(sorting, "_write", write)
    entries = shuffled(traffic(2_000))
    found = list(by_message(iter(entries), RUN))
    assert sorted(values(found)) == list(range(len(entries)))
    assert written > 20_000


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is gone as soon as nobody reads, also when reading stops half-way."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runs = by_message(iter(shuffled(traffic(2_000))), RUN)
    assert next(runs) == []
    runs.close()
    assert list(tmp_path.iterdir()) == []
