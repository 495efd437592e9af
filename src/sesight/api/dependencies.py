"""What the API is given when it is made: the store, the clock, the settings' facts, no more."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from sesight.domain.counting import Counting
from sesight.domain.ports import Clock, Store
from sesight.domain.stream import Stream
from sesight.domain.suppression.csv import InvalidRow, SuppressionRow
from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.manual import SuppressionRequest, SuppressionResult
from sesight.domain.suppression.policy import ActiveSuppression, SuppressionPolicy
from sesight.domain.template import TemplateLibrary
from sesight.domain.timestamps import DAY
from sesight.domain.unsubscribe import UnsubscribeTarget

if TYPE_CHECKING:
    from sesight.services.sending import (
        SendService,  # what it loads is much: only routes that send do
    )

IntakeState = Literal["ok", "late", "quiet"]
"""Is intake working? late: something waits or is refused; quiet: nothing came, as expected or not."""


class Intake(Struct, frozen=True, kw_only=True):
    """How intake is: `sentences` tell a person, `dispositions` and `refusals` count since the start
    (None: nobody counts them in one place).
    """

    state: IntakeState = "quiet"
    sentences: list[str] = []
    dispositions: dict[str, int] | None = {}
    refusals: dict[str, int] | None = {}
    waiting: int | None = None


@dataclass(frozen=True)
class Retention:
    """How long records are held. `kept_for()` is the days in force, 0 for ever; `live_from(now ms)` the
    first UTC day held, `expires_at(UTC day)` when the records sent that day expire (ms), None for never.
    """

    kept_for: Callable[[], int]
    live_from: Callable[[int], int]
    expires_at: Callable[[int], int | None]

    @property
    def days(self) -> int:
        """Return the days in force, 0 for ever."""
        return self.kept_for()

    @classmethod
    def of(cls, days: int) -> Retention:
        """Return a retention that never changed: gone at 00:00 UTC after send day + `days`."""
        return cls(
            lambda: days,
            lambda now: now // DAY - days if days else 0,
            lambda day: (day + days + 1) * DAY if days else None,
        )


@dataclass(frozen=True)
class StreamRoutes:
    """Where a stream's own routes are: `/{prefix}/tracking-data`; with a legacy provider that path
    is the provider's, and SES's is `/{prefix}/tracking-data-ses`.
    """

    stream: str
    prefix: str
    legacy: bool = False

    @property
    def tracking(self) -> str:
        """Return the path of the stream's tracking data from SES."""
        return f"/{self.prefix}/tracking-data{'-ses' if self.legacy else ''}"

    @property
    def send(self) -> str:
        """Return the path by which the stream's mail is sent."""
        return f"/{self.prefix}/send"


OWN_ROUTES = (
    StreamRoutes("outreach", "outreach", legacy=True),
    StreamRoutes("finance", "financial"),
)
"""The routes of the two streams that Sesight comes with."""


class Unsubscribing(Protocol):
    """Unsubscribe links at work."""

    def read(self, token: str) -> tuple[UnsubscribeTarget, Stream, str]:
        """Return what a token stands for, its stream, and who sent the message.

        Raises NotFound, StoreUnavailable.
        """
        ...

    def has_left(self, leave: UnsubscribeTarget) -> bool:
        """Return whether the address has left the stream. Raises StoreUnavailable."""
        ...

    async def leave(self, leave: UnsubscribeTarget) -> None:
        """Let the address leave the stream; durable when it is over. Raises StoreUnavailable."""
        ...


class SuppressionList(Protocol):
    """The list as people work on it (`sesight.services.suppressions`)."""

    def add(self, wishes: Sequence[SuppressionRequest], change: str) -> list[SuppressionResult]:
        """Suppress addresses and whole domains."""
        ...

    def remove(
        self,
        addresses: Sequence[str],
        change: str,
        note: str,
        streams: Sequence[str],
        causes: Collection[str] = (),
    ) -> list[SuppressionResult]:
        """Lift what stands against addresses."""
        ...

    def restore(
        self, addresses: Sequence[str], restores: str, streams: Sequence[str]
    ) -> list[SuppressionResult]:
        """Take the removals of a change back."""
        ...

    def take(
        self, rows: Iterable[SuppressionRow | InvalidRow], change: str, *, dry_run: bool = False
    ) -> Iterator[tuple[SuppressionRow | InvalidRow, SuppressionResult | None]]:
        """Suppress what the rows of a file wish for."""
        ...

    def check(
        self, addresses: Sequence[str], streams: Sequence[str]
    ) -> list[tuple[str, dict[str, ActiveSuppression | None]] | SuppressionResult]:
        """Return why each stream must not send to each address."""
        ...

    def page(
        self,
        streams: Sequence[str],
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> tuple[list[tuple[str, list[Suppression]]], str | None]:
        """Return addresses in order with their items."""
        ...

    def exported_page(
        self,
        streams: Sequence[str],
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
    ) -> tuple[list[list[tuple[str, ...]]], str | None]:
        """Return rows of a file by address, and after which address to go on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """All that the API reads. `recipient_key` is 32 or 64 secret bytes; `hosts` are names beside the
    loopback ones that a request may be for; `intake` and `metrics` are asked at each request; `sending`
    gives what sends mail, None: nothing does; without `unsubscribing` there are no unsubscribe links;
    `templates` gives where they are looked at, None: there are none (both are asked for by the routes
    that need them alone: what they load is much); `withheld` says of a stream's
    campaign how many got nothing from it, by state; `answer_bytes` is how long the rows of an answer
    may be, None: as long as they are.
    """

    store: Store
    suppressions: SuppressionList
    counting: Counting
    clock: Clock
    recipient_key: bytes
    retention: Retention = field(default_factory=lambda: Retention.of(90))
    policy: SuppressionPolicy = field(default_factory=SuppressionPolicy)
    intake: Callable[[], Intake] = Intake
    metrics: Callable[[], bytes] = bytes
    routes: tuple[StreamRoutes, ...] = OWN_ROUTES
    version: str = "0.1.0"
    store_url: str = ""
    region: str | None = None
    provider: str = "ses"
    providers: tuple[str, ...] = ("ses",)
    simulated: bool = False
    hosts: frozenset[str] = frozenset()
    unsubscribing: Unsubscribing | None = None
    api_keys_exist: Callable[[], bool] = lambda: False
    base_path: str = "/api"
    answer_bytes: int | None = None
    sending: Callable[[], SendService] | None = None
    templates: Callable[[], TemplateLibrary] | None = None
    withheld: Callable[[str, str], Mapping[str, int]] = lambda _stream, _campaign: {}
    new_request_id: Callable[[], str] = lambda: secrets.token_hex(8)

    def tracked(self, stream: str) -> bool:
        """Return whether opens and clicks of the stream are recorded."""
        return self.counting.streams[stream].tracked


Given = NamedDependency[SkipValidation[Services]]
"""The services, as a handler asks for them."""
