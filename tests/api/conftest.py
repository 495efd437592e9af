"""An API over a real store, at noon of 24 November 2026."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from litestar.testing.transport import TestClientTransport

from sesight.api.application import create_api
from sesight.api.dependencies import Intake, Services
from sesight.domain.ports import Store
from sesight.ingest.pipeline import Pipeline
from sesight.services.suppressions import Suppressions
from sesight.store import open_store
from tests.builders import COUNTING, NOW, POLICY
from tests.reception import RULES

Client = TestClient[Litestar]


def suppressions_of(store: Store) -> Suppressions:
    """Return the suppression list of a store."""
    pipeline = Pipeline(store, RULES, lambda: NOW, None)
    return Suppressions(store, pipeline.decide, COUNTING, POLICY, lambda: NOW)


@pytest.fixture(scope="session", autouse=True)
def _from_this_machine() -> Iterator[None]:
    """Have Litestar's clients come from this machine: of themselves they name no address at all."""
    parse_request = TestClientTransport.parse_request

    def parsed(self: Any, request: Any) -> dict[str, Any]:
        return {**parse_request(self, request), "client": ("127.0.0.1", 50_000)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TestClientTransport, "parse_request", parsed)
        yield


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    store = open_store(f"sqlite:///{tmp_path}/sesight.db", clock=lambda: NOW, durability="normal")
    ids = iter(f"{n:016x}" for n in range(1, 1_000_000))
    yield Services(
        store=store,
        suppressions=suppressions_of(store),
        counting=COUNTING,
        policy=POLICY,
        clock=lambda: NOW,
        recipient_key=bytes(range(64)),
        intake=lambda: Intake(state="ok", sentences=["Intake is working."]),
        metrics=lambda: b"# HELP sesight_up Up.\n",
        region="eu-west-1",
        providers=("ses", "legacy"),
        hosts=frozenset({"sesight.example.com"}),
        new_request_id=lambda: next(ids),
    )
    store.close()


@pytest.fixture
def store(services: Services) -> Any:
    return services.store


@pytest.fixture
def serve() -> Iterator[Callable[[Services], Client]]:
    """Make clients of APIs over changed services."""
    opened: list[Client] = []

    def made(services: Services) -> Client:
        client = TestClient(
            create_api(services), base_url="http://127.0.0.1", raise_server_exceptions=False
        )
        client.__enter__()
        opened.append(client)
        return client

    yield made
    for client in opened:
        client.__exit__()


@pytest.fixture
def api(services: Services, serve: Callable[[Services], Client]) -> Client:
    return serve(services)
