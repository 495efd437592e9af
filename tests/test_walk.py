"""The walk in the docs shows what happened to its notification: no value of it is empty or zero."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import walk  # a folder of scripts, found by the line above


def test_metrics() -> None:
    """The walk counts one created bounce, in one batch of one event."""
    assert walk.metrics().splitlines()[1:-1] == [
        'sesight_events_total{disposition="created",stream="outreach",type="Bounce"} 1.0',
        "sesight_batch_events_count 1.0",
        "sesight_batch_events_sum 1.0",
    ]


def test_every_step_has_a_result() -> None:
    """Only the loaded records are empty, since the message is new; every later step has a result."""
    found = walk.walk()
    assert (found.loaded, len(found.folded), len(found.tallied)) == ({}, 1, 1)
    changes = found.changes
    assert all((changes.records, changes.suppressions, changes.rollups, changes.cards))
    assert all(any(counts) for counts in changes.rollups.values())
    assert [len(group) for group in (found.processed, found.again)] == [1, 1]


def test_figures() -> None:
    """The campaign's figures count the bounce, and its message is there with its timeline."""
    found = walk.walk()
    totals = {name: n for name, n in found.figures["totals"].items() if n}
    assert totals == {"recipients": 1, "bounced": 1, "sent": 1, "attempted": 1}
    assert [len(record["timeline"]) for record in found.message["data"]] == [1]
