"""The app: the only place where adapters are chosen and put together."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from sesight import __version__
from sesight.domain.errors import NO_CREDENTIALS, NotFound, SettingsError, StoreUnavailable
from sesight.domain.event import Disposition
from sesight.ingest.journal import Journal
from sesight.ingest.pipeline import Observer, Pipeline
from sesight.ingest.processed import Processed
from sesight.ingest.rules import Rules
from sesight.services.intake_health import intake_status, without_counts
from sesight.services.quarantine import take_due
from sesight.services.suppressions import Suppressions
from sesight.settings import Settings, has_recipient_key, recipient_key, topics
from sesight.store import open_store
from sesight.store.retention import in_words, is_longer

# What only some processes need is imported where it is needed: the functions that take events in
# have neither the web framework nor cryptography.
if TYPE_CHECKING:
    from socket import socket

    from litestar import Litestar

    from sesight.app.sending import SendingComponents
    from sesight.domain.event import Event
    from sesight.domain.ports import Clock, SendLog, SweepResult
    from sesight.ingest.http.commit_process import Writer
    from sesight.ingest.http.intake import Answer, Intake
    from sesight.ingest.metrics import Metrics
    from sesight.ingest.reading import Reading
    from sesight.ingest.transport.s3 import Archive
    from sesight.ingest.transport.sqs import Queue
    from sesight.send.stream_secrets import StreamSecrets
    from sesight.send.templates.folder import TemplateFolder
    from sesight.send.templates.ses import AccountTemplates
    from sesight.services import Services
    from sesight.services.intake_health import IntakeStatus
    from sesight.services.unsubscribe import Leaving

_log = logging.getLogger(__name__)

AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""How names of AWS's own hosts end."""

LOCAL = "us-east-1"
"""The region that local engines are told where none is set."""

IN_CLOUDWATCH = "see the metrics in the namespace Sesight of CloudWatch."
"""Where the counters of functions are."""

SWEEP_MS = 10 * 60_000
"""Expired records are swept at the first quiet moment, then this often at most."""

ANSWER_BYTES = 5_000_000
"""Bytes of the rows of an answer that a function gives; Lambda takes 6 MB of it whole."""

SWEEP_ROWS = 5_000
"""Records swept at once, so that requests never wait long behind a sweep."""


def now_ms() -> int:
    """Return now, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def aws_client(
    service: str,
    region: str | None = None,
    endpoint: str | None = None,
    *,
    tries: int = 5,
    at_once: int = 10,
) -> Any:
    """Return a client of an AWS service; an `endpoint` is a local engine's address. A call is tried
    so many times; so many are under way at once at most.
    """
    # imported here, since it takes a quarter of a second
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    options: dict[str, Any] = {
        "region_name": region,
        "config": Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": tries},
            max_pool_connections=at_once,
            tcp_keepalive=True,
        ),
    }
    if endpoint is not None:
        # a local engine takes any credentials: never show it true ones
        options |= {
            "endpoint_url": endpoint,
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        }
    session = botocore.session.Session()
    try:
        client = session.create_client(service, **options)
    except BotoCoreError as error:  # a profile, or a region, that there is not
        raise SettingsError(f"AWS cannot be called: {error}.") from None
    if endpoint is None:
        client.meta.events.register("before-sign", partial(_require_credentials, session))
    return client


def credentials() -> str:
    """Return by which way AWS credentials are found. Raises SettingsError if there are none."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        found = botocore.session.Session().get_credentials()
    except BotoCoreError as error:
        raise SettingsError(f"AWS cannot be called: {error}.") from None
    if found is None:
        raise SettingsError(NO_CREDENTIALS)
    return str(found.method)


def store_url(settings: Settings) -> str:
    """Return the URL of the store, wherever the working folder is."""
    scheme, _, path = settings.store.url.partition(":///")
    return f"sqlite:///{Path(path).absolute()}" if scheme == "sqlite" else settings.store.url


def _require_credentials(session: Any, **_: Any) -> None:
    """Say in our words that there are no credentials, where botocore would in its own."""
    if session.get_credentials() is None:
        from botocore.exceptions import NoCredentialsError

        error = NoCredentialsError()
        error.args = (NO_CREDENTIALS,)
        raise error


