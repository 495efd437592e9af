"""The DynamoDB client: every call, retried with back-off until its time is up.

botocore's own retries are off, so that calls are retried here and nowhere else.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sesight.domain.backoff import backoff
from sesight.domain.errors import NO_CREDENTIALS, StoreUnavailable

Item = dict[str, Any]
"""An item as DynamoDB's API writes it: attribute name to {type: value}."""

BATCH_READ = 100
"""Keys in one BatchGetItem."""

BATCH_WRITE = 25
"""Items in one BatchWriteItem, and statements in one BatchExecuteStatement."""

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 2.0
"""Seconds between tries at most: doubled each time, half of it at random."""

LONGEST_PATIENCE = 300.0
"""Seconds for which a call is retried at most, however much time there is: DynamoDB recognises the
token of a transaction for ten minutes.
"""

GRACE = 1.0
"""Seconds after time is up in which calls may still start, without retries: a batch whose records
could not all be written is finished properly.
"""

THREADS = 16
"""Calls in flight at once."""

CONDITION_FAILED = "ConditionalCheckFailedException"
_CANCELLED_BY_CONDITION = "ConditionalCheckFailed"

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
"""Error codes of calls that are worth retrying."""

_NO_TABLE = frozenset({"ResourceNotFoundException", "ResourceInUseException"})
"""Error codes for a table that does not exist, or not yet."""

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
"""Error codes for credentials that are missing, expired or not allowed to make the call."""

TRIED_BEFORE = "TriedBefore"
"""Key in the response to a call whose earlier try got no answer: DynamoDB may have carried out that
earlier try, and so changed what this one found.
"""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class ConditionFailed(Exception):
    """The condition of a write is not met.

    `item` is the stored item, if the call asked for it. `tried_before`: an earlier try got no answer,
    so the stored item may be the one that this call was to write.
    """

    def __init__(self, item: Item | None, *, tried_before: bool) -> None:
        super().__init__(CONDITION_FAILED)
        self.item = item
        self.tried_before = tried_before


def default_time_left() -> float:
    """Return the seconds for which a call may be retried where no caller sets a limit."""
    return 20.0


