"""Calls to DynamoDB: retried with back-off while there is time, and the loops its API asks for.

botocore's own retries are off, so that this is the one place where anything is tried again.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sesight.domain.errors import NO_CREDENTIALS, StoreUnavailable
from sesight.store.dynamodb.item_codec import Item

BATCH_READ = 100
"""Keys of one BatchGetItem."""

BATCH_WRITE = 25
"""Items of one BatchWriteItem, and statements of one BatchExecuteStatement."""

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 2.0
"""Seconds between tries, doubled each time, half of it at random."""

LONGEST_PATIENCE = 300.0
"""Seconds for which a call is tried at most, however much time there is: DynamoDB knows a transaction
again by its token for ten minutes.
"""

GRACE = 1.0
"""Seconds after time is up in which calls are still begun, though none is made again: what could not
be written was given up, and the rest of the batch is brought to its end.
"""

THREADS = 16
"""Calls under way at once."""

TRANSIENT = frozenset(
    {
        "InternalServerError",
        "ItemCollectionSizeLimitExceededException",
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionInProgressException",
        "TransactionConflictException",
    }
)
"""Error codes of what may work in a moment."""

_ABSENT = frozenset({"ResourceNotFoundException", "ResourceInUseException"})
"""Error codes of a table that is not there, or not yet."""

_FORBIDDEN = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
"""Error codes of credentials that are none, are over, or may not do this."""

TRIED_BEFORE = "TriedBefore"
"""What is in the response to a call of which an earlier try had no answer: that one may have been
carried out, and have changed what this one found.
"""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def always() -> float:
    """Return the seconds that a call may be tried for where nobody waits for it in vain."""
    return 20.0


class Calls:
    """A client and what it takes to use it. Any thread may use it."""

    def __init__(self, client: Any, remaining: Callable[[], float] = always) -> None:
        """Take a botocore client; `remaining` tells how many seconds there still are (a Lambda
        function has less and less of them).
        """
        from botocore.exceptions import (  # noqa: PLC0415 - the SQLite store does without botocore
            BotoCoreError,
            ClientError,
            NoCredentialsError,
        )

        self.client = client
        self.remaining = remaining
        self.failure = ClientError
        self._broken = BotoCoreError
        self._no_credentials = NoCredentialsError
        self.threads = THREADS
        """Calls under way at once; with 1, `each` stays in its caller's thread."""
        self._pool: ThreadPoolExecutor | None = None
        self.throttled: Counter[str] = Counter()
        """How often each resource (a table's or an index's ARN, else the call's name) was throttled."""

    def __call__(self, operation: str, **arguments: Any) -> Any:
        """Call an operation until it answers. One whose answer was lost is carried out again: write on
        a condition, or by `transact`. Raises ClientError for a refusal that will not change
        by itself, StoreUnavailable when there is no such table, credentials do not allow it or time is up.
        """
        pauses = self.pauses()
        tried_before: dict[str, Any] = {}
        if self.remaining() <= -GRACE:
            raise StoreUnavailable(f"No time is left for {operation}.")
        while True:
            try:
                return getattr(self.client, operation)(**arguments) | tried_before
            except self.failure as error:
                error.response |= tried_before
                code = error.response["Error"]["Code"]
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if code in _ABSENT:
                    raise StoreUnavailable(f"DynamoDB answers {code} to {operation}.") from error
                if code in _FORBIDDEN:
                    raise StoreUnavailable(
                        f"DynamoDB answers {code} to {operation}: the credentials in use may not do "
                        "it, or are over."
                    ) from error
                if code not in TRANSIENT and status < 500 and not _conflicts(error):
                    raise
                if status >= 500:
                    tried_before = {TRIED_BEFORE: True}
                self._note(operation, error.response)
                self.wait(pauses, f"DynamoDB answers {code} to {operation}")
            except self._no_credentials:
                raise StoreUnavailable(NO_CREDENTIALS) from None
            except self._broken as error:
                tried_before = {TRIED_BEFORE: True}
                self.wait(pauses, f"DynamoDB cannot be reached: {error}")

    def pauses(self) -> Iterator[float]:
        """Yield seconds to pause, until time is up."""
        started = time.monotonic()
        patience = min(self.remaining(), LONGEST_PATIENCE)
        pause = FIRST_PAUSE
        while True:
            wanted = pause * (0.5 + random.random() / 2)  # noqa: S311 - only to spread callers
            if time.monotonic() - started + wanted > patience or wanted > self.remaining():
                return
            yield wanted
            pause = min(2 * pause, LONGEST_PAUSE)

    def wait(self, pauses: Iterator[float], why: str) -> None:
        """Pause before the next try. Raises StoreUnavailable when time is up."""
        pause = next(pauses, None)
        if pause is None:
            raise StoreUnavailable(f"{why}.")
        time.sleep(pause)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Pause."""
        time.sleep(seconds)

    def _note(self, operation: str, response: Any) -> None:
        reasons: list[Any] = response.get("ThrottlingReasons") or [{}]
        for reason in reasons:
            self.throttled[reason.get("resource") or operation] += 1

    def each(self, do: Callable[[_In], _Out], over: Iterable[_In]) -> list[_Out]:
        """Do something to each of several at once, in threads; return the results in order."""
        wanted = list(over)
        if len(wanted) < 2 or self.threads < 2:
            return [do(one) for one in wanted]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, "dynamodb")
        return list(self._pool.map(do, wanted))

    def close(self) -> None:
        """Let go of threads and connections."""
        if self._pool is not None:
            self._pool.shutdown()
        self.client.close()

    def transact(self, parts: Sequence[Item]) -> None:
        """Write all parts or none. However often it is tried, it is carried out once: the token is made
        before the first try, where botocore would make a new one for each.
        """
        token = str(uuid.uuid4())
        self("transact_write_items", TransactItems=parts, ClientRequestToken=token)

    # Loops

    def get(self, table: str, key: Item, *, consistent: bool = True) -> Item | None:
        """Return one item."""
        found = self("get_item", TableName=table, Key=key, ConsistentRead=consistent)
        item: Item | None = found.get("Item")
        return item

    def get_many(
        self, keys: Sequence[tuple[str, Item]], *, consistent: bool
    ) -> list[tuple[str, Item]]:
        """Return the items of distinct (table, key)s that are there, with their tables."""
        chunks = [keys[at : at + BATCH_READ] for at in range(0, len(keys), BATCH_READ)]
        found: list[tuple[str, Item]] = []
        for some in self.each(lambda chunk: self._get_chunk(chunk, consistent=consistent), chunks):
            found += some
        return found

    def _get_chunk(
        self, keys: Sequence[tuple[str, Item]], *, consistent: bool
    ) -> list[tuple[str, Item]]:
        wanted: dict[str, Any] = {}
        for table, key in keys:
            wanted.setdefault(table, {"Keys": [], "ConsistentRead": consistent})["Keys"].append(key)
        found: list[tuple[str, Item]] = []
        pauses = self.pauses()
        while wanted:
            answer = self("batch_get_item", RequestItems=wanted)
            for table, items in answer["Responses"].items():
                found += [(table, item) for item in items]
            left = answer.get("UnprocessedKeys") or {}
            if left and sum(len(one["Keys"]) for one in left.values()) == sum(
                len(one["Keys"]) for one in wanted.values()
            ):
                self.wait(pauses, "DynamoDB processes no key of a batch")
            wanted = left
        return found

    def query(self, limit: int | None = None, **arguments: Any) -> Iterator[Item]:
        """Yield the items of a query, page after page, up to `limit`."""
        left = limit
        while True:
            if left is not None:
                arguments["Limit"] = left
            answer = self("query", **arguments)
            items = answer["Items"]
            yield from items
            if left is not None:
                left -= len(items)
                if left <= 0:
                    return
            if not answer.get("LastEvaluatedKey"):
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def delete_many(self, table: str, keys: Sequence[Item]) -> None:
        """Delete items."""
        chunks = [keys[at : at + BATCH_WRITE] for at in range(0, len(keys), BATCH_WRITE)]
        self.each(lambda chunk: self._delete_chunk(table, chunk), chunks)

    def _delete_chunk(self, table: str, keys: Sequence[Item]) -> None:
        wanted: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        pauses = self.pauses()
        while wanted:
            left = self("batch_write_item", RequestItems=wanted).get("UnprocessedItems")
            if left:
                self.wait(pauses, "DynamoDB leaves deletions unprocessed")
            wanted = left


def _conflicts(error: Any) -> bool:
    """Return whether a transaction was cancelled for nothing but others under way."""
    reasons = error.response.get("CancellationReasons") or ()
    codes = {reason.get("Code") for reason in reasons} - {"None", None}
    return bool(codes) and codes <= TRANSIENT


def equals(**key: str) -> dict[str, Any]:
    """Return the arguments of a query for everything under a partition key."""
    ((name, value),) = key.items()
    return {
        "KeyConditionExpression": "#pk = :pk",
        "ExpressionAttributeNames": {"#pk": name},
        "ExpressionAttributeValues": {":pk": {"S": value}},
    }


def between(pk: tuple[str, str], sk: tuple[str, str, str]) -> dict[str, Any]:
    """Return the arguments of a query for a range, both ends included: (name, value) of the
    partition key, (name, low, high) of the sort key.
    """
    return {
        "KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :low AND :high",
        "ExpressionAttributeNames": {"#pk": pk[0], "#sk": sk[0]},
        "ExpressionAttributeValues": {
            ":pk": {"S": pk[1]},
            ":low": {"S": sk[1]},
            ":high": {"S": sk[2]},
        },
    }
