"""Send days that a backfill brought events of: their records are kept as if sent when it began."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sesight.domain.ports import Clock
from sesight.domain.rollup import Family
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb.metadata import DynamoMetadata
from sesight.store.dynamodb.rollups import RollupRows
from sesight.store.dynamodb.tables import StreamTables
from sesight.store.retention import REREAD_AFTER, Retention

REMEMBERED = 10_000
"""(stream, send day)s without a backfill that are remembered."""


class Backfills:
    """The backfills of all streams, for the writers of records."""

    def __init__(
        self,
        streams: Mapping[str, StreamTables],
        metadata: DynamoMetadata,
        rollups: RollupRows,
        retention: Retention,
        clock: Clock,
    ) -> None:
        self._streams = streams
        self._metadata = metadata
        self._rollups = rollups
        self._retention = retention
        self._clock = clock
        self._without_backfill: dict[tuple[str, int], int] = {}
        """When (stream, send day)s were last seen to have no backfill."""

    def _has_totals(self, stream: str, day: int) -> bool:
        return bool(self._rollups.read(Family.DAY, stream, "", day, day + 1, ""))

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a send day are final; see the port."""
        # totals first: a backfill is noted before anything of it is counted
        if stream not in self._streams or not self._has_totals(stream, day):
            return False
        began_on = self._metadata.backfill_began_on(stream, day)
        return began_on is None or began_on < live_from

    def hold(self, days: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Hold (stream, send day)s from today on, unless they are held or have totals; return the days
        held, each with the day on which its backfill began.
        """
        now = self._clock()
        today, live_from = self._retention.trusted_time(now) // DAY, self._retention.live_from(now)
        held_days = {}
        for stream, day in sorted(days):
            began_on = self._metadata.backfill_began_on(stream, day)
            if (began_on is None or began_on < live_from) and not self._has_totals(stream, day):
                self._metadata.begin_backfill(stream, day, today, live_from)
            began_on = self._metadata.backfill_began_on(stream, day)
            if began_on is not None and began_on >= live_from:
                held_days[stream, day] = began_on
                self._without_backfill.pop((stream, day), None)
        return held_days

    def kept_since(self, stream: str, day: int) -> int:
        """Return the day as of which records of a send day are kept: the day its backfill began, else
        the send day. A day expires as a whole, whoever wrote its records.

        That a day has no backfill is remembered for a minute.
        """
        now, key = self._clock(), (stream, day)
        if 0 <= now - self._without_backfill.get(key, -REREAD_AFTER) < REREAD_AFTER:
            return day
        began_on = self._metadata.backfill_began_on(stream, day)
        if began_on is not None and began_on >= self._retention.live_from(now):
            return max(day, began_on)
        if len(self._without_backfill) >= REMEMBERED:
            self._without_backfill.clear()
        self._without_backfill[key] = now
        return day
