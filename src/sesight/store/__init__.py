"""Where records and totals are kept: `open_store` opens the store that a URL names."""

from __future__ import annotations

from pathlib import Path

from sesight.domain.errors import SettingsError
from sesight.domain.ports import Clock
from sesight.domain.suppression import SuppressionPolicy
from sesight.store.sqlite import SqliteStore, wall_clock

FORMS = "sqlite:///PATH (sqlite:////PATH for one from the root)"
"""The form of a store's URL."""


def open_store(
    url: str,
    *,
    retention_days: int = 90,
    policy: SuppressionPolicy | None = None,
    clock: Clock = wall_clock,
    durability: str = "full",
    busy_timeout_ms: int = 5_000,
) -> SqliteStore:
    """Open the store of a URL, made if it is new.

    `retention_days`: 0 keeps records for ever. `durability` "normal" lets a power failure take the
    last commits (never break the file), for a replay that can be run again.
    Raises SettingsError for a URL or file that cannot be one, StoreTooNew for a file of a newer
    Sesight, StoreUnavailable when it cannot be opened now.
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
    raise SettingsError(f"The store {url!r} is of no known kind: say {FORMS}.")
