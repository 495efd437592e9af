"""Which requests are answered at all, and what every answer carries."""

import asyncio
from dataclasses import replace

import pytest

from sesight.api.application import create_api, create_public
from sesight.api.middleware import Authority, is_loopback, parse_authority


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8025",
        "127.0.0.1:80",
        "[::1]:8025",
        "127.0.0.2:8025",
        "LOCALHOST",
        "sesight.example.com",
    ],
)
def test_hosts_that_are_ours(api, host) -> None:
    """Loopback names and the hosts of the settings are answered, whatever the port."""
    assert api.get("/api/health", headers={"host": host}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]", "0.0.0.0"),
        *("localhost@evil.example", "localhost:80@evil.example", "[::1]evil.example", "[::1"),
        *("localhost:", "localhost:8025:80", "localhost/", "localhost,evil.example", "127.1"),
        *("2130706433", "::1", "localhost\x00", "localhost evil.example", "[localhost]"),
    ],
)
@pytest.mark.parametrize("path", ["/api/health", "/api/nothing", "/"])
def test_hosts_that_are_not(api, host, path) -> None:
    """Any other host is refused on every path, so that no page can rebind its name to us."""
    answer = api.get(path, headers={"host": host})
    assert (answer.status_code, answer.json()["type"]) == (421, "misdirected")


def test_two_hosts(api) -> None:
    """A request that names two hosts is for none of them."""
    answer = api.get("/api/health", headers=[("host", "localhost"), ("host", "evil.example")])
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "header",
    [
        *("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
        *("X-Forwarded-Server", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"),
        *("X-Original-URL", "X-Envoy-External-Address", "X-Amzn-Trace-Id", "CDN-Loop"),
        *("Tailscale-User-Login", "Fastly-Client-IP", "X-Cluster-Client-IP", "X-Varnish"),
    ],
)
def test_proxies(api, services, serve, header) -> None:
    """What a proxy passed on is refused until there are access keys, and the reason says so."""
    refused = api.get("/api/health", headers={header: "1.2.3.4"})
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    assert header.lower() in refused.json()["detail"]
    with_keys = serve(replace(services, api_keys_exist=lambda: True))
    assert with_keys.get("/api/health", headers={header: "1.2.3.4"}).status_code == 200


def asked(app, **changes) -> tuple[int, bytes]:
    """Ask an application for its health as a server hands a request over; return status and body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/health",
        "raw_path": b"/api/health",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8025),
        "state": {},
    }
    said = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        said.append(message)

    asyncio.run(app({**scope, **changes}, receive, send))
    return said[0]["status"], b"".join(each.get("body", b"") for each in said)


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (("127.0.0.1", 1), 200),
        (("127.8.0.1", 1), 200),
        (("::1", 1), 200),
        (("192.0.2.7", 1), 403),
        (("2001:db8::7", 1), 403),
        (("0.0.0.0", 1), 403),
        (("", 0), 403),
        (None, 403),
    ],
)
def test_peers(services, client, status) -> None:
    """Until there are access keys, nobody of another machine is answered, whatever host is named."""
    assert asked(create_api(services), client=client)[0] == status
    with_keys = replace(services, api_keys_exist=lambda: True)
    assert asked(create_api(with_keys), client=client)[0] == 200


@pytest.mark.parametrize("version", ["1.0", "0.9", "2.0"])
def test_the_old_protocol(services, version) -> None:
    """HTTP/1.0 is what nginx passes requests on in, and shows by nothing else: it is a proxy's."""
    assert asked(create_api(services), http_version=version)[0] == 403
    with_keys = replace(services, api_keys_exist=lambda: True)
    assert asked(create_api(with_keys), http_version=version)[0] == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8025", "http://localhost:8025", 422),
        ("localhost", "http://localhost", 422),
        ("localhost", "http://localhost:80", 422),
        ("sesight.example.com", "https://sesight.example.com", 422),
        ("sesight.example.com:443", "https://sesight.example.com", 422),
        ("[::1]:8025", "http://[::1]:8025", 422),
        ("localhost:8025", "http://localhost:3000", 403),
        ("localhost:8025", "http://localhost", 403),
        ("localhost:8025", "http://127.0.0.1:8025", 403),
        ("localhost:8025", "https://sesight.example.com", 403),
        ("sesight.example.com", "http://sesight.example.com:8080", 403),
        ("localhost", "ftp://localhost", 403),
        ("localhost", "null", 403),
        ("localhost", "", 403),
    ],
)
def test_origins(api, host, origin, status) -> None:
    """Only a page of the host and port that is asked may ask: another port is another server's."""
    answer = api.post(
        "/api/recipients/lookup", json={"address": "x"}, headers={"host": host, "origin": origin}
    )
    assert answer.status_code == status


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://localhost:3000"])
def test_origins_of_links(api, origin) -> None:
    """An unsubscribe link proves itself: its own page, which sends no referrer, posts from `null`. The
    same way leads to nothing else.
    """
    headers = {"origin": origin}
    for path, status in {
        "/api/unsubscribe/k1.x": 404,
        "/api/unsubscribe/%2e%2e/suppressions": 404,
        "/unsubscribe/k1.x": 404,
        "/api/suppressions/unsubscribe/": 403,
        "/api/unsubscribe": 403,
    }.items():
        answer = api.post(path, json={}, headers=headers)
        assert (path, answer.status_code) == (path, status)


