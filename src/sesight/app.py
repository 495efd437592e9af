"""The app: the only place where adapters are chosen and put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from socket import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sesight import __version__
from sesight.api.application import create_api
from sesight.api.recipient_id import encode
from sesight.api.services import Intake as IntakeHealth
from sesight.api.services import Retention, Services
from sesight.domain.errors import StoreUnavailable
from sesight.domain.text import DAY
from sesight.ingest.batch import Processed, Rules
from sesight.ingest.certificates import Certificates, get
from sesight.ingest.health import Seen, health
from sesight.ingest.intake import Intake
from sesight.ingest.journal import Journal
from sesight.ingest.metrics import Metrics
from sesight.ingest.pipeline import Observer, Pipeline
from sesight.ingest.reading import Reading
from sesight.ingest.writer import Committer, Writer
from sesight.settings import Settings, recipient_key, topics
from sesight.store import open_store

if TYPE_CHECKING:
    from litestar import Litestar

    from sesight.domain.ports import Clock

_log = logging.getLogger(__name__)

SWEEP_MS = 10 * 60_000
"""Expired records are swept at the first quiet moment, then this often at most."""

SWEEP_ROWS = 5_000
"""Records swept at once, so that requests never wait long behind a sweep."""


def now_ms() -> int:
    """Return now, epoch milliseconds."""
    return time.time_ns() // 1_000_000


class App:
    """Everything one process needs, put together from settings. Close it when done."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = now_ms,
        durability: str = "full",
        backfill: bool = False,
        journal: Callable[[bytes], object] | None = None,
    ) -> None:
        """Open the store and build the pipeline.

        `journal` takes the lines of processed events; `backfill` takes events of send days before
        the store's first. Raises SettingsError, StoreTooNew, StoreUnavailable.
        """
        self.settings = settings
        self.clock = clock
        self.counting = settings.rules_of_counting
        self.topics = topics(settings)
        self.store = open_store(
            settings.store.url,
            retention_days=settings.store.retention_days,
            policy=settings.suppression,
            clock=clock,
            durability=durability,
            busy_timeout_ms=settings.store.busy_timeout_ms,
            streams=self.counting.streams,
        )
        self.recipient_key = recipient_key(settings)
        self.metrics = Metrics(clock)
        self.rules = Rules(
            counting=self.counting,
            suppression=settings.suppression,
            expires_at=self.store.expires_at,
            ignore_sets=frozenset(settings.intake.ignore_sets),
            accounts=frozenset(settings.intake.accounts),
            backfill=self._first_day() if backfill else None,
        )
        observe: Observer | None = None
        if journal is not None:
            observe = _harmless(Journal(journal, self.recipient_id, clock).record)
        self.pipeline = Pipeline(self.store, self.rules, clock, observe)
        self._journal = journal
        self.intake: Intake | None = None
        self._writer: Writer | None = None
        self._swept_at: int | None = None

    def _first_day(self) -> int:
        first = self.store.first_day()
        return self.clock() // DAY if first is None else first

    @property
    def known_sets(self) -> frozenset[str]:
        """Return the configuration sets whose events are sure to be taken."""
        return self.rules.known_sets

    def recipient_id(self, address: str) -> str:
        """Return the id by which an address is named in public."""
        return encode(address, self.recipient_key)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    # -- taking in -------------------------------------------------------------------------------

    def open_intake(self) -> Intake:
        """Return the intake, on the running loop; what it takes waits for `start_writer`."""
        self.intake = intake = Intake(
            self.topics,
            Certificates(get, lambda: datetime.now(UTC)),
            self.metrics,
            confirm=get,
            journal=self._journal,
            clock=self.clock,
            limit=self.settings.intake.limit,
        )
        self.metrics.watch(lambda: intake.depth, self.store.newest_at)
        return intake

    async def start_writer(self, intake: Intake, gone: Callable[[], None]) -> None:
        """Start the process that writes what intake takes; `gone` is told of its end."""

        def lost() -> None:
            intake.lost()
            gone()

        self._writer = Writer(intake.committed, lost)
        await self._writer.start(write_apart, self.settings, self._journal is not None)
        intake.start(self._writer.send)

    async def close_intake(self) -> None:
        """Finish what was taken and end the process that writes.

        Raises StoreUnavailable if it ended by itself.
        """
        if self.intake is not None and self._writer is not None:
            await self.intake.stop()
            await self._writer.close()

    def tidy(self) -> None:
        """Do what can wait: checkpoints, the sweep of expired records, suppressions that ended."""
        now = self.clock()
        if self._swept_at is None or now - self._swept_at >= SWEEP_MS:
            if self.store.sweep(now, SWEEP_ROWS) < SWEEP_ROWS:
                self._swept_at = now
            due = self.store.suppressions_due(now, SWEEP_ROWS)
            if due:
                self.pipeline.lapse([(item.stream, item.address) for item in due])
        self.store.idle()

    def health(self) -> IntakeHealth:
        """Return how intake is."""
        intake = self.intake
        seen = Seen(
            newest_at=self.store.newest_at(),
            waiting=intake.depth if intake is not None else None,
            limit=self.settings.intake.limit,
            quarantined=self.store.quarantine_counts(),
        )
        state, sentences = health(seen, self.metrics, self.clock())
        return IntakeHealth(
            state=state,
            sentences=sentences,
            dispositions=dict(self.metrics.dispositions),
            refusals=dict(self.metrics.refused),
            waiting=seen.waiting,
        )

    # -- answering -------------------------------------------------------------------------------

    def services(self) -> Services:
        """Return what the API reads."""
        store, settings = self.store, self.settings
        region = settings.region
        if region is None and self.topics:
            region = next(iter(self.topics.values())).region
        return Services(
            store=store,
            counting=self.counting,
            clock=self.clock,
            recipient_key=self.recipient_key,
            retention=Retention(settings.store.retention_days, store.live_from, store.expires_at),
            policy=settings.suppression,
            intake=self.health,
            metrics=self.metrics.text,
            version=__version__,
            region=region,
            simulated=any(each.pinned is not None for each in self.topics.values()),
            hosts=frozenset(name.lower() for name in settings.server.allowed_hosts),
        )

    def api(self) -> Litestar:
        """Return the HTTP API."""
        return create_api(self.services())

    def ask(
        self, path: str, query: dict[str, Any], api: Litestar | None = None
    ) -> tuple[int, bytes]:
        """Ask the API a question in this process; return status and body, as HTTP would."""
        return asyncio.run(_ask(api or self.api(), path, query))


def write_apart(line: socket, settings: Settings, journaling: bool) -> None:  # noqa: FBT001
    """Be the process that writes: commit what comes over a line until it ends."""
    lines: list[bytes] = []

    @cache
    def app() -> App:
        return App(settings, journal=lines.append if journaling else None)

    def process(readings: Sequence[Reading]) -> list[Processed]:
        return app().pipeline.process(readings)

    def tidy() -> None:
        app().tidy()

    with suppress(StoreUnavailable):  # it is asked for again with every batch
        app()
    try:
        Committer(process, tidy, lines).work(line)
    finally:
        if app.cache_info().currsize:
            app().close()


def _harmless(observe: Observer) -> Observer:
    def harmless(processed: list[Processed]) -> None:
        try:
            observe(processed)
        except Exception:  # noqa: BLE001 - the batch is committed: it must not be refused now
            _log.exception("a committed batch could not be logged")

    return harmless


async def _ask(api: Litestar, path: str, query: dict[str, Any]) -> tuple[int, bytes]:
    given = {name: value for name, value in query.items() if value is not None}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(given).encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"accept", b"application/json")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    status, body = 500, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body += message.get("body", b"")

    await api(scope, receive, send)  # type: ignore[arg-type]
    return status, body
