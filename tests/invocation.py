"""Invocations of the Lambda functions, as AWS makes them: events, contexts, the change feed's batches."""

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from sesight.settings import Settings, StoreSettings
from sesight.store.dynamodb.rollup_aggregator import Aggregator
from sesight.store.dynamodb.store import DynamoStore
from tests.builders import NOW

KEY = "5e" * 32

_ids = itertools.count(1)


def settings_of(url: str, **more: Any) -> Settings:
    """Return the settings of functions over a store."""
    return Settings(store=StoreSettings(url), recipient_key=KEY, **more)


class Context:
    """What Lambda says of an invocation: so many seconds are left when it begins."""

    def __init__(self, seconds: float = 60.0) -> None:
        """Begin now."""
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left."""
        return int((self._end - time.monotonic()) * 1_000)


def sqs_event(bodies: Iterable[bytes | str]) -> dict[str, Any]:
    """Return a batch of SQS's, each message with an id of its own."""
    return {
        "Records": [
            {
                "messageId": f"{next(_ids):08d}-0000-4000-8000-000000000000",
                "receiptHandle": "AQEB",
                "body": body if isinstance(body, str) else body.decode(),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:ses-email-events",
                "awsRegion": "eu-west-1",
            }
            for body in bodies
        ]
    }


def ids_of(event: dict[str, Any]) -> list[str]:
    """Return the ids of a batch's messages."""
    return [record["messageId"] for record in event["Records"]]


def failed(answer: dict[str, Any] | None) -> list[str]:
    """Return the ids that an answer reports, of an answer that is exactly what Lambda reads."""
    assert answer is not None
    assert list(answer) == ["batchItemFailures"]
    assert all(list(each) == ["itemIdentifier"] for each in answer["batchItemFailures"])
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def batches(bodies: Iterable[bytes], size: int = 500) -> Iterator[dict[str, Any]]:
    """Return bodies as SQS hands them over, batch after batch."""
    left = iter(bodies)
    while some := list(itertools.islice(left, size)):
        yield sqs_event(some)


def feed_events(store: DynamoStore, size: int = 1_000) -> Iterator[dict[str, Any]]:
    """Yield all change feeds of a store as Lambda hands them over: windowed batches of a shard each,
    binary values as base64, without what expired (the mapping leaves it out).
    """
    client = store._streams_client()  # noqa: SLF001
    for stream in store.tables.values():
        for table in stream[:2]:
            for shard, records in _shards(store, client, table.name):
                found = [
                    {
                        "eventName": record["eventName"],
                        "eventSource": "aws:dynamodb",
                        "eventSourceARN": (
                            f"arn:aws:dynamodb:eu-west-1:000000000000:table/{table.name}/stream/x"
                        ),
                        "dynamodb": _as_json(record["dynamodb"]),
                    }
                    for record in records
                    if record["eventName"] in ("INSERT", "MODIFY")
                ]
                for at in range(0, len(found), size):
                    yield {
                        "Records": found[at : at + size],
                        "shardId": shard,
                        "window": {"start": "2026-11-24T12:00:00Z", "end": "2026-11-24T12:01:00Z"},
                        "state": {},
                        "isFinalInvokeForWindow": False,
                        "isWindowTerminatedEarly": False,
                    }
    client.close()


def _shards(store: DynamoStore, client: Any, table: str) -> Iterator[tuple[str, list[dict]]]:
    """Yield each shard of a table's change feed with its records."""
    arn = store.client("describe_table", TableName=table)["Table"]["LatestStreamArn"]
    for shard in client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = client.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[dict] = []
        while records := (answer := client.get_records(ShardIterator=iterator))["Records"]:
            found += records
            iterator = answer["NextShardIterator"]
        yield shard["ShardId"], found


def aggregate(store: DynamoStore) -> None:
    """Bring rollups up to date, by batches of the change feed."""
    aggregator = Aggregator(store.client, store.tables, lambda: NOW)
    for event in feed_events(store):
        aggregator.take(event)


@contextlib.contextmanager
def event_loop() -> Iterator[None]:
    """Give this thread the event loop that Mangum runs in, and close it, which a function never does."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def http_event(
    path: str,
    query: dict[str, Any] | None = None,
    *,
    body: Any = None,
    stage: str = "$default",
    authorizer: dict[str, Any] | None = None,
    method: str | None = None,
    **more: str,
) -> dict[str, Any]:
    """Return a request as an HTTP API of API Gateway hands it over (payload format 2.0), with `more`
    headers.
    """
    method = method or ("GET" if body is None else "POST")
    whole = path if stage == "$default" else f"/{stage}{path}"
    headers = {
        "host": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-proto": "https",
        "via": "2.0 a.cloudfront.net (CloudFront)",
        "content-type": "application/json",
        **more,
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": whole,
        "rawQueryString": urlencode(query or {}),
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "a1b2c3d4e5",
            "domainName": headers["host"],
            "http": {
                "method": method,
                "path": whole,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
            },
            "requestId": "Hm1yWh-mDoEEJ7A=",
            "stage": stage,
        },
        "isBase64Encoded": False,
    }
    if authorizer is None:
        authorizer = {"jwt": {"claims": {"sub": "someone"}, "scopes": ["read"]}}
    if authorizer:
        event["requestContext"]["authorizer"] = authorizer
    if body is not None:
        event["body"] = json.dumps(body)
    return event


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    return value
