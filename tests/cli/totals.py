"""The totals a store holds, and the true ones of simulated traffic, in one shape to compare."""

from pathlib import Path
from typing import Any

from sesight.domain.rollup import Family
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import day_name
from sesight.store import open_store

Totals = dict[tuple[str, str, str], dict[str, int]]


def held(file: Path) -> Totals:
    """Return the totals of a store by stream, campaign and day; none that are zero."""
    store = open_store(f"sqlite:///{file}")
    try:
        return {
            (stream, card.campaign, day_name(row.key.bucket)): {
                name: n
                for name, n in zip(COUNTERS, row.counts, strict=True)
                if n and name != "capped"
            }
            for stream in ("outreach", "finance")
            for card, _ in store.cards([stream])
            for row in store.rollups(Family.DAY, stream, card.campaign, dimension="")
            if any(row.counts)
        }
    finally:
        store.close()


def true(truth: dict[str, Any]) -> Totals:
    """Return the totals of a truth document by stream, campaign and day."""
    return {
        (stream, campaign, day): {name: n for name, n in totals.items() if n}
        for stream, whole in truth["streams"].items()
        for campaign, part in whole["campaigns"].items()
        for day, totals in part["days"].items()
        if any(totals.values())
    }
