"""The API as an ASGI application: every route, one error shape, one gate before it all."""

from __future__ import annotations

from functools import cache

import msgspec
from litestar import Litestar, Response, Router
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler

from sesight.api import openapi
from sesight.api.campaigns import campaign_figures, campaigns
from sesight.api.exception_handler import handle_exception
from sesight.api.messages import message, messages, tracking_routes
from sesight.api.middleware import AccessCheck, ResponseHeaders
from sesight.api.months import month_routes
from sesight.api.operations import entrance, health, intake_health, metrics, provider, quarantine
from sesight.api.overview import overview
from sesight.api.recipients import lookup, recipient
from sesight.api.route import JsonRequest, read, together
from sesight.api.sending import sending_routes, statement_routes
from sesight.api.suppressions import HANDLERS as SUPPRESSIONS
from sesight.api.templates import template_preview, templates
from sesight.api.unsubscribe import ROUTES as UNSUBSCRIBE
from sesight.services import Services

BODY_LIMIT = 1_000_000
"""Bytes of a request body that are read."""


def create_api(services: Services) -> Litestar:
    """Return the API over the services. `POST {base}/ses/events` is not in it: a server puts its raw
    route in front.
    """
    handlers = routes_of(services)
    served = [*handlers, *_documents(services, handlers)]
    routers = [*together("/", [entrance]), *together(services.base_path, [*served, entrance])]
    app = _application(services, routers)
    # Litestar's own middleware does not see requests that match no route; the gate must.
    app.asgi_handler = AccessCheck(app.asgi_handler, services)
    return app


def create_public(services: Services) -> Litestar:
    """Return what of the API everybody reaches: unsubscribe links, under the base path or not."""
    bases = {services.base_path, "/"}
    served = [Router(base, route_handlers=UNSUBSCRIBE) for base in sorted(bases)]
    app = _application(services, served)
    app.asgi_handler = ResponseHeaders(app.asgi_handler, services)
    return app


def _application(services: Services, routers: list[Router]) -> Litestar:
    return Litestar(
        routers,
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        exception_handlers={Exception: handle_exception},
        request_class=JsonRequest,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_LIMIT,
    )


def routes_of(services: Services) -> list[HTTPRouteHandler]:
    """Return the handlers of every documented route."""
    streams = services.counting.streams
    own = [routes for routes in services.routes if routes.stream in streams]
    return [
        overview,
        messages,
        message,
        *[handler for routes in own for handler in tracking_routes(routes)],
        campaigns,
        campaign_figures,
        *[month_routes(routes) for routes in own if streams[routes.stream].months],
        *[
            handler
            for routes in own
            for handler in (
                statement_routes(routes)
                if streams[routes.stream].months
                else sending_routes(routes)
            )
        ],
        lookup,
        recipient,
        *SUPPRESSIONS,
        templates,
        template_preview,
        provider,
        health,
        intake_health,
        metrics,
        quarantine,
        *UNSUBSCRIBE,
    ]


def _documents(services: Services, handlers: list[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return the routes of the API's own description, written when first asked for."""
    schema = cache(lambda: openapi.document(services, handlers))

    @read("/openapi.json")
    def openapi_json() -> Response[bytes]:
        """The OpenAPI document."""
        text = msgspec.json.format(msgspec.json.encode(schema()), indent=1)
        return Response(text, media_type="application/json")

    @read("/docs")
    def docs() -> Response[str]:
        """The OpenAPI document to read."""
        return Response(openapi.page(schema()), media_type="text/html")

    return [openapi_json, docs]
