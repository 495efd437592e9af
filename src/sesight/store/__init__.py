"""Stores of records, totals and suppressions: `open_store` opens the store that a URL names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sesight.domain.errors import SettingsError
from sesight.domain.ports import Clock
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.store.clock import wall_clock
from sesight.store.dynamodb.connection import parse_url
from sesight.store.dynamodb.store import DynamoStore
from sesight.store.sqlite.store import SqliteStore

FORMS = "sqlite:///PATH (sqlite:////PATH for one from the root) or dynamodb://REGION"
"""The forms of a store's URL."""

STREAMS = {stream.id: stream for stream in (OUTREACH, FINANCE)}


def open_store(
    url: str,
    *,
    retention_days: int | None = None,
    policy: SuppressionPolicy | None = None,
    clock: Clock = wall_clock,
    durability: str = "full",
    busy_timeout_ms: int = 5_000,
    streams: Mapping[str, Stream] | None = None,
) -> SqliteStore | DynamoStore:
    """Open the store of a URL. A missing SQLite file is created; `streams`, by id, determine the DynamoDB
    tables.

    `retention_days`: 0 keeps records for ever; None keeps the store's own retention, 90 in a new store; a
    shorter one than the store's own has no effect (see `Retention.shorten`). With `durability` "normal" a
    power failure may take the last commits, but never damages the file: for a replay that can be repeated.

    Raises SettingsError for a URL or file that is not a store, StoreTooNew for a file of a newer Sesight,
    StoreUnavailable if the store cannot be opened now.
    """
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and path:
        return SqliteStore(
            Path(path),
            retention_days=retention_days,
            policy=policy,
            clock=clock,
            durability=durability,
            busy_timeout_ms=busy_timeout_ms,
        )
    if url.startswith("dynamodb://"):
        region, endpoint, prefix = parse_url(url)
        return DynamoStore(
            region,
            STREAMS if streams is None else streams,
            endpoint=endpoint,
            prefix=prefix,
            retention_days=retention_days,
            policy=policy,
            clock=clock,
        )
    raise SettingsError(f"The store {url!r} is not of a known kind: use {FORMS}.")