@pytest.mark.parametrize("path", ["/", "/api"])
def test_the_entrance(api, path) -> None:
    """Who opens the address itself is told what this is and where to go on, and each way works."""
    answer = api.get(path)
    assert answer.json() == {
        "name": "Sesight",
        "about": "Email analytics for Amazon SES that you own.",
        "version": "0.1.0",
        "api": "/api/",
        "docs": "/api/docs",
        "openapi": "/api/openapi.json",
        "health": "/api/health",
        "intake": "/api/health/intake",
    }
    ways = [way for way in answer.json().values() if way.startswith("/")]
    assert [api.get(way).status_code for way in ways] == [200] * 5


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/api/health", 200),
        ("/api/docs", 200),
        ("/api/metrics", 200),
        ("/api/messages", 200),
        ("/api/messages?format=csv", 200),
        ("/api/overview", 200),
        ("/api/messages?x=1", 422),
        ("/api/nothing", 404),
        ("/api/recipients/lookup", 405),
    ],
)
def test_head(api, path, status) -> None:
    """HEAD answers wherever GET does, with the same headers and no body."""
    given, head = api.get(path), api.head(path)
    assert (given.status_code, head.status_code, head.content) == (status, status, b"")
    varying = {"x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in varying} == {
        name: value for name, value in given.headers.items() if name not in varying
    }


def test_head_has_no_body(services) -> None:
    """Nor is one given to a server that would pass it on, as behind API Gateway."""
    api, public = create_api(services), create_public(services)
    foreign = [(b"host", b"evil.example")]
    assert [
        asked(api, method="HEAD"),
        asked(api, method="HEAD", headers=foreign),
        asked(public, method="HEAD"),
    ] == [(200, b""), (421, b""), (404, b"")]


@pytest.mark.parametrize("path", ["/api/health", "/api/docs", "/api/nothing", "/api/messages?x=1"])
def test_security_headers(api, path) -> None:
    """Every answer forbids foreign scripts, sniffing, framing, referrers and keeping a copy."""
    headers = api.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_authorities() -> None:
    """A name is compared without case, and its port is kept; nonsense names nobody."""
    said = ("A.b:1", "[::1]:80", " x ", "", "x:y", "x:1:2", "u@x", "[::1]x")
    assert [parse_authority(each) for each in said] == [
        Authority("a.b", 1),
        Authority("[::1]", 80),
        Authority("x", None),
        *[None] * 5,
    ]


def test_loopback() -> None:
    """Only addresses by which a machine reaches itself alone are its own."""
    assert [is_loopback(each) for each in ("127.0.0.1", "127.255.0.9", "::1")] == [True] * 3
    others = ("0.0.0.0", "::", "192.168.0.1", "10.0.0.1", "169.254.1.1", "localhost", "")
    assert [is_loopback(each) for each in others] == [False] * 7
