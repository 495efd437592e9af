"""What each listener answers to, and what /api/metrics says after a batch that is known."""

import json
import socket
import sqlite3
import threading

import pytest

from sesight.domain.errors import SettingsError
from sesight.server import listen, resolve
from tests.server.harness import (
    EVENTS,
    PATIENCE,
    Traffic,
    ask,
    post,
    read_all,
    request,
    running,
    until,
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/campaigns"),
        ("GET", "/api/metrics"),
        ("GET", "/api/health/intake"),
        ("GET", "/api/docs"),
        ("GET", "/api/openapi.json"),
        ("GET", EVENTS),
        ("PUT", EVENTS),
        ("DELETE", EVENTS),
        ("POST", EVENTS + "/"),
        ("POST", EVENTS + "/../campaigns"),
        ("POST", "/api/recipients/lookup"),
        ("POST", "/health"),
        ("OPTIONS", "*"),
        ("GET", "/api/unsubscribe"),
        ("PUT", "/api/unsubscribe/k1.x"),
        ("DELETE", "/unsubscribe/k1.x"),
        ("GET", "/api/api/unsubscribe/k1.x"),
        ("GET", "/api/unsubscribe/k1.x/../../campaigns"),
    ],
)
def test_the_public_listener_knows_nothing_but_events_links_and_health(
    listeners, method, path
) -> None:
    """Whatever else is asked of it, it does not say whether there is such a thing elsewhere."""
    answer = ask(listeners.public, request(b"", path, method))
    assert (answer.status, answer.problem["type"]) == (404, "not-found")


@pytest.fixture(scope="module")
def listeners(tmp_path_factory, signer):
    """One server for tests that only ask."""
    with running(tmp_path_factory.mktemp("listeners"), signer) as server:
        yield server


def test_the_public_listener_answers_health(listeners) -> None:
    """For a load balancer: alive, and nothing more."""
    for path in ("/health", "/api/health"):
        for method in ("GET", "HEAD"):
            answer = ask(listeners.public, request(b"", path, method))
            assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/", "/api/health", "/api/campaigns", "/api/nothing", "/api/docs"]
)
def test_head_over_a_socket(listeners, path) -> None:
    """The head of what GET answers, after which the connection is ready for the next request."""
    given = listeners.get(path)
    head = request(b"", path, "HEAD")
    last = request(b"", "/api/health", "GET", connection="close")
    with socket.create_connection(("127.0.0.1", listeners.port), PATIENCE) as connection:
        connection.sendall(head + last)
        said = read_all(connection)
    status, _, rest = said.partition(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 %d " % given.status)
    assert b"content-length: %d\r\n" % len(given.body) in status + b"\r\n"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_entrance_says_where_to_begin(listeners) -> None:
    """On the API's listener only: the public one knows nothing of it."""
    answer = listeners.get("/")
    assert (answer.status, answer.problem["docs"]) == (200, "/api/docs")
    assert ask(listeners.public, request(b"", "/", "GET")).status == 404


@pytest.mark.parametrize("host", ["sesight.example", "127.0.0.1.evil.example", "", "169.254.1.1"])
def test_the_api_answers_421_to_a_foreign_host(listeners, host) -> None:
    """A page elsewhere cannot get a browser to read us under its own name."""
    for path in ("/api/campaigns", "/api/metrics", "/api/health", "/nothing"):
        answer = ask(listeners.port, request(b"", path, "GET", host=host))
        assert (answer.status, answer.problem["type"]) == (421, "misdirected")


def test_the_api_refuses_what_a_proxy_passed_on(listeners) -> None:
    """Until there are access keys, whoever reaches loopback through something is refused."""
    for header in ("x_forwarded_for", "forwarded", "x_forwarded_host", "via"):
        answer = listeners.get("/api/campaigns", **{header: "for=203.0.113.9"})
        assert (answer.status, answer.problem["type"]) == (403, "forbidden")
    assert listeners.get("/api/campaigns").status == 200


def test_a_host_in_the_settings_is_answered(tmp_path, signer) -> None:
    """For a name of one's own in /etc/hosts."""
    with running(tmp_path, signer, settings='allowed_hosts = ["sesight.lan"]') as server:
        assert server.get("/api/health", host="sesight.lan:8025").status == 200
        assert server.get("/api/health", host="sesight.wan").status == 421


def test_a_port_that_is_taken_is_said_in_a_sentence(listeners) -> None:
    """A mistake of settings, not of ours."""
    with pytest.raises(SettingsError, match="Cannot listen on"):
        listen("127.0.0.1", listeners.port)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "0", "::", "192.0.2.7"])
