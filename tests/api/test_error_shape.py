"""Every error of every route has one shape, as application/problem+json, never cached.

This one:

    {
        "type": "invalid-request",
        "title": "The request is not valid",
        "status": 422,
        "detail": "There is no parameter 'foo' here.",
        "requestId": "0000000000000001",
        "parameter": "foo",
        "allowed": ["from", "to"]
    }

`type`, `title`, `status`, `detail` and `requestId` are always there; a wrong parameter is named, with
what would be allowed; expired detail says of which campaign, from when to when.
"""

import logging
from dataclasses import replace
from typing import Any

import pytest

from sesight.api.application import routes_of
from sesight.api.openapi import document
from sesight.api.problem import PROBLEMS
from sesight.domain.errors import StoreUnavailable
from sesight.domain.timestamps import DAY
from tests.builders import NOW, delivery, fill

ALWAYS = {"type", "title", "status", "detail", "requestId"}
PATHS = (
    "/api/overview",
    "/api/messages",
    "/api/messages/m-1",
    "/api/outreach/tracking-data-ses",
    "/api/outreach/tracking-data",
    "/api/financial/tracking-data",
    "/api/campaigns",
    "/api/campaigns/outreach/winter-b",
    "/api/financial/months",
    "/api/recipients/r_x",
    "/api/suppressions",
    "/api/suppressions/stats",
    "/api/provider",
    "/api/health",
    "/api/health/intake",
    "/api/metrics",
    "/api/quarantine",
    "/api/openapi.json",
    "/api/docs",
    "/api/outreach/send/jobs/j-1",
    "/api/outreach/send/jobs/j-1/results",
    "/api/financial/send/jobs/j-1",
    "/api/financial/send/jobs/j-1/results",
    "/api/templates",
)


class Away:
    """A store that cannot be read."""

    def __getattr__(self, name: str) -> Any:
        def away(*_args: Any, **_named: Any) -> Any:
            raise StoreUnavailable("database is locked at /secret/path")

        return away


class Broken:
    """A store with a bug in it."""

    def __getattr__(self, name: str) -> Any:
        def broken(*_args: Any, **_named: Any) -> Any:
            raise ZeroDivisionError("at ana@contoso.example")

        return broken


def held_to_shape(answer: Any, kind: str) -> dict[str, Any]:
    """Return the body of an error after holding it to the shape."""
    body = answer.json()
    status, title = PROBLEMS[kind]
    assert answer.status_code == status == body["status"]
    assert (body["type"], body["title"]) == (kind, title)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == body["requestId"]
    assert body.keys() >= ALWAYS
    assert body["detail"].endswith(".")
    return body


def test_canonical(api) -> None:
    """The canonical error, whole."""
    assert api.get("/api/financial/months?foo=1").json() == {
        "type": "invalid-request",
        "title": "The request is not valid",
        "status": 422,
        "detail": "There is no parameter 'foo' here.",
        "requestId": "0000000000000001",
        "parameter": "foo",
        "allowed": ["format", "from", "to"],
    }


@pytest.mark.parametrize("path", PATHS)
def test_unknown_parameter(api, path) -> None:
    """No route takes a parameter that it does not know."""
    body = held_to_shape(api.get(f"{path}?foo=1"), "invalid-request")
    assert body["parameter"] == "foo"


def test_every_route_is_tried(services) -> None:
    """The paths above are all that the API documents, but for those whose tests are elsewhere."""
    known = {path.rstrip("/") for path in document(services, routes_of(services))["paths"]}
    filled = {
        "/api/messages/{messageId}": "/api/messages/m-1",
        "/api/campaigns/{stream}/{campaign}": "/api/campaigns/outreach/winter-b",
        "/api/recipients/{rid}": "/api/recipients/r_x",
        "/api/outreach/send/jobs/{jobId}": "/api/outreach/send/jobs/j-1",
        "/api/outreach/send/jobs/{jobId}/results": "/api/outreach/send/jobs/j-1/results",
        "/api/financial/send/jobs/{jobId}": "/api/financial/send/jobs/j-1",
        "/api/financial/send/jobs/{jobId}/results": "/api/financial/send/jobs/j-1/results",
    }
    undocumented = {"/api/openapi.json", "/api/docs"}
    assert {filled.get(path, path) for path in known} == {
        *PATHS,
        "/api/recipients/lookup",
        "/api/outreach/send",
        "/api/outreach/send/jobs",
        "/api/financial/send",
        "/api/financial/send/jobs",
        "/api/unsubscribe/{token}",
        "/api/templates/{name}/preview",
        "/api/suppressions/check",
        "/api/suppressions/import",
        "/api/suppressions/remove",
    } - undocumented


