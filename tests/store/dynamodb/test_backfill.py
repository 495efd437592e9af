"""Backfills in DynamoDB: the contract."""

from tests.store import contract_backfill


class TestBackfills(contract_backfill.Backfills):
    """The contract."""
