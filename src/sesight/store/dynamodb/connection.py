"""Getting to DynamoDB: the store's URL, clients of AWS or of a local engine, tables where they are missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sesight.domain.errors import SettingsError
from sesight.domain.stream import Stream
from sesight.store.dynamodb.client import Calls
from sesight.store.dynamodb.tables import all_tables

CONNECT_SECONDS = 1.0
READ_SECONDS = 2.0
"""What a call to AWS may take until it counts as lost and is made again. A Lambda function spares more
for its answer, so that no call outlasts it.
"""

LOCAL_PATIENCE = 120.0
"""Seconds that a local engine, which does one thing after the other, may take for a call."""


@cache
def _session() -> Any:
    """Return this process's botocore session, which has read what a service's calls look like."""
    # imported here, since the SQLite store does without it and it takes a tenth of a second
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
            retries={"total_max_attempts": 1},  # calls.py tries again
            tcp_keepalive=True,
        ),
    }
    if endpoint is not None:
        # a local engine takes any credentials: never show it true ones
        options |= {
            "endpoint_url": endpoint,
            "config": options["config"].merge(Config(read_timeout=LOCAL_PATIENCE)),
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        }
    return _session(), options


def client_of(session: Any, options: dict[str, Any]) -> Any:
    """Return a client of DynamoDB. Raises SettingsError for a profile or region that there is not."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        return session.create_client("dynamodb", **options)
    except BotoCoreError as error:
        raise SettingsError(f"AWS cannot be called: {error}.") from None


def create_tables(calls: Calls, streams: Mapping[str, Stream], prefix: str = "") -> None:
    """Create the tables that are not there yet, with their change feeds; a local store sweeps itself."""
    there: set[str] = set()
    for page in calls.client.get_paginator("list_tables").paginate():
        there.update(page["TableNames"])
    missing = [one for one in all_tables(streams.values(), prefix) if one.name not in there]
    calls.each(lambda table: calls("create_table", **table.definition()), missing)


def parse_url(url: str) -> tuple[str, str | None, str]:
    """Return region, endpoint and prefix of `dynamodb://REGION?endpoint=…&prefix=…`, as is if it is
    written so. Raises SettingsError for anything else.
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
