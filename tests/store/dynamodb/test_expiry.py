"""Expiry in DynamoDB: the contract."""

from tests.store import contract_expiry


class TestExpiry(contract_expiry.Expiry):
    """The contract."""
