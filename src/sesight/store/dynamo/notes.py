"""What the store notes of itself in the control table: retention, first and newest, and in which
send days and statement months there may be records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sesight.domain.text import day_name, day_number
from sesight.store.dynamo.calls import Calls, between, equals
from sesight.store.dynamo.items import Item
from sesight.store.retention import Setting

META = "META"
DAYS = "DAYS"
MONTHS = "MONTHS"

NEWEST_STEP = 1_000
"""Milliseconds by which the newest intake time must have grown to be written again."""


class Notes:
    """The notes of one store. Remembers what it wrote, so that most batches write none."""

    def __init__(self, calls: Calls, table: str) -> None:
        """Look at the control table."""
        self._calls = calls
        self._table = table
        self._newest = -NEWEST_STEP
        self._first: int | None = None
        self._days: set[tuple[str, int]] = set()
        self._months: dict[tuple[str, int], int] = {}

    def _key(self, pk: str, sk: str) -> Item:
        return {"pk": {"S": pk}, "sk": {"S": sk}}

    # Retention

    def retention(self, days: int, today: int) -> list[Setting]:
        """Return every retention setting there was; that of now is added if it differs."""
        key = self._key(META, "retention")
        while True:
            item = self._calls.get(self._table, key)
            held = [each["L"] for each in item["settings"]["L"]] if item else []
            settings = [Setting(int(day["N"]), int(kept["N"])) for day, kept in held]
            if settings and settings[-1].days == days:
                return settings
            settings.append(Setting(today, days))
            written = {
                "L": [{"L": [{"N": str(number)} for number in setting]} for setting in settings]
            }
            try:
                self._calls(
                    "put_item",
                    TableName=self._table,
                    Item={**key, "settings": written, "version": {"N": str(len(settings))}},
                    ConditionExpression="attribute_not_exists(pk) OR version = :before",
                    ExpressionAttributeValues={":before": {"N": str(len(held))}},
                )
            except self._calls.failure as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
            else:
                return settings

    # First and newest

    def note_newest(self, at: int) -> None:
        """Note an intake time; the latest stays."""
        if at - self._newest < NEWEST_STEP:
            return
        self._note("newest_at", at, "<")
        self._newest = at

    def note_first_day(self, day: int) -> None:
        """Note a send day; the first stays."""
        if self._first is not None and day >= self._first:
            return
        self._note("first_day", day, ">")
        self._first = day

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
