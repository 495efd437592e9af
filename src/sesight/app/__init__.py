"""The app: the only place where adapters are chosen and put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sesight import __version__
from sesight.app.aws import read_secret, region_of
from sesight.domain.errors import NotFound, StoreUnavailable
from sesight.domain.event import Disposition
from sesight.ingest.journal import Journal
from sesight.ingest.pipeline import Observer, Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.rules import Rules
from sesight.services.intake_health import intake_status, without_counts
from sesight.services.suppressions import SuppressionService
from sesight.services.upkeep import Upkeep
from sesight.settings import Settings, has_recipient_key, recipient_key, topics
from sesight.store import open_store
from sesight.store.retention import in_words, is_longer

# What only some processes need is imported where it is needed: the functions that take events in
# have neither the web framework nor cryptography.
if TYPE_CHECKING:
    from litestar import Litestar

    from sesight.app.sending import SendingComponents
    from sesight.domain.event import Event
    from sesight.domain.ports import Clock, SendLog
    from sesight.ingest.http.commit_process import CommitProcess
    from sesight.ingest.http.intake import Answer, Intake
    from sesight.ingest.metrics import Metrics
    from sesight.send.stream_secrets import StreamSecrets
    from sesight.send.templates.folder import TemplateFolder
    from sesight.services import Services
    from sesight.services.intake_health import IntakeStatus
    from sesight.services.unsubscribe import UnsubscribeService

_log = logging.getLogger(__name__)

IN_CLOUDWATCH = "see the metrics in the namespace Sesight of CloudWatch."
"""Where the counters of functions are."""

ANSWER_BYTES = 5_000_000
"""Bytes of the rows of an answer that a function gives; Lambda takes 6 MB of it whole."""


def now_ms() -> int:
    """Return now, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def store_url(settings: Settings) -> str:
    """Return the URL of the store, wherever the working folder is."""
    scheme, _, path = settings.store.url.partition(":///")
    return f"sqlite:///{Path(path).absolute()}" if scheme == "sqlite" else settings.store.url


