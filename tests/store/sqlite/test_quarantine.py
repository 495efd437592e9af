"""The quarantine in SQLite: the contract."""

from tests.store import contract_quarantine


class TestQuarantine(contract_quarantine.Quarantine):
    """The contract."""
