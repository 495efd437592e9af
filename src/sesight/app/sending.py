"""Everything that sends mail in one process, constructed when it is first used."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sesight.app import templates_of
from sesight.app.aws import LOCAL_REGION, aws_client, region_of
from sesight.domain.errors import SettingsError
from sesight.domain.ports import RecordFilter
from sesight.domain.suppression.item import Suppression, suppression_keys
from sesight.domain.suppression.policy import highest_priority
from sesight.domain.timestamps import DAY, month_number
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.ingest.reading import SENDER, EventReading
from sesight.send.account_suppression_list import (
    PER_SECOND,
    AccountSuppressionList,
    LocalSuppressions,
    SyncDifference,
    SyncResult,
    sync,
)
from sesight.send.claims import Claims
from sesight.send.finance import STATEMENT_TAG
from sesight.send.jobs import Jobs
from sesight.send.message_defaults import MessageDefaults
from sesight.send.rate_limiter import RateLimiter
from sesight.send.reputation_guard import ReputationGuard
from sesight.send.send_log_writer import SendLogWriter
from sesight.send.send_quota import SendQuota
from sesight.send.sender import Sender
from sesight.send.ses import Mailer
from sesight.send.statements.renderer import StatementRenderer
from sesight.send.templates.sandbox import FolderLoader
from sesight.send.templates.ses import SesTemplate
from sesight.send.templates.template import Template
from sesight.send.unsubscribe_link import Tokens, link
from sesight.services.sending import SendService
from sesight.services.sent_messages import find_by_send_id

if TYPE_CHECKING:
    from sesight.app import App
    from sesight.domain.event import Event
    from sesight.domain.sending import Intent

FOUND = 100
"""Records of one address that are searched for the messages of a statement."""

PAUSE = 0.2
"""Seconds waited first after SES throttled or failed; longer each time."""

SLACK = 10 * 60_000
"""How far (ms) the clocks of SES and of this machine may lie apart."""


class SendingRegion(NamedTuple):
    """One account and region that mail is sent from: its streams share rate, quota and list."""

    mailer: Mailer
    quota: SendQuota
    rate_limiter: RateLimiter
    account_list: AccountSuppressionList


class SendingComponents:
    """Constructs the senders and the send service. Close it when done."""

    def __init__(self, app: App, client: Any = None, pause: float = PAUSE) -> None:
        """Keep the app; nothing is called before something is sent. `client` is called in the place
        of SES v2's own; `pause` is how many seconds are waited first after SES throttled or failed.
        """
        self._app = app
        self._pause = pause
        self._client = client
        self._settings = app.settings.sending
        self._lock = threading.Lock()
        self._senders: dict[str, Sender] = {}
        self._regions: dict[str | None, SendingRegion] = {}

    def message_defaults(self, stream: str) -> MessageDefaults:
        """Return what every message of a stream has on it. Raises SettingsError."""
        secrets = self._app.secrets.get_ses_secrets(stream)
        make = None
        if secrets.unsubscribe_keys and secrets.public_url:
            tokens, public_url = Tokens(secrets.unsubscribe_keys), secrets.public_url

            def make(stream: str, address: str, campaign: str, send_id: str) -> str:
                leave = UnsubscribeTarget(
                    stream, address, campaign, self._app.clock() // DAY, send_id
                )
                return link(public_url, tokens.make(leave))

        return MessageDefaults(
            stream=self._app.counting.streams[stream], secrets=secrets, link=make
        )

    def sender(self, stream: str) -> Sender:
        """Return what sends mail of a stream. Raises SettingsError."""
        with self._lock:
            found = self._senders.get(stream)
            if found is None:
                found = self._senders[stream] = self._made(stream)
            return found

    @cached_property
    def service(self) -> SendService:
        """The service that the API, the command line and the functions send through."""
        return SendService(
            sender=self.sender,
            message_defaults=self.message_defaults,
            template=self.template,
            renderer=self._renderer,
            jobs=self._jobs if self._app.lasting else None,
            blocked=self.blocked,
            attempts=self._attempts,
            keyed_hash=self._keyed_hash,
        )

    def _keyed_hash(self, data: bytes) -> str:
        return hmac.digest(self._app.recipient_key, b"sending\0" + data, "sha256").hex()

    @cached_property
    def _jobs(self) -> Jobs:
        return Jobs(self._app.log, self._app.clock)

    def template(self, name: str, stream: str) -> Template | SesTemplate:
        """Return a template that a stream may send. Raises NotFound, InvalidRequest, SettingsError."""
        return templates_of(self._app.settings).checked(name, self._app.counting.streams[stream])

    def _renderer(self, template: str) -> StatementRenderer:
        return StatementRenderer(FolderLoader(Path(self._settings.templates)), template)

    def _attempts(self, stream: str, address: str, month: str, tag: str) -> int:
        """Return how many messages an address got of a month's statement."""
        wanted = RecordFilter(streams=(stream,), address=address, month=month_number(month))
        page = self._app.store.messages(wanted, FOUND, None, self._app.clock())
        return sum(each.tag(STATEMENT_TAG) == tag for each in page.records)

    def _made(self, stream: str) -> Sender:
        app, settings = self._app, self._settings
        app.suppressions.inherit()  # before anything is sent
        region = self._region(app.secrets.get_ses_secrets(stream).region)
        claims = Claims(
            app.log,
            self._writer,
            self._find,
            app.newest_at,
            app.clock,
            settings.unknown_minutes * 60_000,
        )
        return Sender(
            log=app.log,
            claims=claims,
            mailer=region.mailer,
            quota=region.quota,
            rate_limiter=region.rate_limiter,
            streams=app.counting.streams,
            guard=self.guard,
            account_list=region.account_list.listed
            if settings.account_list
            else lambda _address: None,
            clock=app.clock,
            steady=time.monotonic,
            workers=settings.workers,
            pause=self._pause,
        )

    def _region(self, region: str | None) -> SendingRegion:
        """Return what sends from one region."""
        region = region or region_of(self._app.settings)
        if region is None and self._settings.endpoint is None:
            raise SettingsError("There is no AWS region to send in: set `region`.")
        found = self._regions.get(region)
        if found is None:
            client = self._client or aws_client(
                "sesv2",
                region or LOCAL_REGION,
                self._settings.endpoint,
                tries=1,
                at_once=self._settings.workers + 1,
            )
            mailer = Mailer(client)
            quota = SendQuota(mailer.account, self._settings.rate, time.monotonic)
            rate_limiter = RateLimiter(quota.rate, time.monotonic)
            found = self._regions[region] = SendingRegion(
                mailer, quota, rate_limiter, AccountSuppressionList(client, time.sleep)
            )
        return found

    @cached_property
    def _writer(self) -> SendLogWriter:
        return SendLogWriter(self._app.log, self._blocks, self._accept)

    @cached_property
    def guard(self) -> ReputationGuard:
        """What watches the reputation of every marketing stream, and of those that the settings name."""
        settings = self._settings.guard
        streams = self._app.counting.streams.values()
        watched = {each.id for each in streams if each.marketing} | set(settings.streams)
        return ReputationGuard(
            self._app.store,
            self._app.log,
            self._app.clock,
            streams=watched,
            bounce=settings.bounce,
            complaint=settings.complaint,
            floor=settings.floor,
            days=settings.days,
        )

    def _blocks(self, stream: str, items: Collection[Suppression]) -> str | None:
        del stream  # the items are of its list
        now, policy = self._app.clock(), self._app.settings.suppression
        found = highest_priority(items, now, policy)
        return None if found is None else found.cause.reason

    def blocked(self, stream: str, address: str) -> str | None:
        """Return the reason why a stream must not send to an address now, or None."""
        items = self._app.store.suppressions_of(stream, suppression_keys(address))
        return self._blocks(stream, items.values())

    def sync(
        self, told: Callable[[SyncDifference], object], *, apply: bool, region: str | None = None
    ) -> SyncResult:
        """Bring SES's suppression list of a region and ours together; see `send.account_list.sync`.

        Raises AccountUnknown, StoreUnavailable, SettingsError.
        """
        app = self._app
        # a simulated SES takes any number of calls
        per_second = PER_SECOND if self._settings.endpoint is None else 1e9
        rate_limiter = RateLimiter(lambda: per_second, time.monotonic)
        return sync(
            self._region(region).account_list,
            LocalSuppressions(
                streams=tuple(app.counting.streams),
                held=app.store.suppressions_of,
                counted=app.store.suppressions_counted,
                take=app.pipeline.decide,
                is_test=app.counting.is_test,
                policy=app.settings.suppression,
            ),
            apply=apply,
            now=app.clock(),
            wait=rate_limiter.take,
            told=told,
        )

    def _accept(self, events: Sequence[Event]) -> None:
        self._app.pipeline.process([EventReading(SENDER, event) for event in events])

    def _find(self, intent: Intent) -> str | None:
        """Return the message id of the record that carries an intent's send id."""
        record = find_by_send_id(
            self._app.store,
            intent.stream,
            intent.address,
            intent.send_id,
            since=intent.at - SLACK,
            now=self._app.clock(),
        )
        return None if record is None else record.message_id

    def close(self) -> None:
        """Stop jobs; record what was sent."""
        if "_jobs" in self.__dict__:
            self._jobs.close()
        for sender in self._senders.values():
            sender.close()
        if "_outbox" in self.__dict__:
            self._writer.close()
