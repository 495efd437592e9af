"""An API over a real store, at noon of 24 November 2026."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from litestar.testing.transport import TestClientTransport

from sesight.api.application import create_api
from sesight.services import Services
from tests.services.conftest import services as services  # noqa: PLC0414 - a fixture of these tests too
from tests.services.conftest import store as store  # noqa: PLC0414

Client = TestClient[Litestar]


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
