"""Unsubscribe links over HTTP: both listeners, the process that writes, and what is logged of it."""

import json
import sqlite3
import threading

from sesight.domain.suppression.item import Suppression
from sesight.domain.timestamps import DAY
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.ingest.reader import read
from sesight.send.unsubscribe_link import Tokens
from sesight.store import open_store
from tests.payload import payload
from tests.server.harness import PATIENCE, ask, request, running

KEY = "11" * 32
SENDER = f"""
[[sending.senders]]
stream = "outreach"
from_address = "news@example.org"
from_name = "Example Ltd"
unsubscribe_keys = {{ k1 = "{KEY}" }}
"""
FORM = {"content_type": "application/x-www-form-urlencoded"}
BODY = b"List-Unsubscribe=One-Click"


def path_of(leave: UnsubscribeTarget) -> str:
    return f"/api/unsubscribe/{Tokens({'k1': KEY}).make(leave)}"


def a_leave(address: str = "jo@example.com", send_id: str = "0a" * 10) -> UnsubscribeTarget:
    return UnsubscribeTarget("outreach", address, "spring", 20_000, send_id)


def a_delivery() -> bytes:
    """Return an event of a message that had a link."""
    return json.dumps(payload("delivery", {"mail.tags.send_id": ["s-000001"]})).encode()


def item_of(server, address: str) -> Suppression | None:
    store = open_store(server.url)
    try:
        return store.suppression("outreach", address)
    finally:
        store.close()


def one_click(port: int, path: str, **headers: str):
    return ask(port, request(BODY, path, **FORM, **headers))


def test_one_click_on_both_listeners(tmp_path, signer) -> None:
    """A provider's post is durable when it is answered, on either listener: in the record and the
    campaign of its message, written by the process that writes; and nothing said of it, on any
    output, has the token or the address.
    """
    with running(tmp_path, signer, SENDER, store="retention_days = 0") as server:
        server.post([signer.sign(a_delivery())])
        [reading] = read(a_delivery(), "file")
        day = reading.event.identity.sent_at // DAY
        held = UnsubscribeTarget("outreach", "ana@example.org", "digest-2026-11", day, "s-000001")
        ways = {
            (server.public, path_of(held)): "ana@example.org",
            (server.public, path_of(a_leave()).removeprefix("/api")): "jo@example.com",
            (server.port, path_of(a_leave("bo@example.com"))): "bo@example.com",
        }
        for (port, path), address in ways.items():
            page = ask(port, request(b"", path, "GET", accept="text/html"))
            assert page.status == 200
            assert b"Example Ltd" in page.body
            assert item_of(server, address) is None
            passed_on = {"x_forwarded_for": "203.0.113.9"} if port == server.public else {}
            answer = one_click(port, path, **passed_on)
            assert (answer.status, "location" in answer.headers) == (200, False)
            assert "content-security-policy" in answer.headers
            assert [each.reason for each in item_of(server, address).causes] == ["unsubscribed"]
        counted = {
            name: value
            for name, value in server.metrics().items()
            if name[:1] == ("sesight_events_total",) and "Subscription" in name
        }
    assert sum(counted.values()) == 3
    lines = [line for line in server.journal if line["source"] == "unsubscribe"]
    assert [(line["disposition"], line["stream"], line["eventType"]) for line in lines] == [
        ("updated", "outreach", "Subscription"),
        ("expired", "outreach", "Subscription"),
        ("expired", "outreach", "Subscription"),
    ]
    assert lines[0]["campaign"] == "digest-2026-11"
    assert [line["messageId"] for line in lines[1:]] == [None, None]
    said = server.errors + "".join(output.read_text() for output in server.outputs)
    for (_, path), address in ways.items():
        assert path.rpartition(".")[2][:24] not in said
        assert address not in said


def test_a_flood_of_one_link(tmp_path, signer) -> None:
    """Posted at once by many, one link unsubscribes one address, and each is answered."""
    with running(tmp_path, signer, SENDER) as server:
        path = path_of(a_leave())
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(one_click(server.public, path).status))
            for _ in range(24)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == [200] * 24
        assert one_click(server.public, path).status == 200
        assert {each.reason for each in item_of(server, "jo@example.com").causes} == {
            "unsubscribed"
        }


def test_the_store_away(tmp_path, signer) -> None:
    """While another program holds the store nobody is told that it is done: 503 with a time to try
    again, and afterwards it works.
    """
    with running(tmp_path, signer, SENDER, store="busy_timeout_ms = 100") as server:
        path = path_of(a_leave())
        lock = sqlite3.connect(server.database, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for port in (server.public, server.port):
            answer = one_click(port, path)
            assert (answer.status, answer.problem["type"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            page = ask(port, request(b"", path, "GET", accept="text/html"))
            assert page.status == 200
        lock.execute("ROLLBACK")
        lock.close()
        assert item_of(server, "jo@example.com") is None
        assert one_click(server.public, path).status == 200
        assert item_of(server, "jo@example.com") is not None


def test_strangers(tmp_path, signer) -> None:
    """What strangers send to a link's address is refused with a reason and nothing is kept of it."""
    with running(tmp_path, signer, SENDER) as server:
        path = path_of(a_leave())
        refused = {
            request(BODY, path + "x", **FORM): 404,
            request(BODY, "/api/unsubscribe/k1.AAAA", **FORM): 404,
            request(BODY, "/unsubscribe/" + "A" * 9_000, **FORM): 404,
            request(b"x=1", path, **FORM): 422,
            request(b"", path, **FORM): 422,
            request(b"x" * 5_000, path, **FORM): 413,
            request(b"", path, "PUT"): 404,
        }
        for asked, status in refused.items():
            answer = ask(server.public, asked)
            assert (answer.status, answer.problem["status"]) == (status, status)
        assert item_of(server, "jo@example.com") is None
    assert server.faults == ""
