"""What the tests of the simulation share: one throw-away key."""

import pytest

from sesight_simulator.sns import Signer


@pytest.fixture(scope="session")
def ses_signer() -> Signer:
    """A key of account 000000000000, for this run alone."""
    return Signer.generate()
