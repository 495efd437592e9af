"""ASGI middleware before routing: which requests are answered, and the headers of every response."""

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

UNSUBSCRIBE_PREFIX = "/unsubscribe/"
"""The beginning of the paths of unsubscribe links, which need no other credential than their token."""

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
"""Headers that show that a proxy forwarded the request."""

_PROXY_PREFIXES = (
    *(b"x-forwarded", b"x-original-", b"x-real-", b"x-envoy-", b"x-proxy-", b"x-vercel-"),
    *(b"cf-", b"tailscale-"),
)
"""The beginnings of further such headers."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?")

_MISDIRECTED = "This API serves localhost and the hosts in its settings, not {}."
_REMOTE = (
    "The request comes from another machine, and this API has no access keys yet: send it from the API's own "
    "machine, or through a tunnel (ssh -L 8025:127.0.0.1:8025 HOST)."
)
_PROXIED = (
    "The request came through a proxy ({}), and this API has no access keys yet: send it from the API's own "
    "machine. For SNS, open the public listener: `sesight serve --intake`."
)

SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # answers hold personal data; and without it a browser may cache a 410 for ever
    (b"cache-control", b"no-store"),
)


class ResponseHeaders:
    """Gives each request its id, and each response the security headers that it does not set itself.

    It answers HEAD as GET without the body. It is not Litestar's own kind of middleware, because that does
    not see requests that match no route.
    """

    def __init__(self, inner: ASGIApp, services: Services) -> None:
        self._inner = inner
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it with a problem."""
        if scope["type"] != ScopeType.HTTP:
            await self._inner(scope, receive, send)
            return
        request_id = self._services.new_request_id()
        _writable(scope)["sesight_request_id"] = request_id
        headers_by_default = [*SECURITY_HEADERS, (b"x-request-id", request_id.encode())]

        is_head = scope["method"] == "HEAD"
        inner_scope: Any = {**scope, "method": "GET", "sesight_head": True} if is_head else scope

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}
                missing = [header for header in headers_by_default if header[0] not in names]
                message["headers"] = [*headers, *missing]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        async def receive_noting_disconnect() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                inner_scope["sesight_disconnected"] = True
            return message

        refusal = self._refusal(scope)
        if refusal is None:
            await self._inner(inner_scope, receive_noting_disconnect, send_with_headers)
            return
        answer = problem(*refusal, request_id)
        body = msgspec.json.encode(answer)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send_with_headers(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )
        await send_with_headers({"type": "http.response.body", "body": body, "more_body": False})

    def _refusal(self, _: Scope) -> tuple[str, str] | None:
        return None


class AccessCheck(ResponseHeaders):
    """Refuses requests for other hosts, from pages of other sites, and, while there are no access keys,
    from other machines.
    """

    def _refusal(self, scope: Scope) -> tuple[str, str] | None:
        """Return the problem type and the sentence of a refused request, else None."""
        headers = scope["headers"]
        services = self._services
        hosts = header_values(b"host", headers)
        host = parse_authority(hosts[0]) if len(hosts) == 1 else None
        if host is None or not (host.is_loopback or host.name in services.hosts):
            shown = repr(hosts[0][:80]) if len(hosts) == 1 else f"{len(hosts)} hosts"
            return "misdirected", _MISDIRECTED.format(shown)
        origins = header_values(b"origin", headers)
        path = scope["path"].removeprefix(services.base_path.rstrip("/"))
        # a page without a referrer, as that of a link is, posts its own form with Origin: null
        if not path.startswith(UNSUBSCRIBE_PREFIX) and not all(
            is_same_origin(origin, host) for origin in origins
        ):
            return (
                "forbidden",
                "The request comes from a page of another site: open the API's own address instead.",
            )
        if services.api_keys_exist():
            return None
        client = scope["client"]
        if client is None or not is_loopback(client[0]):
            return "forbidden", _REMOTE
        proxy_header = next((name for name, _ in headers if is_proxy_header(name)), None)
        if proxy_header is not None:
            return "forbidden", _PROXIED.format(f"it has a {proxy_header.decode('latin-1')} header")
        if scope["http_version"] != "1.1":
            # nginx forwards requests as HTTP/1.0, with no header that shows it, unless configured otherwise
            return "forbidden", _PROXIED.format(f"it is HTTP/{scope['http_version']}")
        return None


def _writable(scope: Scope) -> MutableMapping[str, Any]:
    return scope  # type: ignore[return-value]  # ASGI lets a server's scope carry more


class Authority(NamedTuple):
    """A host name in lower case and a port, as in a Host header or an origin."""

    name: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        """Return whether the name means this machine. DNS rebinding does not help an attacker: the browser
        sends the attacker's own name as Host, never one of these.
        """
        return self.name == "localhost" or is_loopback(self.name.strip("[]"))


def parse_authority(text: str) -> Authority | None:
    """Return the host and port of a Host header, None if it is malformed."""
    match = _AUTHORITY.fullmatch(text.strip().lower())
    return match and Authority(match[1], int(match[2]) if match[2] else None)


def is_same_origin(origin: str, host: Authority) -> bool:
    """Return whether an origin is of a host and its port: a page of another port is another program's, and
    could have the browser send mail.
    """
    scheme, _, rest = origin.partition("://")
    authority = parse_authority(rest)
    default_port = _DEFAULT_PORTS.get(scheme.lower())
    if authority is None or default_port is None:
        return False
    return (authority.name, authority.port or default_port) == (
        host.name,
        host.port or default_port,
    )


def is_loopback(address: str) -> bool:
    """Return whether an IP address is a loopback address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def is_proxy_header(name: bytes) -> bool:
    """Return whether a header, its name in lower case, shows that a proxy forwarded the request."""
    return name in PROXY_HEADERS or name.startswith(_PROXY_PREFIXES)


def header_values(name: bytes, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return the values of a header, its name in lower case."""
    return [value.decode("latin-1") for header, value in headers if header == name]
