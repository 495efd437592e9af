"""Cards in DynamoDB: the contract."""

from tests.store import contract_cards


class TestCards(contract_cards.Cards):
    """The contract."""
