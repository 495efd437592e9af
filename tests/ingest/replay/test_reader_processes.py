"""The processes that read for a replay: who reads what, how far they are, and how they end."""

from __future__ import annotations

import multiprocessing
import random
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from sesight.domain.errors import SettingsError
from sesight.ingest.replay.reader_processes import ReaderProcesses, Task, share_of
from sesight.ingest.transport.files import input_files
from tests.payload import PAYLOADS

COPIES = 4_000
SETS = frozenset({"outreach-tracking", "finance-tracking"})


def events() -> list[bytes]:
    """Return events of many messages, three of each, in no order."""
    found = []
    for n in range(COPIES):
        for name in ("send", "delivery", "open"):
            body = msgspec.json.decode((PAYLOADS / f"{name}.json").read_bytes())
            body["mail"]["messageId"] = (
                f"0102019f2c4b7a01-{n:08x}-6a7b-4c8d-9e0f-000000000001-000000"
            )
            found.append(msgspec.json.encode(body))
    random.Random(3).shuffle(found)
    return found


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Return the task to read a file of them."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(events()))
    return Task(input_files([str(file)]), SETS, None)


def test_each_body_is_read_once(task: Task) -> None:
    """Two readers read every body once, and each message is read by one of them, in one order."""
    readers = ReaderProcesses(task)
    taken = [reading for portion in readers.chunks() for reading in portion.readings]
    readers.close()
    ids = [reading.event.message_id for reading in taken if reading.event is not None]
    assert len(ids) == 3 * COPIES
    assert len(set(ids)) == COPIES
    turns = sum(a != b for a, b in pairwise(ids))
    assert turns == COPIES - 1  # the three events of each message stand together


def test_progress_grows_to_the_end(task: Task) -> None:
    """How far reading is never goes back and ends at the size of the file."""
    readers = ReaderProcesses(task)
    done = [portion.done for portion in readers.chunks()]
    readers.close()
    assert done == sorted(done)
    assert done[-1] == task.files[0].size


def test_a_reader_that_ends_early_is_named(task: Task) -> None:
    """When a reading process is killed, the replay ends with a sentence, not as if it were done."""
    readers = ReaderProcesses(task)
    victim = multiprocessing.active_children()[0]
    victim.kill()
    with pytest.raises(SettingsError, match="ended early; replay them again"):
        list(readers.chunks())
    readers.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("of", [2, 3])
def test_one_message_falls_to_one_reader(of: int) -> None:
    """Events of one message written alike fall to the same reader, bare or within SNS's envelope."""
    seen: dict[tuple[str, bool], set[int]] = {}
    for n, body in enumerate(events()):
        name = msgspec.json.decode(body)["mail"]["messageId"]
        around = {"Type": "Notification", "MessageId": f"{n:036d}", "Message": body.decode()}
        seen.setdefault((name, False), set()).add(share_of(body, of))
        seen.setdefault((name, True), set()).add(share_of(msgspec.json.encode(around), of))
    assert all(len(shares) == 1 for shares in seen.values())
    assert {share for shares in seen.values() for share in shares} == set(range(of))
