"""Connecting to DynamoDB: the store's URL, clients of AWS or of a local engine, missing tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sesight.domain.errors import SettingsError
from sesight.domain.stream import Stream
from sesight.store.dynamodb.client import DynamoClient
from sesight.store.dynamodb.tables import all_tables

CONNECT_SECONDS = 1.0
READ_SECONDS = 2.0
"""Timeouts of a call to AWS, after which it is retried. A Lambda function reserves more than this for
its own response, so that no call outlasts it.
"""

LOCAL_PATIENCE = 120.0
"""Seconds that a local engine may take for a call: it executes one call after the other."""


@cache
def _session() -> Any:
    """Return this process's botocore session, which caches the service models it has read."""
    # imported here: it takes a tenth of a second, and the SQLite store does not need it
    import botocore.session  # noqa: PLC0415

    return botocore.session.Session()


def session_of(region: str, endpoint: str | None) -> tuple[Any, dict[str, Any]]:
    """Return a botocore session and the options of its clients."""
    from botocore.config import Config  # noqa: PLC0415

    options: dict[str, Any] = {
        "region_name": region,
        "config": Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=32,
            retries={"total_max_attempts": 1},  # client.py retries
            tcp_keepalive=True,
        ),
    }
    if endpoint is not None:
        # a local engine accepts any credentials: never send it real ones
        options |= {
            "endpoint_url": endpoint,
            "config": options["config"].merge(Config(read_timeout=LOCAL_PATIENCE)),
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        }
    return _session(), options


def client_of(session: Any, options: dict[str, Any]) -> Any:
    """Return a client of DynamoDB. Raises SettingsError for an unknown profile or region."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        return session.create_client("dynamodb", **options)
    except BotoCoreError as error:
        raise SettingsError(f"AWS cannot be called: {error}.") from None


def create_tables(client: DynamoClient, streams: Mapping[str, Stream], prefix: str = "") -> None:
    """Create the tables that do not exist yet, with their change feeds but without expiry: a local store
    sweeps expired records itself.
    """
    existing: set[str] = set()
    for page in client.botocore.get_paginator("list_tables").paginate():
        existing.update(page["TableNames"])
    tables = all_tables(streams.values(), prefix)
    missing = [table for table in tables if table.name not in existing]
    client.map(lambda table: client("create_table", **table.definition()), missing)


def parse_url(url: str) -> tuple[str, str | None, str]:
    """Return the region, endpoint and prefix in `dynamodb://REGION?endpoint=…&prefix=…`. Raises
    SettingsError for any other form.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    unknown = query.keys() - {"endpoint", "prefix"}
    if (
        not parts.netloc
        or parts.path not in ("", "/")
        or unknown
        or any(len(values) > 1 for values in query.values())
    ):
        raise SettingsError(f"The store {url!r} is not of the form dynamodb://REGION.")
    return parts.netloc, query.get("endpoint", [None])[0], query.get("prefix", [""])[0]