def templates_of(settings: Settings) -> TemplateFolder:
    """Return the folder of templates."""
    from sesight.send.templates.folder import TemplateFolder

    sending = settings.sending
    return TemplateFolder(sending.templates, settings.streams, sending.rendering)


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
        count: Observer | None = None,
        secret_failed: Callable[[str], None] | None = None,
        lasting: bool = True,
    ) -> None:
        """Open the store and build the pipeline.

        `journal` takes the lines of processed events; `backfill` takes events past retention too, save
        of send days whose totals are final; `count` is told of every batch; `secret_failed` of a stream
        whose secret could not be read, else the metrics are. A process that is not `lasting` (a function)
        runs no jobs, and what it answers is short enough for Lambda.
        Raises SettingsError, StoreTooNew, StoreUnavailable.
        """
        self.settings = settings
        self.lasting = lasting
        self.clock = clock
        self.counting = settings.counting_rules
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
        try:
            ids = None if journal is None else self._ids()
        except BaseException:
            self.store.close()
            raise
        self.rules = Rules(
            counting=self.counting,
            suppression=settings.suppression,
            live_from=self.store.live_from,
            ignore_sets=frozenset(settings.intake.ignore_sets),
            accounts=frozenset(settings.intake.accounts),
            backfill=backfill,
        )
        observers = [] if count is None else [count]
        if journal is not None and ids is not None:
            observers.append(Journal(journal, ids, clock).record)
        self.pipeline = Pipeline(
            self.store, self.rules, clock, _each(observers) if observers else None
        )
        self._journal = journal
        self._secret_failed = secret_failed or self._count_secret_failure
        self.intake: Intake | None = None
        self._commit_process: CommitProcess | None = None
        self._swept_at: int | None = None

    def _ids(self) -> Callable[[str], str | None]:
        """Return how lines name recipients: not at all where there is no key."""
        if not has_recipient_key(self.settings):
            return lambda _: None
        _ = self.recipient_key  # one that cannot be had is said at once
        return self.recipient_id

    @cached_property
    def recipient_key(self) -> bytes:
        """The key of recipient ids. Raises SettingsError if it cannot be had."""
        return recipient_key(self.settings, self.secret)

    def secret(self, name: str) -> str:
        """Return the text of a secret in AWS Secrets Manager. Raises SettingsError."""
        return read_secret(name, region_of(self.settings))

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of this process, for Prometheus."""
        from sesight.ingest.metrics import Metrics

        return Metrics(self.clock)

    @cached_property
    def suppressions(self) -> SuppressionService:
        """The suppression lists, of new streams too: they start with what reaches them.

        While the store cannot be written they may be read, and nothing is sent.
        """
        found = SuppressionService(
            self.store, self.pipeline.decide, self.counting, self.settings.suppression, self.clock
        )
        with suppress(StoreUnavailable):
            found.inherit()
        return found

    @property
    def known_sets(self) -> frozenset[str]:
        """Return the configuration sets whose events are sure to be taken."""
        return self.rules.known_sets

    @property
    def hosts(self) -> frozenset[str]:
        """Return the names that the API answers to, beside loopback."""
        return frozenset(name.lower() for name in self.settings.server.allowed_hosts)

    def recipient_id(self, address: str) -> str:
        """Return the id by which an address is named in public."""
        from sesight.services.recipient_id import encode

        return encode(address, self.recipient_key)

    @cached_property
    def secrets(self) -> StreamSecrets:
        """What each stream sends with."""
        from sesight.send.stream_secrets import StreamSecrets

        sending = self.settings.sending
        return StreamSecrets(
            {each.stream: each for each in sending.senders},
            sending.secret,
            self.secret,
            self.clock,
            sending.secret_seconds,
            self._secret_failed,
        )

    def _count_secret_failure(self, stream: str) -> None:
        self.metrics.secret_failures.labels(stream).inc()

    @property
    def log(self) -> SendLog:
        """What was intended to be sent, and what became of it."""
        return self.store.sending

    @cached_property
    def sending(self) -> SendingComponents:
        """What sends mail in this process."""
        from sesight.app.sending import SendingComponents

        return SendingComponents(self)

    def close(self) -> None:
        """Let go of the store, after what is being sent was recorded."""
        if "sending" in self.__dict__:
            self.sending.close()
        self.store.close()

    # -- taking in -------------------------------------------------------------------------------

    def open_intake(self) -> Intake:
        """Return the intake, on the running loop; what it takes waits for `start_commit_process`."""
        from sesight.ingest.http.intake import Intake
        from sesight.ingest.transport.certificates import Certificates, get

        self.intake = intake = Intake(
            self.topics,
            Certificates(get, lambda: datetime.now(UTC)),
            self.metrics,
            confirm=get,
            journal=self._journal,
            clock=self.clock,
            limit=self.settings.intake.limit,
        )
        self.metrics.watch(lambda: intake.depth, self.newest_at)
        return intake

    async def start_commit_process(self, intake: Intake, gone: Callable[[], None]) -> None:
        """Start the process that writes what intake takes; `gone` is told of its end."""

        def on_end() -> None:
            intake.process_ended()
            gone()

        from sesight.app.commit_process import run_commit_process
        from sesight.ingest.http.commit_process import CommitProcess

        self._commit_process = CommitProcess(intake.receive, on_end)
        await self._commit_process.start(
            run_commit_process, self.settings, self._journal is not None
        )
        intake.start(self._commit_process.send)

    async def close_intake(self) -> None:
        """Finish what was taken and end the process that writes.

        Raises StoreUnavailable if it ended by itself.
        """
        if self.intake is not None and self._commit_process is not None:
            await self.intake.stop()
            await self._commit_process.close()

    @property
    def retention_differs(self) -> str | None:
        """Return what to tell who set fewer days than the store keeps records for, None if nobody did."""
        said, held = self.settings.store.retention_days, self.store.retention
        if said is None or said == held.days or held.planned is not None:
            return None
        if is_longer(said, held.days):
            return None  # it has been in force since the store was opened
        return (
            f"The settings say retention_days = {said}; the store keeps records for "
            f"{in_words(held.days)}, and goes on to. To shorten it: sesight retention shorten"
        )

    @cached_property
    def upkeep(self) -> Upkeep:
        """The periodic work of a server."""
        return Upkeep(self.store, self.pipeline, lambda: self.suppressions, self.clock)

    def newest_at(self) -> int | None:
        """Return when the newest applied event was taken in, by a clock that is to be believed: by another
        an open message would be taken as unsent, and sent again.
        """
        at = self.store.newest_at()
        return None if at is None else self.store.retention.trusted_time(at)

    def intake_status(self) -> IntakeStatus:
        """Return whether intake works."""
        status = intake_status(
            newest_at=self.newest_at(),
            waiting=self.intake.depth if self.intake is not None else None,
            limit=self.settings.intake.limit,
            quarantined=self.store.quarantine_counts(),
            metrics=self.metrics,
            now=self.clock(),
        )
        if self.lasting:
            return status
        return without_counts(status, f"Counts of events: {IN_CLOUDWATCH}")

    # -- unsubscribe links -----------------------------------------------------------------------

    @cached_property
    def unsubscribing(self) -> UnsubscribeService:
        """What unsubscribe links do."""
        from sesight.send.unsubscribe_link import UnsubscribeLinks
        from sesight.services.unsubscribe import UnsubscribeService

        sending = self.settings.sending
        senders = [sender.stream for sender in sending.senders]
        streams = self.counting.streams
        links = UnsubscribeLinks(
            senders if sending.secret is None else list(streams), self.secrets.get_ses_secrets
        )
        return UnsubscribeService(links, self.store, streams, self.clock, self._commit_own)

    async def _commit_own(self, event: Event) -> None:
        """Commit an event of our own: in the commit process, where there is one. Raises StoreUnavailable."""
        from sesight.domain.unsubscribe import ORIGIN
        from sesight.ingest.reading import EventReading

        if self._commit_process is not None and self.intake is not None:
            committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

            def on_answer(answer: Answer) -> None:
                if not committed.done():  # the client may have disconnected
                    committed.set_result(answer.status == 200)

            self.intake.submit_own(ORIGIN, event, on_answer)
            is_committed = await committed
        else:
            [processed] = await asyncio.to_thread(
                self.pipeline.process, [EventReading(ORIGIN, event)]
            )
            is_committed = processed.disposition is not Disposition.REFUSED
        if not is_committed:
            raise StoreUnavailable("The store cannot take this now: try again.")

    # -- answering -------------------------------------------------------------------------------

    def services(self) -> Services:
        """Return what the API reads."""
        from sesight.services import Services

        store, settings = self.store, self.settings
        return Services(
            store=store,
            suppressions=self.suppressions,
            counting=self.counting,
            clock=self.clock,
            recipient_key=self.recipient_key,
            retention_days=lambda: store.retention.days,
            policy=settings.suppression,
            intake=self.intake_status,
            metrics=self._metrics_text,
            version=__version__,
            store_url=store_url(settings),
            region=region_of(settings),
            simulated=any(each.pinned is not None for each in self.topics.values()),
            hosts=self.hosts,
            sending=lambda: self.sending.service,
            withheld=self._withheld,
            unsubscribing=self.unsubscribing,
            templates=lambda: templates_of(settings),
            answer_bytes=None if self.lasting else ANSWER_BYTES,
        )

    def _metrics_text(self) -> bytes:
        if not self.lasting:
            raise NotFound(f"A function's counters are those of one container: {IN_CLOUDWATCH}")
        return self.metrics.text()

    def _withheld(self, stream: str, campaign: str) -> dict[str, int]:
        return {state.value: n for state, n in self.log.withheld(stream, campaign).items()}

    def api(self) -> Litestar:
        """Return the HTTP API."""
        from sesight.api.application import create_api

        if self.lasting:
            _ = self.sending.service  # created before several requests need it at the same time
        return create_api(self.services())

    def public(self) -> Litestar:
        """Return what of the HTTP API everybody reaches."""
        from sesight.api.application import create_public

        return create_public(self.services())


def _each(observers: list[Observer]) -> Observer:
    def observe(processed: list[Processed]) -> None:
        for each in observers:
            try:
                each(processed)
            except Exception:  # noqa: BLE001 - the batch is committed: it must not be refused now
                _log.exception("a committed batch could not be logged or counted")

    return observe
