"""The outermost layer: who is answered, for which host and page, and headers every answer has."""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from sesight.api.problem import MEDIA_TYPE, problem
from sesight.services import Services

LINKS = "/unsubscribe/"
"""What the paths of unsubscribe links begin with: each link is a proof of its own."""

PROXY_HEADERS = frozenset(
    {
        b"cdn-loop",
        b"client-ip",
        b"fastly-client-ip",
        b"fastly-ff",
        b"fly-client-ip",
        b"forwarded",
        b"forwarded-for",
        b"proxy-client-ip",
        b"proxy-connection",
        b"true-client-ip",
        b"via",
        b"wl-proxy-client-ip",
        b"x-amz-cf-id",
        b"x-amzn-trace-id",
        b"x-appengine-user-ip",
        b"x-arr-log-id",
        b"x-azure-clientip",
        b"x-bluecoat-via",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-host",
        b"x-nf-client-connection-ip",
        b"x-originating-ip",
        b"x-proxyuser-ip",
        b"x-remote-addr",
        b"x-remote-ip",
        b"x-request-start",
        b"x-rewrite-url",
        b"x-varnish",
    }
)
"""Headers by which a request shows that somebody else passed it on."""

_PROXY_PREFIXES = (
    *(b"x-forwarded", b"x-original-", b"x-real-", b"x-envoy-", b"x-proxy-", b"x-vercel-"),
    *(b"cf-", b"tailscale-"),
)
"""What others of them begin with."""

_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?")

_MISDIRECTED = "This API answers to localhost and to the hosts in its settings, not to {}."
_REMOTE = (
    "The request comes from another machine, and this API has no access keys yet: ask it from its own "
    "machine, or through a tunnel to it (ssh -L 8025:127.0.0.1:8025 HOST)."
)
_PROXIED = (
    "The request came through a proxy ({}), and this API has no access keys yet: ask it from its own "
    "machine. For SNS, open the public listener: `sesight serve --intake`."
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

        head = scope["method"] == "HEAD"
        asked: Any = {**scope, "method": "GET", "sesight_head": True} if head else scope

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                names = {name.lower() for name, _ in given}
                message["headers"] = [*given, *[each for each in extra if each[0] not in names]]
            elif head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        async def heard() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                asked["sesight_disconnected"] = True
            return message

        refusal = self._refusal(scope)
        if refusal is None:
            await self._inner(asked, heard, dressed)
            return
        found = problem(*refusal, request_id)
        body = msgspec.json.encode(found)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await dressed({"type": "http.response.start", "status": found.status, "headers": headers})
        await dressed({"type": "http.response.body", "body": body, "more_body": False})

    def _refusal(self, _: Scope) -> tuple[str, str] | None:
        return None


class Gate(Dressing):
    """The same, and it answers only what is asked from this machine, by a name of ours, and by no page
    but our own.
    """

    def _refusal(self, scope: Scope) -> tuple[str, str] | None:
        """Return the problem type and sentence of a request that is not for us, else None."""
        headers = scope["headers"]
        services = self._services
        hosts = values_of(b"host", headers)
        host = authority(hosts[0]) if len(hosts) == 1 else None
        if host is None or not (host.is_loopback or host.name in services.hosts):
            named = repr(hosts[0][:80]) if len(hosts) == 1 else f"{len(hosts)} hosts"
            return "misdirected", _MISDIRECTED.format(named)
        origins = values_of(b"origin", headers)
        link = scope["path"].removeprefix(services.base_path.rstrip("/")).startswith(LINKS)
        # a page that sends no referrer, as that of a link, posts its own form with Origin: null
        if not link and not all(is_of(origin, host) for origin in origins):
            return (
                "forbidden",
                "A page of another site asks this: open the API's own address and ask from there.",
            )
        if services.api_keys_exist():
            return None
        client = scope["client"]
        if client is None or not is_loopback(client[0]):
            return "forbidden", _REMOTE
        passed_on = next((name for name, _ in headers if is_of_proxy(name)), None)
        if passed_on is not None:
            return "forbidden", _PROXIED.format(f"it has a {passed_on.decode('latin-1')} header")
        if scope["http_version"] != "1.1":
            # nginx passes requests on so, with no header that shows it, unless it is told otherwise
            return "forbidden", _PROXIED.format(f"it is HTTP/{scope['http_version']}")
        return None


def _writable(scope: Scope) -> MutableMapping[str, Any]:
    return scope  # type: ignore[return-value]  # ASGI lets a server's scope carry more


class Authority(NamedTuple):
    """A host and a port, as a Host header and an origin name them; names in lower case."""

    name: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        """Return whether the name stands for this machine: a page elsewhere cannot get a browser to
        say so of its own name, which is what DNS rebinding would need.
        """
        return self.name == "localhost" or is_loopback(self.name.strip("[]"))


def authority(text: str) -> Authority | None:
    """Return what a Host header says, None if it is nothing that a browser would send."""
    found = _AUTHORITY.fullmatch(text.strip().lower())
    return found and Authority(found[1], int(found[2]) if found[2] else None)


def is_of(origin: str, host: Authority) -> bool:
    """Return whether a page comes from a host, by the same port: one of another could have a browser
    send mail.
    """
    scheme, _, rest = origin.partition("://")
    found = authority(rest)
    default = _PORTS.get(scheme.lower())
    if found is None or default is None:
        return False
    return (found.name, found.port or default) == (host.name, host.port or default)


def is_loopback(address: str) -> bool:
    """Return whether an IP address is one by which a machine reaches itself alone."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def is_of_proxy(header: bytes) -> bool:
    """Return whether a header (in lower case) shows that somebody else passed the request on."""
    return header in PROXY_HEADERS or header.startswith(_PROXY_PREFIXES)


def values_of(header: bytes, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return the values of a header."""
    return [value.decode("latin-1") for name, value in headers if name == header]
