"""Retention in DynamoDB: the contract."""

from tests.store import contract_retention


class TestSettings(contract_retention.Settings):
    """The contract."""


class TestClocks(contract_retention.Clocks):
    """The contract."""
