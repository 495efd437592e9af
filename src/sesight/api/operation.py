"""How a route is declared: it runs in a thread and takes only the parameters it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from sesight.api.parameters import only_known

Handler = Callable[..., Any]


def read(path: str, **options: Any) -> Callable[[Handler], HTTPRouteHandler]:
    """Declare a GET, known in OpenAPI by its function's name; store reads never block the loop."""

    def declare(handler: Handler) -> HTTPRouteHandler:
        about = {"operation_id": handler.__name__, **options}
        return get(path, sync_to_thread=True, guards=[only_known], **about)(handler)

    return declare


def ask(path: str, **options: Any) -> Callable[[Handler], HTTPRouteHandler]:
    """Declare a POST that only asks, with what belongs in no address in its body."""

    def declare(handler: Handler) -> HTTPRouteHandler:
        about = {"operation_id": handler.__name__, "status_code": 200, **options}
        return post(path, sync_to_thread=True, guards=[only_known], **about)(handler)

    return declare
