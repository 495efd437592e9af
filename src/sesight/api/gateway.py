"""The API behind API Gateway: who is let in, and under which paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from sesight.api.middleware import Authority, header_values, is_proxy_header, is_same_origin
from sesight.api.problem import MEDIA_TYPE, problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
"""ASGI, in the words that Mangum has for it."""

BASE = "/api"
"""What the application's paths begin with; API Gateway's need not."""

OPEN = ("/api/health", "/api/unsubscribe/")
"""Paths that are answered to anybody; one that ends in `/` with all beneath it."""


class Gateway:
    """ASGI middleware in front of the API, for requests that Mangum made of API Gateway's events.

    API Gateway answers to its own host names only and passes on what its authorizer has let in. So the
    application sees a request of this machine; one that no authorizer has seen is refused here. Pages
    that may ask are those of API Gateway's host name and of our own `hosts`, over https.
    """

    def __init__(self, inner: Any, hosts: Collection[str] = ()) -> None:
        """Stand before `inner`."""
        self._inner = inner
        self._hosts = hosts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or refuse with a problem."""
        event: dict[str, Any] = scope["aws.event"]
        about = event["requestContext"]
        path = path_of(decoded_path(event), about.get("stage"))
        if not is_open(path) and not is_authorized(about):
            await _refuse(str(about.get("requestId", "")), send)
            return
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if not is_proxy_header(name) and name not in {b"host", b"origin"}
        ]
        ours = [Authority(host, None) for host in (str(about.get("domainName")), *self._hosts)]
        origins = header_values(b"origin", scope["headers"])
        if not all(_is_page_of(origin, ours) for origin in origins):
            headers.append((b"origin", b"null"))
        asked = {
            **scope,
            "path": path,
            "raw_path": path.encode(),
            "headers": [*headers, (b"host", b"localhost")],
            "client": ("127.0.0.1", 0),
        }
        await self._inner(asked, receive, send)


def decoded_path(event: Mapping[str, Any]) -> str:
    """Return the path of an event, decoded once: an HTTP API has decoded it already (in payloads of
    both versions), a REST API and a function's URL hand it over as it was asked for. Mangum decodes
    all alike.
    """
    about = event["requestContext"]
    path = str(about["http"]["path"] if "http" in about else event["path"])
    from_rest_api = "version" not in event
    from_function_url = ".lambda-url." in str(about.get("domainName"))
    return unquote(path) if from_rest_api or from_function_url else path


def path_of(path: str, stage: str | None) -> str:
    """Return the application's path of a request's: without its stage, beneath the base."""
    if stage and stage != "$default" and f"{path}/".startswith(f"/{stage}/"):
        path = path[len(stage) + 1 :]
    return path if f"{path}/".startswith(f"{BASE}/") else f"{BASE}{path}"


def is_open(path: str) -> bool:
    """Return whether a path is answered to anybody."""
    return any(path == each or (each[-1] == "/" and path.startswith(each)) for each in OPEN)


def is_authorized(about: dict[str, Any]) -> bool:
    """Return whether an authorizer (JWT, Lambda or IAM) has let a request in."""
    return bool(about.get("authorizer")) or bool((about.get("identity") or {}).get("userArn"))


def _is_page_of(origin: str, hosts: Sequence[Authority]) -> bool:
    return origin.startswith("https://") and any(is_same_origin(origin, host) for host in hosts)


async def _refuse(request_id: str, send: Send) -> None:
    sentence = "No authorizer has seen this request: give the route one in API Gateway."
    body = msgspec.json.encode(problem("unauthenticated", sentence, request_id))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