def _aws_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError)


def region_of(settings: Settings) -> str | None:
    """Return the AWS region: the one set, else that of the first topic, else of the store."""
    if settings.region is not None:
        return settings.region
    store = urlsplit(settings.store.url)
    of_store = store.hostname if store.scheme == "dynamodb" else None
    return next((each.region for each in topics(settings).values()), of_store)


def open_archive(url: str, region: str | None) -> Archive:
    """Open the archive in S3 that a URL names. Raises SettingsError for one that names none."""
    from sesight.ingest.transport.s3 import Archive, place_of

    place = place_of(url)
    return Archive(aws_client("s3", region or LOCAL, place.endpoint), place, _aws_errors())


def open_queue(url: str, region: str | None) -> Queue:
    """Open the SQS queue of a URL, which has its region in it; one that is not AWS's is of a local
    engine there. Raises SettingsError for what is no queue's URL.
    """
    from sesight.ingest.transport.sqs import Queue

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
        raise SettingsError(
            f"{url!r} is no queue's URL: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME."
        )
    named = re.search(r"\bsqs\.([a-z0-9-]+)\.", parts.hostname)
    ours = parts.hostname.endswith(AWS_HOSTS)
    endpoint = None if ours else f"{parts.scheme}://{parts.netloc}"
    client = aws_client("sqs", named[1] if ours and named else region or LOCAL, endpoint)
    return Queue(client, url, _aws_errors())


def templates_of(settings: Settings) -> TemplateFolder:
    """Return the folder of templates."""
    from sesight.send.templates.folder import TemplateFolder

    sending = settings.sending
    return TemplateFolder(sending.templates, settings.streams, sending.rendering)


