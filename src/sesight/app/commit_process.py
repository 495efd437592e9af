"""The commit process of a server: it commits what intake accepts, and does the upkeep in between."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from sesight.app import App
from sesight.domain.errors import StoreUnavailable
from sesight.ingest.http.commit_process import Committer
from sesight.settings import Settings

if TYPE_CHECKING:
    from socket import socket

    from sesight.domain.ports import SweepResult
    from sesight.ingest.processed import Processed
    from sesight.ingest.reading import Reading


def run_commit_process(channel: socket, settings: Settings, writes_log: bool) -> None:  # noqa: FBT001
    """Commit batches from the socket until it closes. `writes_log`: return the event log's lines too."""
    lines: list[bytes] = []

    @cache
    def app() -> App:
        return App(settings, journal=lines.append if writes_log else None)

    def process(readings: Sequence[Reading]) -> list[Processed]:
        return app().pipeline.process(readings)

    def upkeep() -> SweepResult | None:
        return app().upkeep.run()

    with suppress(StoreUnavailable):  # each batch opens the store again
        app()
    try:
        Committer(process, upkeep, lines).work(channel)
    finally:
        if app.cache_info().currsize:
            app().close()
