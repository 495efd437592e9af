"""Expiry: deleting expired records where DynamoDB's own expiry does not, and what is kept beside them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from sesight.domain.ports import SweepResult
from sesight.store.dynamodb.client import DynamoClient
from sesight.store.dynamodb.message_log import MessageLog
from sesight.store.dynamodb.metadata import Metadata
from sesight.store.dynamodb.quarantine import Quarantine
from sesight.store.dynamodb.rollups import RollupRows
from sesight.store.dynamodb.send_log import DynamoSendLog
from sesight.store.dynamodb.tables import StreamTables
from sesight.store.retention import Retention


class Sweeper:
    """Deletes what is past its time from the tables of one store."""

    def __init__(
        self,
        client: DynamoClient,
        streams: Mapping[str, StreamTables],
        metadata: Metadata,
        retention: Retention,
        message_log: MessageLog,
        send_log: DynamoSendLog,
        rollups: RollupRows,
        quarantine: Quarantine,
    ) -> None:
        self._client = client
        self._streams = streams
        self._metadata = metadata
        self._retention = retention
        self._message_log = message_log
        self._send_log = send_log
        self._rollups = rollups
        self._quarantine = quarantine

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Delete old hour rows and quarantined bodies and, on a local engine, up to `limit` expired
        records and as many intents: on AWS, DynamoDB deletes these itself.
        """
        is_local = self._metadata.sweeps
        if is_local:
            self._retention.observe_clock(now)
        trusted = self._retention.trusted_time(now)
        live_from = self._retention.live_from(now)
        records = self._sweep_records(limit, live_from) if is_local else 0
        hours = sum(self._rollups.sweep_hours(stream, trusted) for stream in self._streams)
        quarantined = self._quarantine.sweep(trusted)
        intents = self._send_log.sweep(trusted, limit) if is_local else 0
        return SweepResult(records, intents, quarantined, hours, live_from, doubted=trusted != now)

    def _sweep_records(self, limit: int, live_from: int) -> int:
        """Delete up to `limit` records sent before the UTC day `live_from`, except those held for a
        backfill; return how many.
        """
        deleted = 0
        for stream in self._streams:
            held = self._metadata.backfilled_days(stream, live_from, live_from)
            for day in self._metadata.days(stream, 0, live_from):
                if deleted < limit and day not in held:
                    self._metadata.note_swept_to(day + 1)
                    deleted += self._sweep_day(stream, day, limit - deleted)
        return deleted

    def _sweep_day(self, stream: str, day: int, limit: int) -> int:
        entries = list(islice(self._message_log.entries_of_day(stream, day), limit))
        table = self._streams[stream].tracking.name
        self._client.delete_many(table, [entry.key for entry in entries])
        if len(entries) < limit:
            self._metadata.forget_day(stream, day)
        return len(entries)
