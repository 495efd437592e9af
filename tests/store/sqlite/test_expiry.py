"""Expiry in SQLite: the contract."""

from tests.store import contract_expiry


class TestExpiry(contract_expiry.Expiry):
    """The contract."""
