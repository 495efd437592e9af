"""How routes are declared: they run in a thread, and refuse unknown parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Request, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, SerializationException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from sesight.api.parameters import only_known

RouteFunction = Callable[..., Any]
AnyRequest = Request[Any, Any, Any]


def read(path: str, **options: Any) -> Callable[[RouteFunction], HTTPRouteHandler]:
    """Declare a GET route; its operation id is the function's name. It runs in a thread, because store reads
    would block the event loop.
    """

    def declare(handler: RouteFunction) -> HTTPRouteHandler:
        arguments = {"operation_id": handler.__name__, **options}
        return get(path, sync_to_thread=True, guards=[only_known], **arguments)(handler)

    return declare


def ask(
    path: str, body: str = "application/json", **options: Any
) -> Callable[[RouteFunction], HTTPRouteHandler]:
    """Declare a POST route with a body of the media type: for changes, and for reads with an address, which
    must not be in a URL.

    A page of another site can make a browser post to a server on this machine, but not with such a media
    type, unless the server allows it (CORS). This one does not.
    """

    def declare(handler: RouteFunction) -> HTTPRouteHandler:
        arguments = {"operation_id": handler.__name__, "status_code": 200, **options}
        guards = [only_known, _is_of_media_type]
        return post(path, sync_to_thread=True, guards=guards, opt={"body": body}, **arguments)(
            handler
        )

    return declare


def router_of(base: str, handlers: Sequence[HTTPRouteHandler]) -> list[Router]:
    """Return handlers as one router below a base path.

    Handlers of the same path must be registered together: if they are registered one by one, Litestar
    2.25 wraps the first of them for its thread twice.
    """
    return [Router(base, route_handlers=handlers)]


class JsonRequest(Request[Any, Any, Any]):
    """A request that refuses all unreadable JSON: for two causes, Litestar would answer an internal error."""

    async def json(self) -> Any:
        """Return the body. Raises SerializationException."""
        try:
            return await super().json()
        except RecursionError:
            raise SerializationException("JSON is nested too deeply") from None
        except UnicodeDecodeError:
            raise SerializationException("JSON is not UTF-8") from None


class UnsupportedMediaType(ClientException):
    """The body is not of the route's media type."""

    status_code = 415


def _is_of_media_type(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Refuse a body of another media type than the handler's (a Litestar guard)."""
    expected = handler.opt["body"]
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != expected:
        raise UnsupportedMediaType(f"Send a body with Content-Type: {expected}")
