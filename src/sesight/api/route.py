"""How a route is declared: it runs in a thread and takes only the parameters it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Request, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, SerializationException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from sesight.api.parameters import only_known

Handler = Callable[..., Any]
AnyRequest = Request[Any, Any, Any]


def read(path: str, **options: Any) -> Callable[[Handler], HTTPRouteHandler]:
    """Declare a GET, known in OpenAPI by its function's name; store reads never block the loop."""

    def declare(handler: Handler) -> HTTPRouteHandler:
        about = {"operation_id": handler.__name__, **options}
        return get(path, sync_to_thread=True, guards=[only_known], **about)(handler)

    return declare


def ask(
    path: str, body: str = "application/json", **options: Any
) -> Callable[[Handler], HTTPRouteHandler]:
    """Declare a POST, told in a body of the media type: what changes something, or what belongs in no
    address.

    A page of somebody else's can make a browser post to a server on this machine, but not with such a
    media type, unless that server agrees (CORS), which this one does not.
    """

    def declare(handler: Handler) -> HTTPRouteHandler:
        about = {"operation_id": handler.__name__, "status_code": 200, **options}
        guards = [only_known, _is_of_media_type]
        return post(path, sync_to_thread=True, guards=guards, opt={"body": body}, **about)(handler)

    return declare


def together(base: str, handlers: Sequence[HTTPRouteHandler]) -> list[Router]:
    """Return handlers as one router beneath a base path, which registers those of one path at once.

    Registered one after the other, the first of them is made to run in a thread twice (Litestar 2.25).
    """
    return [Router(base, route_handlers=handlers)]


class JsonRequest(Request[Any, Any, Any]):
    """A request whose body is refused if it is JSON that cannot be read, for whatever cause: Litestar
    itself takes two of them for faults of ours.
    """

    async def json(self) -> Any:
        """Return the body. Raises SerializationException."""
        try:
            return await super().json()
        except RecursionError:
            raise SerializationException("JSON is nested too deeply") from None
        except UnicodeDecodeError:
            raise SerializationException("JSON is not UTF-8") from None


class UnsupportedMediaType(ClientException):
    """The body is not of the media type that the route reads."""

    status_code = 415


def _is_of_media_type(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Refuse a body of another media type than the handler's (a guard)."""
    wanted = handler.opt["body"]
    given = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise UnsupportedMediaType(f"Send a body with Content-Type: {wanted}")