def test_the_api_listens_on_this_machine_alone(host) -> None:
    """An address that others reach is refused before it is bound, however it is spelled."""
    with pytest.raises(SettingsError, match="not listen on"):
        listen(host, 0)


def test_the_public_listener_may_be_anywhere() -> None:
    """Its place is not held to loopback: what it answers to brings its own proof."""
    families = [resolve(host, public=True) for host in ("0.0.0.0", "::", "", "127.0.0.1")]
    assert families == [
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET6, "::"),
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET, "127.0.0.1"),
    ]


def test_metrics_say_what_was_taken_in(tmp_path, signer) -> None:
    """Names and numbers after a batch whose dispositions the journal has one by one."""
    traffic = Traffic.made(signer, seed=17, messages=60, campaigns=2)
    odd = [signer.sign(b'{"eventType":"Odd"}'), signer.confirmation()]
    with running(tmp_path, signer) as server:
        before = server.metrics()
        assert (
            before["sesight_newest_event_age_seconds",]
            != before["sesight_newest_event_age_seconds",]
        )
        count = len(traffic.notifications) + len(odd)
        posted = server.post([*traffic.notifications, *odd])
        assert posted.statuses == {200: count}
        assert server.post([b"{}"]).statuses == {400: 1}
        metrics = server.metrics()
        health = json.loads(server.get("/api/health/intake").body)
    lines = server.journal
    assert len(lines) == count
    said: dict[tuple[str, ...], float] = {}
    for line in lines:
        key = (
            *("sesight_events_total", line["disposition"], line["stream"] or "none"),
            line["eventType"] or "none",
        )
        said[key] = said.get(key, 0) + 1
    assert {key: n for key, n in metrics.items() if key[0] == "sesight_events_total"} == said
    missing = [line["stream"] for line in lines if line["missingCampaignTag"]]
    assert {
        key[1]: n for key, n in metrics.items() if key[0] == "sesight_missing_campaign_tag_total"
    } == {stream: missing.count(stream) for stream in set(missing)}
    assert [n for key, n in metrics.items() if key[0] == "sesight_quarantined_total"] == [1]
    assert metrics["sesight_refusals_total", "malformed", "400"] == 1
    assert metrics["sesight_queue_depth",] == 0
    assert metrics["sesight_batch_events_sum",] == count
    batches = metrics["sesight_batch_events_count",]
    assert metrics["sesight_commit_seconds_count",] == batches
    assert 1 <= batches <= count
    assert 0 < metrics["sesight_commit_seconds_sum",] < 60
    assert 0 <= metrics["sesight_newest_event_age_seconds",] < 60
    dispositions: dict[str, int] = {}
    for line in lines:
        dispositions[line["disposition"]] = dispositions.get(line["disposition"], 0) + 1
    assert health["dispositions"] == dispositions
    assert health["refusals"] == {"malformed": 1}
    assert health["waiting"] == 0


def test_beyond_its_limit_intake_refuses_at_once_and_says_when_to_come_again(
    tmp_path, signer, traffic
) -> None:
    """With room for one and the store locked, the second is told 503 while the first waits."""
    with running(
        tmp_path, signer, settings="[intake]\nlimit = 1", store="busy_timeout_ms = 30000"
    ) as server:
        assert server.post(traffic.notifications[:1]).statuses == {200: 1}
        lock = sqlite3.connect(server.database, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        first = []
        waiting = threading.Thread(
            target=lambda: first.append(post(server.port, traffic.notifications[1:2]))
        )
        waiting.start()
        try:
            until(lambda: server.metrics()["sesight_queue_depth",] == 1, "the first under way")
            answer = ask(server.port, request(traffic.notifications[2]))
            assert (answer.status, answer.reason) == (503, "busy")
            assert int(answer.headers["retry-after"]) > 0
            assert first == []
        finally:
            lock.execute("ROLLBACK")
            lock.close()
            waiting.join()
        assert first[0].statuses == {200: 1}
        assert server.post(traffic.notifications[2:3]).statuses == {200: 1}
        assert server.refusals() == {("busy", 503): 1}
