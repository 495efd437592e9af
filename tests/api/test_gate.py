"""Which requests are answered at all, and what every answer carries."""

from dataclasses import replace

import pytest

from sesight.api.gate import host_name


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8025",
        "127.0.0.1:80",
        "[::1]:8025",
        "LOCALHOST",
        "sesight.example.com",
    ],
)
def test_hosts_that_are_ours(api, host) -> None:
    """Loopback names and the hosts of the settings are answered, whatever the port."""
    assert api.get("/api/health", headers={"host": host}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]", "0.0.0.0"]
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


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via"])
def test_proxies(api, services, serve, header) -> None:
    """What a proxy passed on is refused until there are access keys, and the reason says so."""
    refused = api.get("/api/health", headers={header: "1.2.3.4"})
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    assert header.lower() in refused.json()["detail"]
    with_keys = serve(replace(services, api_keys_exist=lambda: True))
    assert with_keys.get("/api/health", headers={header: "1.2.3.4"}).status_code == 200


@pytest.mark.parametrize("path", ["/api/health", "/api/docs", "/api/nothing", "/api/messages?x=1"])
def test_security_headers(api, path) -> None:
    """Every answer forbids foreign scripts, sniffing, framing, referrers and keeping a copy."""
    headers = api.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_host_names() -> None:
    """A name is compared without port and case."""
    assert [host_name(host) for host in ("A.b:1", "[::1]:80", " x ", "")] == [
        "a.b",
        "[::1]",
        "x",
        "",
    ]
