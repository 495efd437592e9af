"""The API as an ASGI application: all routes, the exception handler, the access check."""

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
from sesight.api.route import JsonRequest, read, router_of
from sesight.api.sending import sending_routes, statement_routes
from sesight.api.suppressions import HANDLERS as SUPPRESSIONS
from sesight.api.templates import template_preview, templates
from sesight.api.unsubscribe import ROUTES as UNSUBSCRIBE
from sesight.services import Services

BODY_LIMIT = 1_000_000
"""The most bytes of a request body."""


def create_api(services: Services) -> Litestar:
    """Return the API over the services. `POST {base}/ses/events` is not in it: the server answers that route
    itself.
    """
    handlers = routes_of(services)
    served = [*handlers, *_documents(services, handlers)]
    routers = [*router_of("/", [entrance]), *router_of(services.base_path, [*served, entrance])]
    app = _application(services, routers)
    # Litestar's own middleware does not see requests that match no route; the access check must
    app.asgi_handler = AccessCheck(app.asgi_handler, services)
    return app


def create_public(services: Services) -> Litestar:
    """Return the routes that need no access: unsubscribe links, with and without the base path."""
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
    stream_routes = [routes for routes in services.routes if routes.stream in streams]
    return [
        overview,
        messages,
        message,
        *[handler for routes in stream_routes for handler in tracking_routes(routes)],
        campaigns,
        campaign_figures,
        *[month_routes(routes) for routes in stream_routes if streams[routes.stream].months],
        *[
            handler
            for routes in stream_routes
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
    """Return the routes of the OpenAPI document, which is generated at the first request."""
    schema = cache(lambda: openapi.document(services, handlers))

    @read("/openapi.json")
    def openapi_json() -> Response[bytes]:
        """The OpenAPI document."""
        text = msgspec.json.format(msgspec.json.encode(schema()), indent=1)
        return Response(text, media_type="application/json")

    @read("/docs")
    def docs() -> Response[str]:
        """The OpenAPI document as a page."""
        return Response(openapi.page(schema()), media_type="text/html")

    return [openapi_json, docs]
