"""Suppressions in SQLite: the contract."""

from tests.store import contract_suppressions


class TestSuppressions(contract_suppressions.Suppressions):
    """The contract."""