def ses_templates(settings: Settings, stream: str | None) -> AccountTemplates:
    """Return the SES account's templates, in the region that a stream sends in."""
    from sesight.send.templates.ses import AccountTemplates

    sending = settings.sending
    senders = {each.stream: each.region for each in sending.senders}
    region = senders.get(stream or "") or region_of(settings)
    if region is None and sending.endpoint is None:
        raise SettingsError("There is no AWS region to push templates to: set `region`.")
    return AccountTemplates(aws_client("sesv2", region or LOCAL, sending.endpoint))


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
        self._writer: Writer | None = None
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
        """Read a secret of AWS Secrets Manager. Raises SettingsError."""
        client = aws_client("secretsmanager", region_of(self.settings))
        try:
            found: str = client.get_secret_value(SecretId=name)["SecretString"]
        except _aws_errors() as error:
            raise SettingsError(f"The secret {name} cannot be read: {error}") from None
        except KeyError:
            raise SettingsError(f"The secret {name} holds no text.") from None
        return found

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of this process, for Prometheus."""
        from sesight.ingest.metrics import Metrics

        return Metrics(self.clock)

    @cached_property
    def suppressions(self) -> Suppressions:
        """The suppression lists, of new streams too: they start with what reaches them.

        While the store cannot be written they may be read, and nothing is sent.
        """
        found = Suppressions(
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
        """Return the intake, on the running loop; what it takes waits for `start_writer`."""
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

    async def start_writer(self, intake: Intake, gone: Callable[[], None]) -> None:
        """Start the process that writes what intake takes; `gone` is told of its end."""

        def lost() -> None:
            intake.lost()
            gone()

        from sesight.ingest.http.commit_process import Writer

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

    def tidy(self) -> SweepResult | None:
        """Do what can wait: checkpoints, the sweep of expired records, suppressions that ended. Return
        what a sweep removed, None when it was not time for one.
        """
        now = self.clock()
        swept = None
        # a clock that went back is to be looked at again, not to be waited for
        if self._swept_at is None or not 0 <= now - self._swept_at < SWEEP_MS:
            self.suppressions.inherit()
            take_due(self.store, self.pipeline, self.store.retention.trusted_time(now))
            swept = self.store.sweep(now, SWEEP_ROWS)
            if swept.most < SWEEP_ROWS:
                self._swept_at = now
            due = [] if swept.doubted else self.store.suppressions_due(now, SWEEP_ROWS)
            if due:
                self.pipeline.lapse([(item.stream, item.address) for item in due])
        self.store.do_idle_work()
        return swept

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
    def unsubscribing(self) -> Leaving:
        """Unsubscribe links at work."""
        from sesight.send.unsubscribe_link import UnsubscribeLinks
        from sesight.services.unsubscribe import Leaving

        sending = self.settings.sending
        senders = [each.stream for each in sending.senders]
        streams = self.counting.streams
        links = UnsubscribeLinks(
            senders if sending.secret is None else list(streams), self.secrets.get_ses_secrets
        )
        return Leaving(links.read, self.store, streams, self.clock, self._take_leave)

    async def _take_leave(self, event: Event) -> None:
        """Take in that somebody left: by the process that writes, where there is one."""
        from sesight.domain.unsubscribe import ORIGIN
        from sesight.ingest.reading import EventReading

        if self._writer is not None and self.intake is not None:
            taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

            def answered(said: Answer) -> None:
                if not taken.done():  # who asked may have gone
                    taken.set_result(said.status == 200)

            self.intake.submit_own(ORIGIN, event, answered)
            done = await taken
        else:
            [processed] = await asyncio.to_thread(
                self.pipeline.process, [EventReading(ORIGIN, event)]
            )
            done = processed.disposition is not Disposition.REFUSED
        if not done:
            raise StoreUnavailable("The store cannot take this now: try again.")

    # -- answering -------------------------------------------------------------------------------

    def services(self) -> Services:
        """Return what the API reads."""
        from sesight.services import Services

        store, settings = self.store, self.settings
        if self.lasting:
            _ = self.sending.service  # made once, before requests ask for it at the same time
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

        return create_api(self.services())

    def public(self) -> Litestar:
        """Return what of the HTTP API everybody reaches."""
        from sesight.api.application import create_public

        return create_public(self.services())

    def ask(
        self,
        path: str,
        query: dict[str, Any],
        api: Litestar | None = None,
        *,
        body: bytes | None = None,
        key: str | None = None,
    ) -> tuple[int, bytes]:
        """Ask the API a question in this process; return status and body, as HTTP would. With a `body`
        (JSON) it is a POST, perhaps with an idempotency `key`.
        """
        return asyncio.run(_ask(api or self.api(), path, query, body, key))


def write_apart(line: socket, settings: Settings, journaling: bool) -> None:  # noqa: FBT001
    """Be the process that writes: commit what comes over a line until it ends."""
    from sesight.ingest.http.commit_process import Committer

    lines: list[bytes] = []

    @cache
    def app() -> App:
        return App(settings, journal=lines.append if journaling else None)

    def process(readings: Sequence[Reading]) -> list[Processed]:
        return app().pipeline.process(readings)

    def tidy() -> SweepResult | None:
        return app().tidy()

    with suppress(StoreUnavailable):  # it is asked for again with every batch
        app()
    try:
        Committer(process, tidy, lines).work(line)
    finally:
        if app.cache_info().currsize:
            app().close()


def _each(observers: list[Observer]) -> Observer:
    def observe(processed: list[Processed]) -> None:
        for each in observers:
            try:
                each(processed)
            except Exception:  # noqa: BLE001 - the batch is committed: it must not be refused now
                _log.exception("a committed batch could not be logged or counted")

    return observe


async def _ask(
    api: Litestar, path: str, query: dict[str, Any], asked: bytes | None, key: str | None
) -> tuple[int, bytes]:
    given = {name: value for name, value in query.items() if value is not None}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET" if asked is None else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(given).encode(),
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"accept", b"application/json"),
            *([] if asked is None else [(b"content-type", b"application/json")]),
            *([] if key is None else [(b"idempotency-key", key.encode())]),
        ],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    status, body, is_whole = 500, b"", False

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": asked or b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body, is_whole
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body += message.get("body", b"")
            is_whole = not message.get("more_body", False)

    await api(scope, receive, send)  # type: ignore[arg-type]
    if not is_whole:
        raise StoreUnavailable("The store failed before the answer was whole.")
    return status, body
