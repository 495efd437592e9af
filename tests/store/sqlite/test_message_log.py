"""The message log in SQLite: the contract."""

from tests.store import contract_message_log


class TestPages(contract_message_log.Pages):
    """The contract."""
