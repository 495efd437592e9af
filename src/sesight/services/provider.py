"""Who sends, over which streams, and what the store holds: the first question of a dashboard."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from sesight.services import Services
from sesight.services.answers import Meta, meta_of


class StreamInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """A stream: whether it has statement months, whether its opens and clicks are recorded, and the path of its
    tracking data.
    """

    id: str
    label: str
    kind: Literal["marketing", "transactional"]
    months: bool
    tracked: bool
    tracking_path: str | None


class ProviderInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """Who sends, over which streams, and how long records are kept."""

    provider: str
    region: str | None
    providers: list[str]
    streams: list[StreamInfo]
    retention_days: int
    version: str
    meta: Meta


def provider(services: Services) -> ProviderInfo:
    """Return who sends, from which region, over which streams."""
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
        retention_days=services.retention_days(),
        version=services.version,
        meta=meta_of(services, list(streams)),
    )
