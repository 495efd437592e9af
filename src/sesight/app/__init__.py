"""The app: everything one process needs, composed from settings. Adapters are chosen only here.

AWS clients are created in `aws`, what sends mail in `sending`; `commit_process` is a server's second process.
"""

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
from sesight.services.upkeep import Upkeep, retention_warning
from sesight.settings import Settings, has_recipient_key, recipient_key, topics
from sesight.store import open_store

# What only some processes need is imported where it is used: the functions that process events have neither
# the web framework nor cryptography in their package.
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
"""Where to find the counters of the Lambda functions."""

ANSWER_BYTES = 5_000_000
"""The most bytes of rows in an answer on Lambda, which limits the whole answer to 6 MB."""


def now_ms() -> int:
    """Return the time, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def store_url(settings: Settings) -> str:
    """Return the URL of the store, with an absolute path."""
    scheme, _, path = settings.store.url.partition(":///")
    return f"sqlite:///{Path(path).absolute()}" if scheme == "sqlite" else settings.store.url


def templates_of(settings: Settings) -> TemplateFolder:
    """Return the template folder of the settings."""
    from sesight.send.templates.folder import TemplateFolder

    sending = settings.sending
    return TemplateFolder(sending.templates, settings.streams, sending.rendering)


class App:
    """Everything one process needs. Close it when done.

    What is not needed by every process is created when it is first used.
    """

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

        `journal` writes event log lines. With `backfill`, events past retention are applied too, except on
        send days whose totals are final. `count` is called with every committed batch, and `secret_failed`
        with a stream whose secret could not be read (by default the metrics count it). A process that is not
        `lasting` (a Lambda function) runs no jobs, and its answers are short enough for Lambda.
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
            self.store, self.rules, clock, _all_of(observers) if observers else None
        )
        self._journal = journal
        self._secret_failed = secret_failed or self._count_secret_failure
        self.intake: Intake | None = None
        self._commit_process: CommitProcess | None = None

    def _ids(self) -> Callable[[str], str | None]:
        """Return what gives the recipient ids of event log lines: None for all if there is no key."""
        if not has_recipient_key(self.settings):
            return lambda _: None
        _ = self.recipient_key  # fails now if it cannot be read
        return self.recipient_id

    @cached_property
    def recipient_key(self) -> bytes:
        """The key of recipient ids. Raises SettingsError if it cannot be read."""
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
        """The suppression lists. Those of new streams begin with the suppressions whose scope includes them.

        While the store cannot be written, lists can be read, and sending fails.
        """
        service = SuppressionService(
            self.store, self.pipeline.decide, self.counting, self.settings.suppression, self.clock
        )
        with suppress(StoreUnavailable):
            service.inherit()
        return service

    @property
    def known_sets(self) -> frozenset[str]:
        """Return the configuration sets whose events are certain not to be quarantined."""
        return self.rules.known_sets

    @property
    def hosts(self) -> frozenset[str]:
        """Return the host names that the API serves besides loopback, in lower case."""
        return frozenset(name.lower() for name in self.settings.server.allowed_hosts)

    def recipient_id(self, address: str) -> str:
        """Return the recipient id of an address."""
        from sesight.services.recipient_id import encode

        return encode(address, self.recipient_key)

    @cached_property
    def secrets(self) -> StreamSecrets:
        """The sender configuration of each stream, from the settings or Secrets Manager."""
        from sesight.send.stream_secrets import StreamSecrets

        sending = self.settings.sending
        return StreamSecrets(
            {sender.stream: sender for sender in sending.senders},
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
        """The send log."""
        return self.store.sending

    @cached_property
    def sending(self) -> SendingComponents:
        """The components that send mail."""
        from sesight.app.sending import SendingComponents

        return SendingComponents(self)

    def close(self) -> None:
        """Close the store, after the results of sends under way are recorded."""
        if "sending" in self.__dict__:
            self.sending.close()
        self.store.close()

    # -- intake -------------------------------------------------------------------------------

    def open_intake(self, idle_seconds: float | None = None) -> Intake:
        """Return the intake, on the running event loop. Notifications wait until `start_commit_process`."""
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
            idle_seconds=idle_seconds,
        )
        self.metrics.watch(lambda: intake.depth, self.newest_at)
        return intake

    async def start_commit_process(self, intake: Intake, gone: Callable[[], None]) -> None:
        """Start the process that commits what intake accepts; `gone` is called when it ends."""

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
        """Commit what was accepted, and stop the commit process.

        Raises StoreUnavailable if it had ended by itself.
        """
        if self.intake is not None and self._commit_process is not None:
            await self.intake.stop()
            await self._commit_process.close()

    @property
    def retention_warning(self) -> str | None:
        """Return a sentence if the settings have a shorter retention than the store, which keeps its own."""
        return retention_warning(self.settings.store.retention_days, self.store.retention)

    @cached_property
    def upkeep(self) -> Upkeep:
        """The periodic work of a server."""
        return Upkeep(self.store, self.pipeline, lambda: self.suppressions, self.clock)

    def newest_at(self) -> int | None:
        """Return the time of intake of the newest applied event (ms), by a clock that is trusted: by one that
        runs ahead, a message with an unknown result would be taken for unsent, and sent again.
        """
        at = self.store.newest_at()
        return None if at is None else self.store.retention.trusted_time(at)

    def intake_status(self) -> IntakeStatus:
        """Return the state of intake in this process."""
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

    # -- answers -------------------------------------------------------------------------------

    def services(self) -> Services:
        """Return what the services use."""
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
            simulated=any(topic.pinned is not None for topic in self.topics.values()),
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
        """Return the routes of the HTTP API that need no access: unsubscribe links."""
        from sesight.api.application import create_public

        return create_public(self.services())


def _all_of(observers: list[Observer]) -> Observer:
    def observe(processed: list[Processed]) -> None:
        for observer in observers:
            try:
                observer(processed)
            except Exception:  # noqa: BLE001 - the batch is committed: it must not be refused now
                _log.exception("a committed batch could not be logged or counted")

    return observe
