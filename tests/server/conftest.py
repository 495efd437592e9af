"""What the tests of the server share: one throw-away key, and traffic signed once."""

import pytest

from sesight_simulator.sns import Signer
from tests.server.harness import Traffic, running


@pytest.fixture(scope="session")
def signer() -> Signer:
    """A key of account 000000000000, for this run alone."""
    return Signer.generate()


@pytest.fixture(scope="session")
def traffic(signer: Signer) -> Traffic:
    """Some 1,000 events."""
    return Traffic.made(signer, seed=22, messages=400, campaigns=4)


@pytest.fixture
def server(tmp_path, signer: Signer):
    """A running server with an empty store."""
    with running(tmp_path, signer) as server:
        yield server