@pytest.mark.parametrize("path", PATHS)
def test_method(api, path) -> None:
    """A method that a path does not answer is refused, with those that it does."""
    answer = api.request("DELETE", path)
    held_to_shape(answer, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_no_route(api) -> None:
    """A path that nobody answers is not found."""
    held_to_shape(api.get("/api/nothing"), "not-found")
    held_to_shape(api.get("/nothing"), "not-found")


@pytest.mark.parametrize(
    "query",
    [
        "stream=outreach,nope",
        "stream=",
        "provider=mailchimp",
        "event=open",
        "outcome=delivered,lost",
        "month=2026-13",
        "from=yesterday",
        "from=2026-02-30",
        "from=2026-11-24T09:00:00",
        "to=20261-1-1",
        "from=2026-11-24&to=2026-11-23",
        "limit=0",
        "limit=501",
        "limit=ten",
        "cursor=abc",
        "cursor=o.abc",
        "cursor=n.AAAA",
        "recipient=r_abc",
        "recipient=ana%40contoso.example",
        "format=xml",
        "email=ana%40contoso.example",
        "stream=outreach&stream=finance",
    ],
)
def test_wrong_values(api, query) -> None:
    """A value that makes no sense is refused, and the parameter is named where one is at fault."""
    body = held_to_shape(api.get(f"/api/messages?{query}"), "invalid-request")
    name = "to" if query.startswith("from=2026-11-24&to") else query.partition("=")[0]
    assert body["parameter"] == name


@pytest.mark.parametrize(
    "path",
    [
        "/api/overview?step=month",
        "/api/overview?compare=year",
        "/api/overview?from=2027-01-01",
        "/api/overview?from=2026-01-01&step=hour",
        "/api/overview?from=1970-01-01&step=day",
        "/api/campaigns?sort=colour",
        "/api/campaigns?state=lost",
        "/api/campaigns?cursor=WyJh",
        "/api/campaigns/outreach/winter-b?step=week",
        "/api/recipients/r_GVvFHQ5TA",
    ],
)
def test_wrong_questions(api, path) -> None:
    """So are those of every other route."""
    held_to_shape(api.get(path), "invalid-request")


@pytest.mark.parametrize("path", ["messages/m-0", "campaigns/outreach/none", "campaigns/no/none"])
def test_not_found(api, path) -> None:
    """What does not exist is not found, by its name."""
    held_to_shape(api.get(f"/api/{path}"), "not-found")


def test_unknown_campaign(api) -> None:
    """A campaign that never was is not found, which is not the same as expired."""
    body = held_to_shape(api.get("/api/messages?campaign=spring-2062"), "not-found")
    assert body["detail"] == "There is no campaign with the id 'spring-2062'."


@pytest.mark.parametrize("path", ["messages", "outreach/tracking-data-ses"])
def test_expired(api, store, path) -> None:
    """The messages of a campaign past retention are gone, with all a page needs to say so."""
    fill(store, [delivery(campaign="spring", sent_at=NOW - 100 * DAY)])
    body = held_to_shape(api.get(f"/api/{path}?campaign=spring"), "detail-expired")
    del body["requestId"]
    assert body == {
        "type": "detail-expired",
        "title": "The detail is past retention; its totals are kept",
        "status": 410,
        "detail": (
            "Recipient detail is kept for 90 days. This campaign was last sent on 2026-08-16, so "
            "its recipient history is gone. Its totals are kept."
        ),
        "stream": "outreach",
        "campaign": "spring",
        "firstSentAt": "2026-08-16T12:00:00.000Z",
        "lastSentAt": "2026-08-16T12:00:00.000Z",
        "expiredAt": "2026-11-15T00:00:00.000Z",
        "retentionDays": 90,
    }


@pytest.mark.parametrize(
    "path", [p for p in PATHS[:15] if p not in ("/api/recipients/r_x", "/api/health")]
)
def test_store_away(services, serve, path) -> None:
    """A store that is away is unavailable for now, and nothing of its error is told."""
    answer = serve(replace(services, store=Away())).get(path)
    assert "secret" not in answer.text
    assert answer.headers["retry-after"] == "5"
    held_to_shape(answer, "unavailable")


def test_bug(services, serve, caplog) -> None:
    """A bug is our fault: the log has it under the request id, the answer has nothing of it."""
    with caplog.at_level(logging.ERROR, "sesight.api"):
        answer = serve(replace(services, store=Broken())).get("/api/overview")
    body = held_to_shape(answer, "failed")
    assert "ZeroDivision" not in answer.text
    assert "contoso" not in answer.text
    (logged,) = [record for record in caplog.records if record.name == "sesight.api"]
    assert body["requestId"] in logged.getMessage()
    assert logged.exc_info is not None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"address": 1}', b'{"address": "nobody"}'])
