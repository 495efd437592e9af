"""Rollup rows in SQLite: the contract."""

from tests.store import contract_rollups


class TestRollupRows(contract_rollups.RollupRows):
    """The contract."""
