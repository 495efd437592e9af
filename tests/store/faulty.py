"""A DynamoDB client some of whose operations do something else first."""

from collections.abc import Callable

from botocore.exceptions import ClientError

from sesight.store.dynamodb import DynamoStore


class Faulty:
    """A client of which some operations do something else first."""

    def __init__(self, client: object, **instead: Callable) -> None:
        """Take the client, and by operation what is called with the true one and the arguments."""
        self._client = client
        self._instead = instead

    def __getattr__(self, name: str) -> object:
        """Return an operation."""
        true = getattr(self._client, name)
        instead = self._instead.get(name)
        return true if instead is None else lambda **arguments: instead(true, **arguments)


def make_faulty(store: DynamoStore, **instead: Callable) -> None:
    """Let some operations of a store do something else first."""
    store.calls.client = Faulty(store.calls.client, **instead)


def refusal(code: str, **more: object) -> ClientError:
    """Return an error as DynamoDB answers one."""
    return ClientError({"Error": {"Code": code, "Message": "no"}, **more}, "Some")
