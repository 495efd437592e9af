"""The send log in SQLite: the contract."""

from tests.store import contract_send_log


class TestBatches(contract_send_log.Batches):
    """The contract."""


class TestClaims(contract_send_log.Claims):
    """The contract."""


class TestResults(contract_send_log.Results):
    """The contract."""


class TestPauses(contract_send_log.Pauses):
    """The contract."""


class TestKeeping(contract_send_log.Keeping):
    """The contract."""
