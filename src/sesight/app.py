"""The app: the only place where adapters are chosen and put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sesight import __version__
from sesight.api.application import create_api
from sesight.api.recipient_id import encode
from sesight.api.services import Intake as IntakeHealth
from sesight.api.services import Retention, Services
from sesight.domain.text import DAY
from sesight.ingest.batch import Processed, Rules
from sesight.ingest.certificates import Certificates, get
from sesight.ingest.health import Seen, health
from sesight.ingest.intake import Answers, Intake
from sesight.ingest.journal import Journal
from sesight.ingest.metrics import Metrics
from sesight.ingest.pipeline import Pipeline
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
        observers: list[Callable[[list[Processed]], None]] = [self.metrics.count]
        if journal is not None:
            lines = Journal(journal, self.recipient_id, clock)
            observers.append(lines.record)
        self.pipeline = Pipeline(self.store, self.rules, clock, _each(observers))
        self.intake: Intake | None = None
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

    def start_intake(self, deliver: Callable[[Answers], None]) -> Intake:
        """Start the threads that take notifications in; `deliver` gets each batch's answers."""
        settings = self.settings.intake
        intake = Intake(
            self.pipeline,
            self.topics,
            Certificates(get, lambda: datetime.now(UTC)),
            confirm=get,
            deliver=deliver,
            refused=self.metrics.refuse,
            committed=self.metrics.commit_seconds.observe,
            tidy=self.tidy,
            known_sets=self.known_sets,
            clock=self.clock,
            limit=settings.limit,
            verifiers=settings.verifiers,
        )
        self.metrics.watch(lambda: intake.depth, self.store.newest_at)
        self.intake = intake
        intake.start()
        return intake

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


def _each(
    observers: list[Callable[[list[Processed]], None]],
) -> Callable[[list[Processed]], None]:
    def observe(processed: list[Processed]) -> None:
        for each in observers:
            try:
                each(processed)
            except Exception:  # noqa: BLE001 - the batch is committed: it must not be refused now
                _log.exception("a committed batch could not be logged or counted")

    return observe


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
