"""The OpenAPI document is generated, the same each time, and what it says is true of every answer."""

import json
import re
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sesight.api.application import create_api, routes_of
from sesight.api.openapi import document
from sesight.api.parameters import known_parameters
from sesight.api.problem import Problem
from sesight.api.recipients import Lookup
from sesight.domain.stats import Totals
from sesight.domain.timestamps import DAY
from sesight.services import Services, StreamRoutes
from sesight.services.answers import Meta
from sesight.services.campaigns import CampaignAnswer
from sesight.services.intake_health import IntakeStatus
from sesight.services.recipient_id import encode
from tests.builders import COUNTING, NOW, bounce, clicked, complaint, delivery, fill, opened
from tests.mailing import simulated_ses
from tests.send.office import EXAMPLES, office

MAIL = [
    delivery(message="1"),
    opened(message="1"),
    clicked(message="1"),
    bounce("bo@gmail.com", message="2"),
    complaint("*", message="3", campaign=None),
    delivery(message="4", sent_at=NOW - 95 * DAY, campaign="old"),
    delivery(
        message="5", stream="finance", campaign="statement", tags={"campaign_month": "2026-10"}
    ),
]


UNUSED = Services(
    intake=IntakeStatus,
    store=None,
    suppressions=None,
    counting=COUNTING,
    clock=lambda: NOW,
    recipient_key=bytes(64),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Services that the tests of this file only read, or send by."""
    folder = tmp_path_factory.mktemp("openapi")
    with simulated_ses() as ses, office(folder, ses, lambda: NOW, templates=str(EXAMPLES)) as here:
        fill(here.app.store, MAIL)
        yield replace(
            here.app.services(),
            recipient_key=bytes(64),
            hosts=frozenset({"testserver", "localhost"}),
        )


@pytest.fixture(scope="module")
def described(shared):
    """The document as schemathesis reads it, with values that exist among those it makes up."""
    api = create_api(shared)

    async def asked_here(scope, receive, send) -> None:
        here = {**scope, "client": ("127.0.0.1", 50_000)}  # its own client names no address
        await api(here if scope["type"] == "http" else scope, receive, send)

    return schemathesis.openapi.from_asgi("/api/openapi.json", asked_here)


KNOWN = {
    "stream": ["outreach", "finance", "outreach,finance"],
    "campaign": ["winter-b", "old", "~untagged"],
    "messageId": ["1", "2", "3"],
    "rid": [encode("ana@contoso.example", bytes(64))],
    "from": ["2026-08-01", "2026-11-01", "2026-11-23T00:00:00Z"],
    "to": ["2026-11-30"],
    "outcome": ["delivered", "not_delivered,complained"],
    "event": ["Open"],
    "sort": ["-open", "name"],
    "email": ["ana@contoso.example"],
    "month": ["2026-10"],
    "name": ["spring-launch"],
    "recipient": [encode("ana@contoso.example", bytes(64))],
}


def _with_known_values(case) -> None:
    """Swap half of the made-up values for some that exist, so that answers have data in them."""
    for held in (case.query, case.path_parameters):
        for name in sorted(held or ()):
            known = KNOWN.get(name)
            choice = sum(map(ord, str(held[name])))
            if known is not None and choice % 2:
                held[name] = known[choice % len(known)]


OPERATIONS = [
    (path, method)
    for path, methods in document(UNUSED, routes_of(UNUSED))["paths"].items()
    for method in methods
]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_as_documented(described, path, method) -> None:
    """Whatever is asked, no answer is a failure, and each has the documented shape."""

    @given(described[path][method].as_strategy())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(case) -> None:
        _with_known_values(case)
        case.call_and_validate(
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ]
        )

    holds()


def test_deterministic(shared) -> None:
    """Two documents of the same code and settings are the same text."""
    one, other = (json.dumps(document(shared, routes_of(shared))) for _ in range(2))
    assert one == other


def test_every_parameter_is_described(shared) -> None:
    """Every parameter of every route says what it is, and all that are taken are documented."""
    found = document(shared, routes_of(shared))
    for handler in routes_of(shared):
        (operation,) = [
            operation
            for methods in found["paths"].values()
            for operation in methods.values()
            if operation["operationId"] == handler.operation_id
        ]
        queried = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
        assert sorted(each["name"] for each in queried) == list(known_parameters(handler))
        assert all(each.get("description", "").endswith((".", "…")) for each in queried)
        assert operation["description"].endswith(".")


def test_every_shape_is_described(shared) -> None:
    """Each shape of an answer or a question is described by the words of its struct."""
    schemas = document(shared, routes_of(shared))["components"]["schemas"]
    assert {name for name, each in schemas.items() if not each.get("description")} == set()
    for struct in (CampaignAnswer, Lookup, Meta, Problem, Totals):
        said = schemas[struct.__name__]["description"]
        assert said == " ".join(struct.__doc__.split())


def test_errors_are_problems(shared) -> None:
    """No operation documents an error in any shape but ours."""
    found = document(shared, routes_of(shared))
    for methods in found["paths"].values():
        for operation in methods.values():
            statuses = {int(each) for each in operation["responses"] if each != "default"}
            assert min(statuses) in {200, 202}
            for status in statuses - {200, 202, 207}:
                shown = operation["responses"][str(status)]["content"]
                assert "application/problem+json" in shown
            assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_other_prefixes(shared) -> None:
    """Streams' own routes are where the settings say, and there is no `/api` where it is not wanted."""
    routes = (StreamRoutes("outreach", "marketing"), StreamRoutes("gone", "gone"))
    moved = replace(shared, routes=routes, base_path="/")
    paths = set(document(moved, routes_of(moved))["paths"])
    assert "/marketing/tracking-data" in paths
    assert not any(path.startswith(("/outreach", "/financial", "/gone", "/api")) for path in paths)


def test_docs_load_nothing(api) -> None:
    """The page of the API lists every operation and asks for nothing from anywhere else."""
    answer = api.get("/api/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"<script|<style|style=|<link|<img|https?://", answer.text)
    for path in api.get("/api/openapi.json").json()["paths"]:
        assert path in answer.text
