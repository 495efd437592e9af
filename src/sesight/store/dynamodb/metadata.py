"""What the store notes of itself in the control table: retention, first and newest, in which send days
and statement months there may be records, and which send days are held for a backfill.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from sesight.domain.timestamps import day_name, day_number
from sesight.store.dynamodb.client import Calls, between, equals
from sesight.store.dynamodb.item_codec import Item, version_of
from sesight.store.retention import Look, Setting, State

META = "META"
DAYS = "DAYS"
MONTHS = "MONTHS"
BACKFILL = "BACKFILL"

NEWEST_STEP = 1_000
"""Milliseconds by which the newest intake time must have grown to be written again."""


class Notes:
    """The notes of one store. Remembers what it wrote, so that most batches write none."""

    def __init__(self, calls: Calls, table: str, *, sweeps: bool) -> None:
        """Look at the control table; `sweeps`: this store itself removes what expired."""
        self._calls = calls
        self._sweeps = sweeps
        self._event = 0
        self._backfilled: dict[tuple[str, int], int] = {}
        self._table = table
        self._newest = -NEWEST_STEP
        self._first: int | None = None
        self._days: set[tuple[str, int]] = set()
        self._months: dict[tuple[str, int], int] = {}

    def _key(self, pk: str, sk: str) -> Item:
        return {"pk": {"S": pk}, "sk": {"S": sk}}

    # Retention

    def state(self) -> State:
        """Return what is written down of retention and, where this store expires records itself, of the
        clock.
        """
        settings, _ = self._settings()
        if not self._sweeps:
            return State(settings)
        item = self._calls.get(self._table, self._key(META, "clock"))
        look = None
        if item is not None:
            seen = [int(item[name]["N"]) if name in item else None for name in Look._fields]
            look = Look(seen[0] or 0, *seen[1:])
        return State(settings, look, self.noted("swept_to") or 0)

    def _settings(self) -> tuple[list[Setting], int]:
        """Return every retention setting there was, and the version of the list."""
        item = self._calls.get(self._table, self._key(META, "retention"))
        if item is None:
            return [], 0
        held = [each["L"] for each in item["settings"]["L"]]
        return [Setting(int(day["N"]), int(kept["N"])) for day, kept in held], version_of(item)

    def change_settings(self, change: Callable[[list[Setting]], list[Setting]]) -> None:
        """Change the list of settings; `change` is asked again when somebody else was faster."""
        while True:
            before, version = self._settings()
            after = change(before)
            if after == before:
                return
            written = {"L": [{"L": [{"N": str(number)} for number in each]} for each in after]}
            try:
                self._calls(
                    "put_item",
                    TableName=self._table,
                    Item={
                        **self._key(META, "retention"),
                        "settings": written,
                        "version": {"N": str(version + 1)},
                    },
                    ConditionExpression="attribute_not_exists(pk) OR version = :before",
                    ExpressionAttributeValues={":before": {"N": str(version)}},
                )
            except self._calls.failure as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
            else:
                return

    def note_look(self, look: Look) -> None:
        """Note what was seen of the clock."""
        seen = {
            name: {"N": str(value)} for name, value in look._asdict().items() if value is not None
        }
        self._calls("put_item", TableName=self._table, Item={**self._key(META, "clock"), **seen})

    def note_swept_to(self, day: int) -> None:
        """Note the first UTC day never swept; the latest stays."""
        self._note("swept_to", day, "<")

    # Backfills

    def taken_on(self, stream: str, day: int) -> int | None:
        """Return the day on which a backfill of a send day began, None if there is none."""
        place = (stream, day)
        if place not in self._backfilled:
            key = self._key(f"{BACKFILL}#{stream}", day_name(day))
            item = self._calls.get(self._table, key)
            if item is None:
                return None
            self._backfilled[place] = int(item["takenOn"]["N"])
        return self._backfilled[place]

    def hold(self, stream: str, day: int, today: int, live_from: int) -> None:
        """Note that a backfill of a send day begins today, unless it has begun and is not over."""
        key = self._key(f"{BACKFILL}#{stream}", day_name(day))
        self._update(
            key,
            UpdateExpression="SET takenOn = :today",
            ConditionExpression="attribute_not_exists(pk) OR takenOn < :live",
            ExpressionAttributeValues={
                ":today": {"N": str(today)},
                ":live": {"N": str(live_from)},
            },
        )
        self._backfilled.pop((stream, day), None)
        self.taken_on(stream, day)

    def backfilled(self, stream: str, until: int, live_from: int) -> list[int]:
        """Return the send days before the day `until` whose backfill began on `live_from` or later."""
        items = self._calls.query(
            TableName=self._table,
            **between(("pk", f"{BACKFILL}#{stream}"), ("sk", day_name(0), day_name(until - 1))),
        )
        return [
            day_number(item["sk"]["S"]) for item in items if int(item["takenOn"]["N"]) >= live_from
        ]

    # First and newest

    def note_newest(self, at: int) -> None:
        """Note an intake time; the latest stays."""
        if at - self._newest < NEWEST_STEP:
            return
        self._note("newest_at", at, "<")
        self._newest = at

    def lower_newest(self, at: int, limit: int) -> None:
        """Note an intake time instead of one that is beyond a limit."""
        self._update(
            self._key(META, "newest_at"),
            UpdateExpression="SET #value = :value",
            ConditionExpression="#value > :limit",
            ExpressionAttributeNames={"#value": "value"},
            ExpressionAttributeValues={":value": {"N": str(at)}, ":limit": {"N": str(limit)}},
        )
        self._newest = min(self._newest, at)

    def note_event(self, at: int) -> None:
        """Note a time that SES said; the latest stays. Only who sweeps asks for it."""
        if self._sweeps and at - self._event >= NEWEST_STEP:
            self._note("event_at", at, "<")
            self._event = at

    def note_first_day(self, day: int) -> None:
        """Note a send day; the first stays."""
        if self._first is not None and day >= self._first:
            return
        self._note("first_day", day, ">")
        self._first = day

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; the latest stays."""
        self._note(f"list:{stream}", version, "<")

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Forget the versions that were noted of the lists of other streams."""
        noted = self._calls.query(
            TableName=self._table, **between(("pk", META), ("sk", "list:", "list:~"))
        )
        others = [
            self._key(META, item["sk"]["S"])
            for item in noted
            if item["sk"]["S"].removeprefix("list:") not in streams
        ]
        self._calls.delete_many(self._table, others)

    def _note(self, name: str, value: int, held: str) -> None:
        self._update(
            self._key(META, name),
            UpdateExpression="SET #value = :value",
            ConditionExpression=f"attribute_not_exists(pk) OR #value {held} :value",
            ExpressionAttributeNames={"#value": "value"},
            ExpressionAttributeValues={":value": {"N": str(value)}},
        )

    def _update(self, key: Item, **arguments: Any) -> None:
        """Update an item if its condition holds."""
        try:
            self._calls("update_item", TableName=self._table, Key=key, **arguments)
        except self._calls.failure as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def noted(self, name: str) -> int | None:
        """Return a noted number."""
        item = self._calls.get(self._table, self._key(META, name))
        return int(item["value"]["N"]) if item is not None else None

    # Days and months

    def note_days(self, places: Iterable[tuple[str, int]]) -> None:
        """Note (stream, UTC send day)s before records of them are written."""
        new = sorted(set(places) - self._days)
        self._calls.each(
            lambda place: self._calls(
                "put_item",
                TableName=self._table,
                Item=self._key(f"{DAYS}#{place[0]}", day_name(place[1])),
            ),
            new,
        )
        self._days.update(new)

    def note_months(self, places: dict[tuple[str, int], int]) -> None:
        """Note the latest send day of (stream, statement month)s before records are written."""
        for (stream, month), day in places.items():
            if day <= self._months.get((stream, month), -1):
                continue
            self._update(
                self._key(f"{MONTHS}#{stream}", f"{month:06d}"),
                UpdateExpression="SET lastDay = :day",
                ConditionExpression="attribute_not_exists(pk) OR lastDay < :day",
                ExpressionAttributeValues={":day": {"N": str(day)}},
            )
            self._months[stream, month] = day

    def days(self, stream: str, since: int, until: int | None = None) -> list[int]:
        """Return the send days, in order, of which there may be records; half-open."""
        last = "~" if until is None else day_name(until - 1)
        items = self._calls.query(
            TableName=self._table,
            **between(("pk", f"{DAYS}#{stream}"), ("sk", day_name(since), last)),
        )
        return [day_number(item["sk"]["S"]) for item in items]

    def months(self, stream: str, since: int) -> list[int]:
        """Return the statement months, in order, of which records were sent on a day or later."""
        items = self._calls.query(TableName=self._table, **equals(pk=f"{MONTHS}#{stream}"))
        return [int(item["sk"]["S"]) for item in items if int(item["lastDay"]["N"]) >= since]

    def forget_day(self, stream: str, day: int) -> None:
        """Take out a day that has no records any more."""
        self._calls(
            "delete_item",
            TableName=self._table,
            Key=self._key(f"{DAYS}#{stream}", day_name(day)),
        )
        self._days.discard((stream, day))
