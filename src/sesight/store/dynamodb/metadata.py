"""What the store writes down of itself in the control table: retention, the clock, first day, newest
event, list versions; in which days and months there are records; which days a backfill holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

from sesight.domain.timestamps import day_name, day_number
from sesight.store.dynamodb.client import (
    ConditionFailed,
    DynamoClient,
    Item,
    between,
    equals,
    if_version,
    item_key,
    version_of,
)
from sesight.store.dynamodb.keys import LAST_KEY
from sesight.store.retention import (
    ClockState,
    RetentionSetting,
    RetentionState,
    SettingsChange,
)

META = "META"
DAYS = "DAYS"
MONTHS = "MONTHS"
BACKFILL = "BACKFILL"

_LIST = "list:"
"""Prefix of a suppression list's version."""

NEWEST_STEP = 1_000
"""Milliseconds by which the newest intake time must have grown to be written again: a write for each
batch would be one item that all writers contend for.
"""


class DynamoMetadata:
    """The metadata of one store. It remembers what it wrote, so that most batches write nothing."""

    def __init__(self, client: DynamoClient, table: str, *, sweeps: bool) -> None:
        """Use the control table; `sweeps`: this store removes expired records itself."""
        self.sweeps = sweeps
        self.table = table
        self._client = client
        self._newest_event = 0
        self._newest = -NEWEST_STEP
        self._first_day: int | None = None
        self._days: set[tuple[str, int]] = set()
        self._months: dict[tuple[str, int], int] = {}
        self._backfills: dict[tuple[str, int], int] = {}

    def noted(self, name: str) -> int | None:
        """Return a number that was written down."""
        item = self._client.get(self.table, item_key(META, name))
        return int(item["value"]["N"]) if item is not None else None

    def _note_latest(self, name: str, value: int) -> None:
        """Write down a number; the greatest stays."""
        self._note(name, value, "<")

    def _note(self, name: str, value: int, stored_is: str) -> None:
        self._update(
            item_key(META, name),
            UpdateExpression="SET #value = :value",
            ConditionExpression=f"attribute_not_exists(pk) OR #value {stored_is} :value",
            ExpressionAttributeNames={"#value": "value"},
            ExpressionAttributeValues={":value": {"N": str(value)}},
        )

    def _update(self, key: Item, **arguments: Any) -> None:
        """Update an item if its condition holds."""
        with suppress(ConditionFailed):
            self._client("update_item", TableName=self.table, Key=key, **arguments)

    # Retention

    def retention_state(self) -> RetentionState:
        """Return what is written down of retention and, where this store sweeps, of the clock."""
        settings, _ = self._settings()
        if not self.sweeps:
            return RetentionState(settings)
        item = self._client.get(self.table, item_key(META, "clock"))
        if item is not None:
            fields = {name: int(item[name]["N"]) for name in ClockState._fields if name in item}
            clock: ClockState | None = ClockState(**{"known_at": 0, **fields})
        else:
            newest_at = self.noted("newest_at")
            clock = None if newest_at is None else ClockState(newest_at)
        return RetentionState(settings, clock, self.noted("swept_to") or 0, self.noted("event_at"))

    def _settings(self) -> tuple[list[RetentionSetting], int]:
        """Return every retention setting there was, and the version of the list."""
        item = self._client.get(self.table, item_key(META, "retention"))
        if item is None:
            return [], 0
        pairs = [setting["L"] for setting in item["settings"]["L"]]
        settings = [RetentionSetting(int(day["N"]), int(days["N"])) for day, days in pairs]
        return settings, version_of(item)

    def change_settings(self, change: SettingsChange) -> None:
        """Replace the list of settings; `change` is called again after a conflict."""
        while True:
            before, version = self._settings()
            after = change(before)
            if after == before:
                return
            settings = [{"L": [{"N": str(number)} for number in setting]} for setting in after]
            item = {
                **item_key(META, "retention"),
                "settings": {"L": settings},
                "version": {"N": str(version + 1)},
            }
            condition = if_version(version, "pk")
            try:
                self._client("put_item", TableName=self.table, Item=item, **condition)
            except ConditionFailed:
                continue
            return

    def note_clock(self, clock: ClockState) -> None:
        """Write down what is known of the clock."""
        fields = {name: {"N": str(n)} for name, n in clock._asdict().items() if n is not None}
        item = {**item_key(META, "clock"), **fields}
        self._client("put_item", TableName=self.table, Item=item)

    def note_swept_to(self, day: int) -> None:
        """Write down the first UTC day never swept; the latest stays."""
        self._note_latest("swept_to", day)

    # Backfills

    def backfill_began_on(self, stream: str, day: int) -> int | None:
        """Return the day on which the backfill of a send day began, None if there is none."""
        key = (stream, day)
        if key not in self._backfills:
            item = self._client.get(self.table, item_key(f"{BACKFILL}#{stream}", day_name(day)))
            if item is None:
                return None
            self._backfills[key] = int(item["takenOn"]["N"])
        return self._backfills[key]

    def begin_backfill(self, stream: str, day: int, today: int, live_from: int) -> None:
        """Write down that the backfill of a send day begins today, unless one is going on."""
        self._update(
            item_key(f"{BACKFILL}#{stream}", day_name(day)),
            UpdateExpression="SET takenOn = :today",
            ConditionExpression="attribute_not_exists(pk) OR takenOn < :live",
            ExpressionAttributeValues={
                ":today": {"N": str(today)},
                ":live": {"N": str(live_from)},
            },
        )
        self._backfills.pop((stream, day), None)

    def backfilled_days(self, stream: str, until: int, live_from: int) -> list[int]:
        """Return the send days before the day `until` whose backfill began on `live_from` or later."""
        items = self._client.query(
            TableName=self.table,
            **between(("pk", f"{BACKFILL}#{stream}"), ("sk", day_name(0), day_name(until - 1))),
        )
        return [
            day_number(item["sk"]["S"]) for item in items if int(item["takenOn"]["N"]) >= live_from
        ]

    # First and newest

    def note_newest(self, at: int) -> None:
        """Write down an intake time; the latest stays."""
        if at - self._newest >= NEWEST_STEP:
            self._note_latest("newest_at", at)
            self._newest = at

    def lower_newest(self, at: int, limit: int) -> None:
        """Replace an intake time of the newest event that is beyond a limit."""
        self._update(
            item_key(META, "newest_at"),
            UpdateExpression="SET #value = :value",
            ConditionExpression="#value > :limit",
            ExpressionAttributeNames={"#value": "value"},
            ExpressionAttributeValues={":value": {"N": str(at)}, ":limit": {"N": str(limit)}},
        )
        self._newest = min(self._newest, at)

    def note_event(self, at: int) -> None:
        """Write down a time in an SES event; the latest stays. Only a store that sweeps needs it."""
        if self.sweeps and at - self._newest_event >= NEWEST_STEP:
            self._note_latest("event_at", at)
            self._newest_event = at

    def note_first_day(self, day: int) -> None:
        """Write down a send day; the first stays."""
        if self._first_day is None or day < self._first_day:
            self._note("first_day", day, ">")
            self._first_day = day

    # Suppression lists

    def list_version(self, stream: str) -> int:
        """Return the noted version of a stream's suppression list, 0 for none."""
        return self.noted(f"{_LIST}{stream}") or 0

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; the latest stays."""
        self._note_latest(f"{_LIST}{stream}", version)

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Delete the noted versions of the lists of other streams."""
        items = self._client.query(
            TableName=self.table, **between(("pk", META), ("sk", _LIST, _LIST + LAST_KEY))
        )
        others = [
            item_key(META, item["sk"]["S"])
            for item in items
            if item["sk"]["S"].removeprefix(_LIST) not in streams
        ]
        self._client.delete_many(self.table, others)

    # Days and months

    def note_days(self, days: Iterable[tuple[str, int]]) -> None:
        """Write down (stream, UTC send day)s before records of them are written."""
        new = sorted(set(days) - self._days)
        self._client.map(
            lambda day: self._client(
                "put_item",
                TableName=self.table,
                Item=item_key(f"{DAYS}#{day[0]}", day_name(day[1])),
            ),
            new,
        )
        self._days.update(new)

    def note_months(self, months: dict[tuple[str, int], int]) -> None:
        """Write down the latest send day of (stream, statement month)s before records are written."""
        for (stream, month), day in months.items():
            if day <= self._months.get((stream, month), -1):
                continue
            self._update(
                item_key(f"{MONTHS}#{stream}", f"{month:06d}"),
                UpdateExpression="SET lastDay = :day",
                ConditionExpression="attribute_not_exists(pk) OR lastDay < :day",
                ExpressionAttributeValues={":day": {"N": str(day)}},
            )
            self._months[stream, month] = day

    def days(self, stream: str, since: int, until: int | None = None) -> list[int]:
        """Return the send days, in order, of which there may be records; half-open."""
        last = LAST_KEY if until is None else day_name(until - 1)
        items = self._client.query(
            TableName=self.table,
            **between(("pk", f"{DAYS}#{stream}"), ("sk", day_name(since), last)),
        )
        return [day_number(item["sk"]["S"]) for item in items]

    def months(self, stream: str, since: int) -> list[int]:
        """Return the statement months, in order, of which records were sent on a day or later."""
        items = self._client.query(TableName=self.table, **equals(pk=f"{MONTHS}#{stream}"))
        return [int(item["sk"]["S"]) for item in items if int(item["lastDay"]["N"]) >= since]

    def forget_day(self, stream: str, day: int) -> None:
        """Delete the note of a day that has no records any more."""
        key = item_key(f"{DAYS}#{stream}", day_name(day))
        self._client("delete_item", TableName=self.table, Key=key)
        self._days.discard((stream, day))
