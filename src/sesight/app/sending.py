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
from sesight.send.account_suppression_list import AccountSuppressionList
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
from sesight.send.suppression_sync import (
    PER_SECOND,
    LocalSuppressions,
    SyncDifference,
    SyncResult,
    sync,
)
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

RECORDS = 100
"""Records of one address that are searched for the messages of a statement."""

PAUSE = 0.2
"""Seconds of the first pause after SES throttled or failed; later ones are longer."""

CLOCK_SKEW = 10 * 60_000
"""How far (ms) the clocks of SES and of this machine may differ."""


class SendingRegion(NamedTuple):
    """An AWS region to send in. Its streams share the account's rate, quota and suppression list."""

    mailer: Mailer
    quota: SendQuota
    rate_limiter: RateLimiter
    account_list: AccountSuppressionList


class SendingComponents:
    """Constructs the senders and the send service. Close it when done."""

    def __init__(self, app: App, client: Any = None, pause: float = PAUSE) -> None:
        """`client` replaces the client of SES v2. `pause` is the first pause in seconds after SES throttled
        or failed.
        """
        self._app = app
        self._pause = pause
        self._client = client
        self._settings = app.settings.sending
        self._lock = threading.Lock()
        self._senders: dict[str, Sender] = {}
        self._regions: dict[str | None, SendingRegion] = {}

    def message_defaults(self, stream: str) -> MessageDefaults:
        """Return the defaults of a stream's messages. Raises SettingsError."""
        secrets = self._app.secrets.get_ses_secrets(stream)
        make_link = None
        if secrets.unsubscribe_keys and secrets.public_url:
            tokens, public_url = Tokens(secrets.unsubscribe_keys), secrets.public_url

            def make_link(stream: str, address: str, campaign: str, send_id: str) -> str:
                target = UnsubscribeTarget(
                    stream, address, campaign, self._app.clock() // DAY, send_id
                )
                return link(public_url, tokens.make(target))

        return MessageDefaults(
            stream=self._app.counting.streams[stream], secrets=secrets, link=make_link
        )

    def sender(self, stream: str) -> Sender:
        """Return the sender of a stream. Raises SettingsError."""
        with self._lock:
            sender = self._senders.get(stream)
            if sender is None:
                sender = self._senders[stream] = self._new_sender(stream)
            return sender

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
        """Return how many messages of a statement an address has received for a month."""
        statements = RecordFilter(streams=(stream,), address=address, month=month_number(month))
        page = self._app.store.messages(statements, RECORDS, None, self._app.clock())
        return sum(record.tag(STATEMENT_TAG) == tag for record in page.records)

    def _new_sender(self, stream: str) -> Sender:
        app, settings = self._app, self._settings
        app.suppressions.inherit()  # a new stream must not send before it has its suppressions
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
            account_list=region.account_list.reason
            if settings.account_list
            else lambda _address: None,
            clock=app.clock,
            steady=time.monotonic,
            workers=settings.workers,
            pause=self._pause,
        )

    def _region(self, name: str | None) -> SendingRegion:
        """Return the components of a region, by default that of the settings. Raises SettingsError."""
        name = name or region_of(self._app.settings)
        if name is None and self._settings.endpoint is None:
            raise SettingsError("There is no AWS region to send in: set `region`.")
        region = self._regions.get(name)
        if region is None:
            client = self._client or aws_client(
                "sesv2",
                name or LOCAL_REGION,
                self._settings.endpoint,
                tries=1,
                at_once=self._settings.workers + 1,
            )
            mailer = Mailer(client)
            quota = SendQuota(mailer.account, self._settings.rate, time.monotonic)
            rate_limiter = RateLimiter(quota.rate, time.monotonic)
            region = self._regions[name] = SendingRegion(
                mailer, quota, rate_limiter, AccountSuppressionList(client, time.sleep)
            )
        return region

    @cached_property
    def _writer(self) -> SendLogWriter:
        return SendLogWriter(self._app.log, self._block_reason, self._accept)

    @cached_property
    def guard(self) -> ReputationGuard:
        """The reputation guard of all marketing streams and of those that the settings name."""
        settings = self._settings.guard
        streams = self._app.counting.streams.values()
        watched = {stream.id for stream in streams if stream.marketing} | set(settings.streams)
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

    def _block_reason(self, stream: str, items: Collection[Suppression]) -> str | None:
        del stream  # the items are already those of its list
        now, policy = self._app.clock(), self._app.settings.suppression
        suppression = highest_priority(items, now, policy)
        return None if suppression is None else suppression.cause.reason

    def blocked(self, stream: str, address: str) -> str | None:
        """Return the reason why a stream must not send to an address now, or None."""
        items = self._app.store.suppressions_of(stream, suppression_keys(address))
        return self._block_reason(stream, items.values())

    def sync(
        self,
        on_difference: Callable[[SyncDifference], object],
        *,
        apply: bool,
        region: str | None = None,
    ) -> SyncResult:
        """Sync SES's suppression list of a region with the local ones; see `send.suppression_sync.sync`.

        Raises AccountUnknown, StoreUnavailable, SettingsError.
        """
        app = self._app
        # a simulated SES has no quota of management calls
        per_second = PER_SECOND if self._settings.endpoint is None else 1e9
        rate_limiter = RateLimiter(lambda: per_second, time.monotonic)
        return sync(
            self._region(region).account_list,
            LocalSuppressions(
                streams=tuple(app.counting.streams),
                items_of=app.store.suppressions_of,
                active_items=app.store.suppressions_counted,
                commit=app.pipeline.decide,
                is_test=app.counting.is_test,
                policy=app.settings.suppression,
            ),
            apply=apply,
            now=app.clock(),
            wait=rate_limiter.take,
            on_difference=on_difference,
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
            since=intent.at - CLOCK_SKEW,
            now=self._app.clock(),
        )
        return None if record is None else record.message_id

    def close(self) -> None:
        """Stop jobs, and wait until everything that was sent is recorded."""
        if "_jobs" in self.__dict__:
            self._jobs.close()
        for sender in self._senders.values():
            sender.close()
        if "_writer" in self.__dict__:
            self._writer.close()
