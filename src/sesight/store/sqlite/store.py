"""The SQLite store: one writer, many readers, one file. Each method forwards to the module that does it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.store.clock import wall_clock
from sesight.store.message_log import PageRequest
from sesight.store.retention import Retention
from sesight.store.sqlite import (
    backup,
    cards,
    commit,
    expiry,
    message_log,
    open_dimensions,
    quarantine,
    rollups,
    suppressions,
)
from sesight.store.sqlite.connection_pool import ConnectionPool
from sesight.store.sqlite.metadata import SqliteMetadata
from sesight.store.sqlite.send_log import SqliteSendLog
from sesight.store.suppressions import SuppressionSearch

if TYPE_CHECKING:
    from sesight.domain.card import Card
    from sesight.domain.ports import (
        Changes,
        Clock,
        RecordFilter,
        RecordKey,
        RecordPage,
        SuppressionPage,
        SweepResult,
        View,
    )
    from sesight.domain.quarantine import Quarantined
    from sesight.domain.record import Record
    from sesight.domain.rollup import RollupRow, Rollups
    from sesight.domain.suppression.item import Suppression


class SqliteStore:
    """`sesight.domain.ports.Store` in one SQLite file. Any thread may use it; writes take turns."""

    def __init__(
        self,
        path: Path,
        *,
        retention_days: int | None = None,
        policy: SuppressionPolicy | None = None,
        clock: Clock = wall_clock,
        durability: str = "full",
        busy_timeout_ms: int = 5_000,
    ) -> None:
        """Open or make the file. `durability` is full, normal (a power failure may take the last
        commits) or off. `retention_days` apply if they are longer than the store's own; shorten them
        by `retention.shorten`. Raises SettingsError, StoreTooNew, StoreUnavailable.
        """
        self._clock = clock
        self._policy = SuppressionPolicy() if policy is None else policy
        self._pool = ConnectionPool(path, busy_timeout_ms, durability)
        self._metadata = SqliteMetadata(self._pool)
        try:
            self.retention = Retention(self._metadata, clock, retention_days)
        except BaseException:
            self.close()
            raise
        self.sending = SqliteSendLog(self._pool)

    # The file

    def lock_for_server(self) -> None:
        """Lock the store for a server until it is closed. Raises SettingsError if another has it."""
        self._pool.lock_for_server()

    def close(self) -> None:
        """Copy the WAL into the file and close it."""
        self._pool.close()

    def sync(self) -> None:
        """Make durable what was committed so far, which the durability `normal` alone does not do."""
        self._pool.sync(self._clock())

    def settle(self) -> None:
        """Do nothing: rollups are committed with their records."""

    def do_idle_work(self) -> None:
        """Copy from the WAL into the file what no reader still needs."""
        self._pool.checkpoint()

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Copy the store to a new file while it is used; `progress` receives (pages left, all pages)."""
        backup.backup(self._pool, path, progress)

    def find_damage(self) -> str | None:
        """Return the first damage found in a quick look at the whole file, None if none."""
        return backup.quick_check(self._pool)

    def check_integrity(self) -> list[str]:
        """Return all damage found in the file."""
        return backup.integrity_check(self._pool)

    # Writing

    def transact(self, fold: Callable[[View], Changes]) -> set[RecordKey]:
        """Run `fold` over a view and commit what it returns, whole; durable when this returns."""
        commit.transact(fold, self._pool, self.retention, self._policy, self._clock())
        return set()

    def bounded(self, rollups: Rollups) -> Rollups:
        """Return increments under the rows that hold them: values beyond the bound as `~other`."""
        return self._pool.write(open_dimensions.bounded, rollups)

    def repair(self, missing: Rollups) -> None:
        """Add increments to rollup rows, and sum the totals of their campaigns anew; see the port."""
        self._pool.write(rollups.repair, missing)

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Delete up to `limit` expired records, and what was kept long enough beside them."""
        return expiry.sweep(self._pool, self.retention, now, limit)

    # The message log

    def messages(
        self,
        filter_: RecordFilter,
        limit: int,
        cursor: str | None,
        now: int,
        *,
        newer: bool = False,
    ) -> RecordPage:
        """Return a page of records; see the port."""
        request, live_from = PageRequest(limit, cursor, newer), self.live_from(now)
        with self._pool.reading() as (connection, values):
            return message_log.page(connection, values, filter_, request, live_from)

    def message(self, message_id: str, now: int) -> list[Record]:
        """Return all records of one message that are still held, `*` last."""
        live_from = self.live_from(now)
        with self._pool.reading() as (connection, values):
            return message_log.message(connection, values, message_id, live_from)

    def held_days(self, stream: str, now: int) -> list[int]:
        """Return the send days of which records are held, in order; see the port."""
        return self._pool.read(message_log.held_days, stream, self.live_from(now))

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not."""
        return message_log.records_of_day(self._pool, stream, day)

    # Rollups and cards

    def rollups(
        self,
        family: str,
        stream: str,
        campaign: str = "",
        since: int | None = None,
        until: int | None = None,
        dimension: str | None = None,
    ) -> list[RollupRow]:
        """Return rows of one family and scope; see the port."""
        return self._pool.read(rollups.read, family, stream, campaign, since, until, dimension)

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's day rows summed over all days; see the port."""
        return self._pool.read(rollups.campaign_totals, stream, campaign)

    def cards(self, streams: Collection[str]) -> list[tuple[Card, Sequence[int]]]:
        """Return every card with its campaign's total."""
        return self._pool.read(cards.get_all, streams)

    def card(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        return self._pool.read(cards.get, stream, campaign)

    # Suppressions and the quarantine

    def suppression(self, stream: str, address: str) -> Suppression | None:
        """Return one item."""
        return self._pool.read(suppressions.get, stream, address)

    def suppressions_of(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items that can block the addresses in a stream; see the port."""
        return self._pool.read(suppressions.get_blocking, stream, addresses)

    def suppressions(
        self,
        stream: str,
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> SuppressionPage:
        """Return a page of items in order of the address; see the port."""
        search = SuppressionSearch(prefix, reason, active)
        return self._pool.read(suppressions.page, stream, limit, after, search)

    def suppressions_due(self, now: int, limit: int) -> list[Suppression]:
        """Return counted items whose time to block is over at `now`, the longest over first."""
        return self._pool.read(suppressions.due, now, limit)

    def suppressions_counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every counted item of a stream, in order of the address."""
        return suppressions.counted(self._pool, stream)

    def quarantine(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return quarantined bodies, newest first."""
        return self._pool.read(quarantine.newest, limit, reason)

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many bodies are quarantined, by reason."""
        return self._pool.read(quarantine.counts)

    # SqliteMetadata

    def live_from(self, now: int) -> int:
        """Return the first UTC send day (number) that is not expired at `now` (epoch ms)."""
        return self.retention.live_from(now)

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        return self.retention.expires_at(day)

    def newest_at(self) -> int | None:
        """Return when the newest applied event was taken in."""
        return self._metadata.noted("newest_at")

    def first_day(self) -> int | None:
        """Return the first UTC send day the store ever held."""
        return self._metadata.noted("first_day")

    def list_version(self, stream: str) -> int:
        """Return the noted version of a stream's suppression list; see the port."""
        return self._metadata.list_version(stream)

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; see the port."""
        self._metadata.note_list_version(stream, version)

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Forget the noted versions of other lists; see the port."""
        self._metadata.keep_list_versions(streams)
