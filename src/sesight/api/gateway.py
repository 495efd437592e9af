"""The API behind API Gateway: authorization, and the mapping of paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from sesight.api.middleware import Authority, header_values, is_proxy_header, is_same_origin
from sesight.api.problem import MEDIA_TYPE, problem

if TYPE_CHECKING:
    from mangum.types import Receive, Send

BASE_PATH = "/api"
"""The base path of the application; API Gateway's own paths may lack it."""

PUBLIC_PATHS = ("/api/health", "/api/unsubscribe/")
"""Paths answered without an authorizer. One that ends in `/` includes all paths below it."""


class Gateway:
    """ASGI middleware before the API, for requests that Mangum makes of API Gateway's events.

    API Gateway serves its own host names only, and forwards what its authorizer has let in. A request that
    no authorizer has seen is refused here; any other reaches the application as if it came from this
    machine. Pages may send requests from API Gateway's host name and from `hosts`, over https.
    """

    def __init__(self, inner: Any, hosts: Collection[str] = ()) -> None:
        self._inner = inner
        self._hosts = hosts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it with a problem."""
        event: dict[str, Any] = scope["aws.event"]
        context = event["requestContext"]
        path = path_of(decoded_path(event), context.get("stage"))
        if not is_public(path) and not is_authorized(context):
            await _refuse(str(context.get("requestId", "")), send)
            return
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if not is_proxy_header(name) and name not in {b"host", b"origin"}
        ]
        own_hosts = [
            Authority(host, None) for host in (str(context.get("domainName")), *self._hosts)
        ]
        origins = header_values(b"origin", scope["headers"])
        if not all(_is_page_of(origin, own_hosts) for origin in origins):
            headers.append((b"origin", b"null"))
        inner_scope = {
            **scope,
            "path": path,
            "raw_path": path.encode(),
            "headers": [*headers, (b"host", b"localhost")],
            "client": ("127.0.0.1", 0),
        }
        await self._inner(inner_scope, receive, send)


def decoded_path(event: Mapping[str, Any]) -> str:
    """Return the path of an event, decoded once. An HTTP API decodes it (in both payload versions); a REST
    API and a function URL pass it on as requested. Mangum decodes all of them, so some twice.
    """
    context = event["requestContext"]
    path = str(context["http"]["path"] if "http" in context else event["path"])
    from_rest_api = "version" not in event
    from_function_url = ".lambda-url." in str(context.get("domainName"))
    return unquote(path) if from_rest_api or from_function_url else path


def path_of(path: str, stage: str | None) -> str:
    """Return the application's path for a request's: without the stage, below the base path."""
    if stage and stage != "$default" and f"{path}/".startswith(f"/{stage}/"):
        path = path[len(stage) + 1 :]
    return path if f"{path}/".startswith(f"{BASE_PATH}/") else f"{BASE_PATH}{path}"


def is_public(path: str) -> bool:
    """Return whether a path needs no authorizer."""
    return any(
        path == public or (public[-1] == "/" and path.startswith(public)) for public in PUBLIC_PATHS
    )


def is_authorized(context: dict[str, Any]) -> bool:
    """Return whether an authorizer (JWT, Lambda or IAM) has let the request in."""
    return bool(context.get("authorizer")) or bool((context.get("identity") or {}).get("userArn"))


def _is_page_of(origin: str, hosts: Sequence[Authority]) -> bool:
    return origin.startswith("https://") and any(is_same_origin(origin, host) for host in hosts)


async def _refuse(request_id: str, send: Send) -> None:
    sentence = "No authorizer has checked this request: attach one to the route in API Gateway."
    body = msgspec.json.encode(problem("unauthenticated", sentence, request_id))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
