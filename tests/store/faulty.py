"""A DynamoDB client some of whose operations do something else first."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from sesight.store.dynamodb.store import DynamoStore


class Faulty:
    """A client of which some operations do something else first."""

    def __init__(self, client: object, **instead: Callable) -> None:
        """Wrap the client; `instead` has, by operation, a function that is called with the real one
        and its arguments.
        """
        self._client = client
        self._instead = instead

    def __getattr__(self, name: str) -> object:
        """Return an operation."""
        true = getattr(self._client, name)
        instead = self._instead.get(name)
        return true if instead is None else lambda **arguments: instead(true, **arguments)


def make_faulty(store: DynamoStore, **instead: Callable) -> None:
    """Let some operations of a store do something else first."""
    store.client.botocore = Faulty(store.client.botocore, **instead)


def never(**_: object) -> None:
    """Fail the test: the store must not make this call."""
    raise AssertionError("this call must not be made")


def refusal(code: str, **more: object) -> ClientError:
    """Return an error in the form of DynamoDB's."""
    return ClientError({"Error": {"Code": code, "Message": "no"}, **more}, "Some")


class LostAnswers:
    """A network that loses answers: DynamoDB carries a request out, but the answers to its first
    `each` tries never arrive. `lost` counts them, up to `most`.
    """

    def __init__(self, store: DynamoStore, operation: str, each: int = 1, most: int = 30) -> None:
        """Lose answers to an operation (`PutItem`) of a store's client from now on."""
        self.lost = 0
        self._each, self._most = each, most
        self._tries: Counter[bytes] = Counter()
        self._client = store.client.botocore
        self._client.meta.events.register(f"before-send.dynamodb.{operation}", self._send)

    def _send(self, request: Any, **_: object) -> None:
        self._tries[request.body] += 1
        if self._tries[request.body] <= self._each and self.lost < self._most:
            self.lost += 1
            self._client._endpoint.http_session.send(request)  # noqa: SLF001 - past the hook
            raise ReadTimeoutError(endpoint_url=request.url)