def test_wrong_body(api, body) -> None:
    """A body that cannot be read is refused in the same shape."""
    answer = api.post(
        "/api/recipients/lookup", content=body, headers={"content-type": "application/json"}
    )
    held_to_shape(answer, "invalid-request" if answer.status_code == 422 else "bad-request")


BODIES = (
    "/api/recipients/lookup",
    "/api/suppressions",
    "/api/suppressions/check",
    "/api/suppressions/remove",
    "/api/outreach/send",
    "/api/outreach/send/jobs",
    "/api/financial/send",
    "/api/financial/send/jobs",
    "/api/templates/spring-launch/preview",
)
"""Every route that reads JSON."""


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"address": "\xff"}',
        b'{"\xff": 1}',
        b"\xff\xfe{\x00}\x00",
        b'{"address": "\\ud800"}',
        b"\x00",
    ],
    ids=["open", "deep", "deep-object", "latin", "latin-key", "utf-16", "half-a-letter", "nul"],
)
def test_unreadable_json(api, path, body) -> None:
    """JSON that nobody can read is the asker's fault, and said to be; nothing of it is logged."""
    answer = api.post(path, content=body, headers={"content-type": "application/json"})
    held_to_shape(answer, "bad-request")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("depth", [100, 500, 900])
def test_deep_json(api, path, depth) -> None:
    """What is read is no fault of ours either, however deep it is, wherever that may stand."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    for name in (b"context", b"note", b"address", b"recipients", b"statements", b"sample"):
        body = b'{"template": "x", "campaign": {"id": "x"}, "recipients": [], "%b": %b}' % (
            name,
            deep,
        )
        answer = api.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code != 500


def test_loggable(services, serve, caplog) -> None:
    """A path in a log is one line of letters, whatever was asked."""
    broken = serve(replace(services, store=Broken()))
    with caplog.at_level(logging.ERROR, "sesight.api"):
        broken.get("/api/messages/a%0ab%1b%5b31m%e2%80%a8%c2%9b%e2%80%ae%7f")
    (logged,) = [record for record in caplog.records if record.name == "sesight.api"]
    said = "\N{REPLACEMENT CHARACTER}"
    assert logged.getMessage().endswith(f" /api/messages/a{said}b{said}[31m{said * 4}")


def test_large_body(api) -> None:
    """A body beyond a megabyte is not read."""
    answer = api.post("/api/recipients/lookup", json={"address": "a" * 1_000_001})
    held_to_shape(answer, "too-large")


def test_every_enum(api, services) -> None:
    """A word that a parameter does not know is answered by all that it does, whichever it is."""
    told = {}
    for path, operations in document(services, routes_of(services))["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", ()):
            schema = parameter["schema"]
            words = schema.get("enum") or next(
                (each["enum"] for each in schema.get("oneOf", ()) if "enum" in each), None
            )
            if parameter["in"] == "query" and words:
                filled = path.format(stream="outreach", campaign="x", jobId="x", month="2026-10")
                answer = api.get(f"{filled}?{parameter['name']}=nonsense")
                body = held_to_shape(answer, "invalid-request")
                told[path, parameter["name"]] = body
                assert body["detail"] == f"{parameter['name']}: there is no 'nonsense'."
                assert set(body["allowed"]) == {word for word in words if word is not None}
    assert len(told) > 8


@pytest.mark.parametrize(
    ("body", "parameter", "detail"),
    [
        ({"addresses": ["a@x.example"], "reason": "none"}, "reason", "reason: there is no 'none'."),
        ({"addresses": ["a@x.example"], "scope": "here"}, "scope", "scope: there is no 'here'."),
        ({"addresses": [7]}, "addresses.0", "addresses.0 must be text."),
        ({"addresses": []}, "addresses", "addresses must be a list of 1 to 1,000."),
        ({"adresses": ["a@x.example"]}, "adresses", "There is no parameter 'adresses' here."),
        ({}, "addresses", "addresses is missing: a list of 1 to 1,000."),
        ([], "body", "body must be a table with `addresses`, `reason`"),
    ],
)
def test_body(api, body, parameter, detail) -> None:
    """What is wrong in a body is named by the way to it, with what would do."""
    found = held_to_shape(api.post("/api/suppressions", json=body), "invalid-request")
    assert (found["parameter"], found["detail"][: len(detail)]) == (parameter, detail)
    assert ("allowed" in found) == (parameter in {"reason", "scope", "adresses"})


def test_number(api) -> None:
    """A number out of bounds is answered by the bounds."""
    found = held_to_shape(api.get("/api/messages?limit=501"), "invalid-request")
    assert found["detail"] == "limit must be a whole number from 1 to 500."
