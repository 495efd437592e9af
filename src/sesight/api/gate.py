"""The outermost layer: which hosts and proxies are answered, and headers every answer has."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from sesight.api.problem import MEDIA_TYPE, problem
from sesight.api.services import Services

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Hosts that are this machine; a page elsewhere cannot get a browser to say one of these
for its own name, which is what DNS rebinding would need."""

PROXY_HEADERS = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"via")
"""Headers by which a request shows that somebody else passed it on."""

_PROXIED = (
    "The request came through a proxy (it has a {} header), and this API has no access keys yet: "
    "ask it from this machine. For SNS, open the public listener: `sesight serve --intake`."
)

SECURITY = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # answers hold personal data, and a browser keeps a 410 for ever unless told
    (b"cache-control", b"no-store"),
)


class Dressing:
    """ASGI middleware before routing, so that paths nobody knows are dressed too: it gives requests
    their id, and every answer the headers that it has not given itself.
    """

    def __init__(self, inner: ASGIApp, services: Services) -> None:
        """Stand before `inner`."""
        self._inner = inner
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with a problem."""
        if scope["type"] != ScopeType.HTTP:
            await self._inner(scope, receive, send)
            return
        request_id = self._services.new_request_id()
        _writable(scope)["sesight_request_id"] = request_id
        extra = [*SECURITY, (b"x-request-id", request_id.encode())]

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                names = {name.lower() for name, _ in given}
                message["headers"] = [*given, *[each for each in extra if each[0] not in names]]
            await send(message)

        refusal = self._refusal(scope["headers"])
        if refusal is None:
            await self._inner(scope, receive, dressed)
            return
        found = problem(*refusal, request_id)
        body = msgspec.json.encode(found)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await dressed({"type": "http.response.start", "status": found.status, "headers": headers})
        await dressed({"type": "http.response.body", "body": body, "more_body": False})

    def _refusal(self, _: Iterable[tuple[bytes, bytes]]) -> tuple[str, str] | None:
        return None


class Gate(Dressing):
    """The same, and it answers only what is asked from this machine or by a name of ours."""

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str] | None:
        """Return the problem type and sentence of a request that is not for us, else None."""
        names = {name for name, _ in headers}
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        host = host_name(hosts[0]) if len(hosts) == 1 else ""
        if host not in LOOPBACK and host not in self._services.hosts:
            return (
                "misdirected",
                f"This API answers to localhost and to the hosts in its settings, not to {host!r}.",
            )
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if any(not self._is_ours(origin) for origin in origins):
            return (
                "forbidden",
                "A page of another site asks this: open the API's own address and ask from there.",
            )
        passed_on = next((name for name in PROXY_HEADERS if name in names), None)
        if passed_on is not None and not self._services.api_keys_exist():
            return (
                "forbidden",
                _PROXIED.format(passed_on.decode()),
            )
        return None

    def _is_ours(self, origin: str) -> bool:
        """Return whether a page is served by us: another's could have a browser send mail."""
        host = host_name(origin.partition("://")[2])
        return host in LOOPBACK or host in self._services.hosts


def _writable(scope: Scope) -> MutableMapping[str, Any]:
    return scope  # type: ignore[return-value]  # ASGI lets a server's scope carry more


def host_name(host: str) -> str:
    """Return the name in a Host header, in lower case and without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
