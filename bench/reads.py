"""Reads: a campaign's figures and pages of records, over stores of two sizes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.inputs import END
from bench.replays import open_app
from sesight.app import App
from sesight.domain.ports import RecordFilter
from tests.asgi import ask

STREAMS = ("outreach", "finance")
LIMIT = 100


@dataclass
class Reads:
    """Medians in milliseconds. A page is the slowest of several depths (start, 10 %, half, near the end).

    `stats` is of the campaign of median size, sent on one day; `stats_daily` of the one with the most
    days, which sends on each of 90.
    """

    records: int
    stats: float
    stats_daily: float
    page: float
    page_campaign: float
    page_address: float
    page_rare: float
    api_page: float
    api_stats: float


def measure(store: Path) -> Reads:
    """Measure one store."""
    app = open_app(store)
    try:
        cards = app.store.cards(STREAMS)
        card, _ = max(cards, key=lambda entry: entry[1][0])
        middle, _ = sorted(cards, key=lambda entry: entry[1][0])[len(cards) // 2]
        daily, _ = max(cards, key=lambda entry: entry[0].last_sent_at - entry[0].first_sent_at)
        records = sum(counts[0] for _, counts in cards)
        address = (
            app.store.messages(RecordFilter(streams=STREAMS), 1, None, END).records[0].recipient
        )
        api = app.api()
        return Reads(
            records,
            _median(lambda: stats(app, middle.stream, middle.campaign)),
            _median(lambda: stats(app, daily.stream, daily.campaign)),
            _slowest_page(app, RecordFilter(streams=STREAMS)),
            _slowest_page(app, RecordFilter(streams=(card.stream,), campaign=card.campaign)),
            _slowest_page(app, RecordFilter(streams=STREAMS, address=address)),
            _slowest_page(app, RecordFilter(streams=STREAMS, outcomes=("bounced",))),
            _median(lambda: ask(api, "/api/messages", {"limit": 100}), 20),
            _median(lambda: ask(api, f"/api/campaigns/{card.stream}/{card.campaign}"), 20),
        )
    finally:
        app.close()


def stats(app: App, stream: str, campaign: str) -> None:
    """Read everything that a campaign's page shows."""
    app.store.card(stream, campaign)
    app.store.campaign_totals(stream, campaign)
    for family in ("age", "link"):
        app.store.rollups(family, stream, campaign)


def _slowest_page(app: App, filter_: RecordFilter) -> float:
    """Return the slowest of the medians of a page at several depths, ms."""
    cursors: list[str | None] = [None]
    cursor: str | None = None
    pages = 0
    while pages < 200:
        page = app.store.messages(filter_, 500, cursor, END)
        cursor = page.cursor
        pages += 1
        if cursor is None:
            break
        cursors.append(cursor)
    depths = sorted({0, len(cursors) // 10, len(cursors) // 2, len(cursors) - 1})
    return max(
        _median(lambda at=cursors[n]: app.store.messages(filter_, LIMIT, at, END), 30)
        for n in depths
    )


def _median(call: Callable[..., Any], times: int = 200) -> float:
    call()
    millis = []
    for _ in range(times):
        started = perf_counter()
        call()
        millis.append((perf_counter() - started) * 1_000)
    return statistics.median(millis)
