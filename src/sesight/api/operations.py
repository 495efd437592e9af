"""The routes of operation: the root, provider, health, metrics, quarantine."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from sesight.api.parameters import InjectedServices, LimitParameter, only_known
from sesight.api.route import read
from sesight.services import intake_health as intake_service
from sesight.services import provider as provider_service
from sesight.services.intake_health import IntakeHealth
from sesight.services.provider import ProviderInfo
from sesight.services.quarantine_list import QuarantineList, list_quarantine

METRICS_TYPE = "text/plain; version=0.0.4"


class Entrance(Struct, frozen=True, kw_only=True):
    """The name and version of the server, and the paths to begin with."""

    name: str
    about: str
    version: str
    api: str
    docs: str
    openapi: str
    health: str
    intake: str


class Health(Struct, frozen=True):
    """The process is alive."""

    status: Literal["ok"]


@read("/provider")
def provider(services: InjectedServices) -> ProviderInfo:
    """Who sends, from which region, over which streams: the first question of a dashboard."""
    return provider_service.provider(services)


@get("/health", sync_to_thread=False, guards=[only_known], operation_id="health")
def health() -> Health:
    """Alive. It does not read the store."""
    return Health("ok")


@get("/", sync_to_thread=False, guards=[only_known], operation_id="entrance")
def entrance(services: InjectedServices) -> Entrance:
    """The name and version of the server, and the paths to begin with."""
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
def intake_health(services: InjectedServices) -> IntakeHealth:
    """Whether intake works, in sentences and counts."""
    return intake_service.intake_health(services)


@read("/metrics", media_type=METRICS_TYPE)
def metrics(services: InjectedServices) -> Response[bytes]:
    """Prometheus metrics, in its text format."""
    return Response(services.metrics(), media_type=METRICS_TYPE)


@read("/quarantine")
def quarantine(
    services: InjectedServices,
    reason: Annotated[str | None, QueryParameter(description="Only bodies of this reason.")] = None,
    limit: LimitParameter = None,
) -> QuarantineList:
    """Trusted bodies that could not be understood or routed, and the reason of each."""
    return list_quarantine(services, reason, limit)