class DynamoClient:
    """A botocore client with retries, loops over pages and batches, and threads. Thread-safe."""

    def __init__(self, botocore: Any, remaining: Callable[[], float] = default_time_left) -> None:
        """Wrap a botocore client; `remaining` returns the seconds that are left (a Lambda function
        has ever fewer of them).
        """
        from botocore.exceptions import (  # noqa: PLC0415 - the SQLite store runs without botocore
            BotoCoreError,
            ClientError,
            NoCredentialsError,
        )

        self.botocore = botocore
        self.remaining = remaining
        self.failure = ClientError
        self._broken = BotoCoreError
        self._no_credentials = NoCredentialsError
        self.threads = THREADS
        """Calls in flight at once; with 1, `map` stays in its caller's thread."""
        self._pool: ThreadPoolExecutor | None = None
        self.throttled: Counter[str] = Counter()
        """How often each resource (the ARN of a table or index, else the operation) was throttled."""
        self.conflicts = 0
        """How many records were decided again because another writer had changed them first."""

    def __call__(self, operation: str, **arguments: Any) -> Any:
        """Call an operation until it answers. A try whose answer was lost may have been carried out
        and is repeated: make writes conditional, or use `transact`.

        Raises ConditionFailed, ClientError for a refusal that will not change by itself, and
        StoreUnavailable when the table does not exist, the credentials do not allow the call or the
        time is up.
        """
        pauses = self.pauses()
        tried_before: dict[str, Any] = {}
        if self.remaining() <= -GRACE:
            raise StoreUnavailable(f"No time is left for {operation}.")
        while True:
            try:
                return getattr(self.botocore, operation)(**arguments) | tried_before
            except self.failure as error:
                code = error.response["Error"]["Code"]
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if code == CONDITION_FAILED:
                    raise ConditionFailed(
                        error.response.get("Item"), tried_before=bool(tried_before)
                    ) from error
                if code in _NO_TABLE:
                    raise StoreUnavailable(f"DynamoDB answers {code} to {operation}.") from error
                if code in _FORBIDDEN:
                    raise StoreUnavailable(
                        f"DynamoDB answers {code} to {operation}: the credentials in use have expired "
                        "or do not allow it."
                    ) from error
                if code not in TRANSIENT and status < 500 and not _only_conflicts(error):
                    raise
                if status >= 500:
                    tried_before = {TRIED_BEFORE: True}
                self._count_throttling(operation, error.response)
                self.wait(pauses, f"DynamoDB answers {code} to {operation}")
            except self._no_credentials:
                raise StoreUnavailable(NO_CREDENTIALS) from None
            except self._broken as error:
                tried_before = {TRIED_BEFORE: True}
                self.wait(pauses, f"DynamoDB cannot be reached: {error}")

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to pause before each retry, until time is up."""
        deadline = time.monotonic() + min(self.remaining(), LONGEST_PATIENCE)
        yield from backoff(
            FIRST_PAUSE,
            LONGEST_PAUSE,
            lambda: random.uniform(0.5, 1),  # noqa: S311 - only to spread callers
            lambda: min(deadline - time.monotonic(), self.remaining()),
        )

    def wait(self, pauses: Iterator[float], reason: str) -> None:
        """Pause before the next try. Raises StoreUnavailable with the reason when time is up."""
        pause = next(pauses, None)
        if pause is None:
            raise StoreUnavailable(f"{reason}.")
        time.sleep(pause)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Pause."""
        time.sleep(seconds)

    def _count_throttling(self, operation: str, response: Any) -> None:
        reasons: list[Any] = response.get("ThrottlingReasons") or [{}]
        for reason in reasons:
            self.throttled[reason.get("resource") or operation] += 1

    def map(self, function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
        """Apply a function to each item, in threads; return the results in order."""
        arguments = list(items)
        if len(arguments) < 2 or self.threads < 2:
            return [function(argument) for argument in arguments]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, "dynamodb")
        return list(self._pool.map(function, arguments))

    def close(self) -> None:
        """Release threads and connections."""
        if self._pool is not None:
            self._pool.shutdown()
        self.botocore.close()

    def transact(self, writes: Sequence[Item]) -> bool:
        """Carry out all writes, or none and return False because the condition of one is not met.

        Retries carry it out once: the token is made before the first try, where botocore would make a
        new one for each.
        """
        token = str(uuid.uuid4())
        try:
            self("transact_write_items", TransactItems=writes, ClientRequestToken=token)
        except self.failure as error:
            if _CANCELLED_BY_CONDITION not in _cancellation_codes(error):
                raise
            return False
        return True

    # Loops

    def get(self, table: str, key: Item, *, consistent: bool = True) -> Item | None:
        """Return one item."""
        response = self("get_item", TableName=table, Key=key, ConsistentRead=consistent)
        item: Item | None = response.get("Item")
        return item

    def get_many(
        self, keys: Sequence[tuple[str, Item]], *, consistent: bool
    ) -> list[tuple[str, Item]]:
        """Return the items that exist of distinct (table, key)s, each with its table."""
        chunks = [keys[at : at + BATCH_READ] for at in range(0, len(keys), BATCH_READ)]
        items: list[tuple[str, Item]] = []
        for of_chunk in self.map(
            lambda chunk: self._get_chunk(chunk, consistent=consistent), chunks
        ):
            items += of_chunk
        return items

    def _get_chunk(
        self, keys: Sequence[tuple[str, Item]], *, consistent: bool
    ) -> list[tuple[str, Item]]:
        requests: dict[str, Any] = {}
        for table, key in keys:
            request = requests.setdefault(table, {"Keys": [], "ConsistentRead": consistent})
            request["Keys"].append(key)
        items: list[tuple[str, Item]] = []
        pauses = self.pauses()
        while requests:
            response = self("batch_get_item", RequestItems=requests)
            for table, of_table in response["Responses"].items():
                items += [(table, item) for item in of_table]
            unprocessed = response.get("UnprocessedKeys") or {}
            if unprocessed and _number_of_keys(unprocessed) == _number_of_keys(requests):
                self.wait(pauses, "DynamoDB processes no key of a batch")
            requests = unprocessed
        return items

    def query(self, limit: int | None = None, **arguments: Any) -> Iterator[Item]:
        """Yield the items of a query, page after page, up to `limit`."""
        left = limit
        while True:
            if left is not None:
                arguments["Limit"] = left
            response = self("query", **arguments)
            items = response["Items"]
            yield from items
            if left is not None:
                left -= len(items)
                if left <= 0:
                    return
            if not response.get("LastEvaluatedKey"):
                return
            arguments["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def delete_many(self, table: str, keys: Sequence[Item]) -> None:
        """Delete items."""
        chunks = [keys[at : at + BATCH_WRITE] for at in range(0, len(keys), BATCH_WRITE)]
        self.map(lambda chunk: self._delete_chunk(table, chunk), chunks)

    def _delete_chunk(self, table: str, keys: Sequence[Item]) -> None:
        requests: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        pauses = self.pauses()
        while requests:
            unprocessed = self("batch_write_item", RequestItems=requests).get("UnprocessedItems")
            if unprocessed:
                self.wait(pauses, "DynamoDB leaves deletions unprocessed")
            requests = unprocessed


def _number_of_keys(requests: dict[str, Any]) -> int:
    return sum(len(request["Keys"]) for request in requests.values())


def _cancellation_codes(error: Any) -> set[str]:
    """Return why a transaction was cancelled: the codes of the writes that caused it."""
    reasons = error.response.get("CancellationReasons") or ()
    return {reason.get("Code") for reason in reasons} - {"None", None}


def _only_conflicts(error: Any) -> bool:
    """Return whether a transaction was cancelled for nothing but others in flight."""
    codes = _cancellation_codes(error)
    return bool(codes) and codes <= TRANSIENT


def item_key(pk: str, sk: str) -> Item:
    """Return the key of an item of the control table or a rollup table."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def version_of(item: Item | None) -> int:
    """Return the version of an item, 0 for none."""
    return int(item["version"]["N"]) if item is not None else 0


def if_version(version: int, key: str) -> dict[str, Any]:
    """Return the condition that an item still has the version that was read; 0: that it does not
    exist. `key` is the name of its partition key.
    """
    if not version:
        return {"ConditionExpression": f"attribute_not_exists({key})"}
    return {
        "ConditionExpression": "version = :version",
        "ExpressionAttributeValues": {":version": {"N": str(version)}},
    }


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
