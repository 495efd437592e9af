"""What keeps the service running: provider, health, metrics, quarantine."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from sesight.api.dependencies import Given, IntakeState
from sesight.api.parameters import DEFAULT_LIMIT, Limit, only_known
from sesight.api.problem import InvalidParameter
from sesight.api.responses import Meta, Missing, Total, meta_of
from sesight.api.route import read
from sesight.domain.quarantine import QUARANTINE_REASONS
from sesight.domain.timestamps import iso

METRICS_TYPE = "text/plain; version=0.0.4"


class StreamInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """A stream: whether it has statement months, whether opens and clicks are recorded, and where
    its tracking data is.
    """

    id: str
    label: str
    kind: Literal["marketing", "transactional"]
    months: bool
    tracked: bool
    tracking_path: str | None


class ProviderInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """Who sends, and what there is to ask for."""

    provider: str
    region: str | None
    providers: list[str]
    streams: list[StreamInfo]
    retention_days: int
    version: str
    meta: Meta


class Entrance(Struct, frozen=True, kw_only=True):
    """What answers here, and the paths that one begins with."""

    name: str
    about: str
    version: str
    api: str
    docs: str
    openapi: str
    health: str
    intake: str


class Health(Struct, frozen=True):
    """The process is alive and answers; nothing more."""

    status: Literal["ok"]


class IntakeHealth(Struct, frozen=True, rename="camel", kw_only=True):
    """Whether intake is working. `sentences` for people; dispositions and refusals by reason since the start
    of the process, null where many processes take in; `waiting` is the length of the queue, null where
    there is none; `store` is where events are kept.
    """

    state: IntakeState
    sentences: list[str]
    newest_event_at: str | None
    dispositions: dict[str, int] | None
    refusals: dict[str, int] | None
    waiting: int | None
    quarantined: dict[str, int]
    store: str
    meta: Meta


class QuarantineEntry(Struct, frozen=True, rename="camel", kw_only=True):
    """A trusted body that was not understood or not routed. Its text is on the server only
    (`sesight quarantine show ID`), since it may hold addresses.
    """

    id: str
    reason: str
    detail: str
    at: str
    bytes: int
    message_id: str | None
    name: str | None


class QuarantineList(Struct, frozen=True, rename="camel", kw_only=True):
    """Quarantined bodies, newest first, up to `limit`; `total` is of the reason asked for, and
    `meta.partial` names `older-bodies` that are not listed.
    """

    data: list[QuarantineEntry]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


@read("/provider")
def provider(services: Given) -> ProviderInfo:
    """Who sends, from where, over which streams: what a page asks first."""
    paths = {routes.stream: routes.tracking for routes in services.routes}
    streams = services.counting.streams
    return ProviderInfo(
        provider=services.provider,
        region=services.region,
        providers=list(services.providers),
        streams=[
            StreamInfo(
                id=stream.id,
                label=stream.label,
                kind=stream.kind,
                months=stream.months,
                tracked=stream.tracked,
                tracking_path=paths.get(stream.id),
            )
            for stream in streams.values()
        ],
        retention_days=services.retention.days,
        version=services.version,
        meta=meta_of(services, list(streams)),
    )


@get("/health", sync_to_thread=False, guards=[only_known], operation_id="health")
def health() -> Health:
    """Alive. It asks nothing of the store."""
    return Health("ok")


@get("/", sync_to_thread=False, guards=[only_known], operation_id="entrance")
def entrance(services: Given) -> Entrance:
    """What this is, and where to go on from here."""
    base = services.base_path.rstrip("/")
    return Entrance(
        name="Sesight",
        about="Email analytics for Amazon SES that you own.",
        version=services.version,
        api=f"{base}/",
        docs=f"{base}/docs",
        openapi=f"{base}/openapi.json",
        health=f"{base}/health",
        intake=f"{base}/health/intake",
    )


@read("/health/intake")
def intake_health(services: Given) -> IntakeHealth:
    """Whether intake is working, in words and counts."""
    found = services.intake()
    return IntakeHealth(
        state=found.state,
        sentences=found.sentences,
        newest_event_at=iso(services.store.newest_at()),
        dispositions=found.dispositions,
        refusals=found.refusals,
        waiting=found.waiting,
        quarantined=services.store.quarantine_counts(),
        store=services.store_url,
        meta=meta_of(services, list(services.counting.streams)),
    )


@read("/metrics", media_type=METRICS_TYPE)
def metrics(services: Given) -> Response[bytes]:
    """Prometheus metrics, in its text format."""
    return Response(services.metrics(), media_type=METRICS_TYPE)


@read("/quarantine")
def quarantine(
    services: Given,
    reason: Annotated[str | None, QueryParameter(description="Only bodies of this reason.")] = None,
    limit: Limit = None,
) -> QuarantineList:
    """What was trusted but not understood, and why."""
    counts = services.store.quarantine_counts()
    known = sorted({*QUARANTINE_REASONS, *counts})
    if reason is not None and reason not in known:
        raise InvalidParameter("reason", f"reason: there is no {reason!r}.", allowed=known)
    found = services.store.quarantine(limit or DEFAULT_LIMIT, reason)
    total = counts.get(reason, 0) if reason is not None else sum(counts.values())
    older = [
        Missing(
            part="quarantine",
            reason="older-bodies",
            as_of=iso(found[-1].at),
            covered=len(found),
            of=total,
        )
        for _ in found[:1]
        if total > len(found)
    ]
    return QuarantineList(
        data=[
            QuarantineEntry(
                id=held.id,
                reason=held.reason,
                detail=held.detail,
                at=iso(held.at) or "",
                bytes=len(held.body),
                message_id=held.message_id,
                name=held.name,
            )
            for held in found
        ],
        total=Total(total, exact=True),
        next_cursor=None,
        newer_cursor=None,
        searched_to=None,
        meta=meta_of(services, list(services.counting.streams), partial=older),
    )
