"""The recount: whether totals equal the sums of the records still kept, and of the suppressions."""

from __future__ import annotations

from operator import add, sub
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple

from sesight.domain.counting import tally_of
from sesight.domain.rollup import (
    HOURS_KEPT,
    Deltas,
    Family,
    RollupKey,
    RollupRow,
    Rollups,
    add_suppressed,
)
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from sesight.domain.card import Card
    from sesight.domain.counting import Counting
    from sesight.domain.ports import Store

TRIES = 5
"""How often a day is read while events change it."""

TOTAL = "total"
"""The family under which differences of a campaign's totals are reported."""

_ZERO = (0,) * len(COUNTERS)


class Difference(Struct, frozen=True, rename="camel"):
    """One counter of one row that differs from the sum of the records. With the `family` `total`, a campaign's
    total (multi_day, or of one value of a dimension) differs from the sum of its days.
    """

    family: str
    stream: str
    campaign: str
    bucket: int
    dimension: str
    value: str
    counter: str
    stored: int
    recounted: int


class Frozen(Struct, frozen=True):
    """The first and last send day (numbers) whose totals cannot be checked, because their records expired."""

    first: int
    last: int


class Recount(Struct, rename="camel"):
    """The result of a recount. `increments` repair the rows; `outdated` records would count differently by
    today's rules; `moving` days changed during the recount; `unchecked` names what else was not compared.
    """

    days: int = 0
    records: int = 0
    differences: list[Difference] = []
    outdated: int = 0
    frozen: Frozen | None = None
    moving: list[int] = []
    unchecked: list[str] = []
    increments: Rollups = {}


def recount(
    store: Store,
    counting: Counting,
    now: int,
    streams: Iterable[str],
    progress: Callable[[int, int, int], None] | None = None,
) -> Recount:
    """Compare every row whose records are all kept with the sum of their tallies, and the counts of suppressed
    addresses with the items.

    A server may go on meanwhile: rows are read before and after the records of a day, and compared only if
    they did not change in between. In a store whose rollups lag behind its records, changes on their way look
    like differences; so if there are any, the store settles, the comparison is made twice more, and
    only differences result both times count. `progress` is called with the days done, their total, and the
    records so far. Raises StoreUnavailable.
    """
    streams = tuple(streams)
    result = _compare_all(store, counting, now, streams, progress)
    if result.increments:  # these changes may only be on their way
        store.settle()
        result = _compare_all(store, counting, now, streams, progress)
    if result.increments:  # and others may have begun since
        store.settle()
        result = _in_both(result, _compare_all(store, counting, now, streams, progress))
    return result


def _in_both(first: Recount, again: Recount) -> Recount:
    """Return the second result with only those differences that are the same in both."""
    steady = {key for key, n in again.increments.items() if first.increments.get(key) == n}
    moved = len(again.increments.keys() - steady)
    before = {_missing(difference) for difference in first.differences}
    again.differences = [
        difference for difference in again.differences if _missing(difference) in before
    ]
    again.increments = {key: again.increments[key] for key in steady}
    if moved:
        again.unchecked.append(f"{moved} rows that changed between two comparisons: recount again")
    return again


def _missing(difference: Difference) -> tuple[str | int, ...]:
    """Return the place of a difference and the number missing there."""
    return *astuple(difference)[:-2], difference.recounted - difference.stored


def _compare_all(
    store: Store,
    counting: Counting,
    now: int,
    streams: Collection[str],
    progress: Callable[[int, int, int], None] | None,
) -> Recount:
    result = Recount(differences=[], moving=[], unchecked=[], increments={})
    for stream in streams:
        _check_suppressed(store, stream, result)
    first_day = store.first_day()
    if first_day is None:
        return result
    live = store.live_from(now)
    days_by_stream = {stream: _days(store, stream, live, now) for stream in streams}
    gone = {stream: _frozen(store, stream, live, days) for stream, days in days_by_stream.items()}
    frozen = [day for days in gone.values() for day in days]
    if frozen:
        result.frozen = Frozen(min(frozen), max(frozen))
        result.unchecked.append("statement months: some of their send days may be past retention")
    total = sum(map(len, days_by_stream.values()))
    for stream, days in days_by_stream.items():
        cards = [card for card, _ in store.cards([stream])]
        multi_day = _MultiDayRows(store, stream, cards, gone[stream], months=not frozen)
        for day in days:
            _check_day(store, counting, stream, day, now, cards, multi_day, result)
            result.days += 1
            if progress is not None:
                progress(result.days, total, result.records)
        multi_day.check(result)
        _check_totals(store, stream, cards, result)
    return result


def _check_suppressed(store: Store, stream: str, result: Recount) -> None:
    """Compare the counts of suppressed addresses with the items that count."""
    for _ in range(TRIES):
        before = _suppressed(store, stream)
        counted: Rollups = {}
        for item in store.suppressions_counted(stream):
            add_suppressed(counted, None, item)
        if before == _suppressed(store, stream):
            _compare(before, counted, result)
            return
    result.unchecked.append(f"suppressions of {stream}, which kept changing")


def _suppressed(store: Store, stream: str) -> Rollups:
    return {row.key: list(row.counts) for row in store.rollups(Family.SUPPRESSED, stream)}


def _days(store: Store, stream: str, live: int, now: int) -> list[int]:
    """Return the days that have records, or totals and are not past retention."""
    counted = store.rollups(Family.DAY, stream, "", live, None, "")
    return sorted({*store.held_days(stream, now), *(row.key.bucket for row in counted)})


def _frozen(store: Store, stream: str, live: int, kept: Collection[int]) -> set[int]:
    """Return the days past retention that have totals and whose records are gone."""
    counted = store.rollups(Family.DAY, stream, "", None, live, "")
    return {row.key.bucket for row in counted if any(row.counts)}.difference(kept)


def _check_day(
    store: Store,
    counting: Counting,
    stream: str,
    day: int,
    now: int,
    cards: Collection[Card],
    multi_day: _MultiDayRows,
    result: Recount,
) -> None:
    campaigns = {card.campaign for card in cards if day in _send_days(card)}
    oldest_hour = now // HOUR - HOURS_KEPT
    for _ in range(TRIES):
        before = _stored_day(store, stream, campaigns, day, oldest_hour)
        deltas = Deltas()
        records = outdated = 0
        for record in store.records_of_day(stream, day):
            records += 1
            if record.tally is not None:
                deltas.add(None, record.tally)
            if record.tally != tally_of(record, counting):
                outdated += 1
        rows = store.bounded(deltas.rows())
        named = {key.campaign for key in rows if key.campaign}
        if not named <= campaigns:
            campaigns |= named
            continue
        if before == _stored_day(store, stream, campaigns, day, oldest_hour):
            break
    else:
        result.moving.append(day)
        multi_day.unsure |= campaigns
        return
    result.records += records
    result.outdated += outdated
    recounted = {}
    for key, counts in rows.items():
        if key.family == Family.DAY or (key.family == Family.HOUR and key.bucket >= oldest_hour):
            recounted[key] = counts
        elif key.family != Family.HOUR:
            multi_day.add(key, counts)
    _compare(before, recounted, result)


def _stored_day(
    store: Store, stream: str, campaigns: Iterable[str], day: int, oldest_hour: int
) -> Rollups:
    rows = [
        row
        for campaign in ("", *sorted(campaigns))
        for row in store.rollups(Family.DAY, stream, campaign, day, day + 1)
    ]
    hours = max(day * 24, oldest_hour)
    if hours < (day + 1) * 24:
        rows += store.rollups(Family.HOUR, stream, "", hours, (day + 1) * 24)
    return {row.key: list(row.counts) for row in rows}


def _compare(stored: Rollups, recounted: Rollups, result: Recount) -> None:
    for key in {**stored, **recounted}:
        was: Sequence[int] = stored.get(key, _ZERO)
        now: Sequence[int] = recounted.get(key, _ZERO)
        if list(was) == list(now):
            continue
        result.increments[key] = list(map(sub, now, was))
        _report(key, was, now, result)


def _report(key: RollupKey, was: Sequence[int], now: Sequence[int], result: Recount) -> None:
    for counter, stored, counted in zip(COUNTERS, was, now, strict=True):
        if stored != counted:
            result.differences.append(Difference(*key, counter, stored, counted))


def _send_days(card: Card) -> range:
    """Return the days from a campaign's first send to its last."""
    return range((card.first_sent_at or 0) // DAY, (card.last_sent_at or 0) // DAY + 1)


class _MultiDayRows:
    """Rows that sum over several send days, which must all be kept: ages and links of campaigns, and months."""

    def __init__(
        self, store: Store, stream: str, cards: Iterable[Card], frozen: set[int], *, months: bool
    ) -> None:
        self._store = store
        self._stream = stream
        self._months = months
        self._campaigns = [card.campaign for card in cards if frozen.isdisjoint(_send_days(card))]
        self._rows: Rollups = {}
        self.unsure: set[str] = set()
        """Campaigns with a day that kept changing while it was read."""
        self._before = self._stored()

    def add(self, key: RollupKey, counts: list[int]) -> None:
        sums = self._rows.get(key)
        if sums is None:
            self._rows[key] = counts
        else:
            for at, n in enumerate(counts):
                sums[at] += n

    def check(self, result: Recount) -> None:
        """Compare the rows that did not change while the days were read."""
        after = self._stored()
        moved = {
            (key.family, key.campaign)
            for key in {**self._before, **after}
            if self._before.get(key) != after.get(key)
        }
        sure = {
            (family, campaign)
            for campaign in self._campaigns
            if campaign not in self.unsure
            for family in (Family.AGE, Family.LINK)
        }
        if self._months and not self.unsure:
            sure.add((Family.MONTH, ""))
        sure -= moved
        if moved or self.unsure:
            names = {campaign or "months" for _, campaign in moved} | self.unsure
            result.unchecked.append(
                f"ages, links and months of {self._stream} that changed meanwhile: "
                + ", ".join(sorted(names))
            )

        def certain(rows: Rollups) -> Rollups:
            return {key: n for key, n in rows.items() if (key.family, key.campaign) in sure}

        _compare(certain(after), certain(self._rows), result)

    def _stored(self) -> Rollups:
        store, stream = self._store, self._stream
        rows = [
            row
            for campaign in self._campaigns
            for family in (Family.AGE, Family.LINK)
            for row in store.rollups(family, stream, campaign)
        ]
        if self._months:
            rows += store.rollups(Family.MONTH, stream)
        return {row.key: list(row.counts) for row in rows if any(row.counts)}


def _check_totals(store: Store, stream: str, cards: Iterable[Card], result: Recount) -> None:
    """Compare each campaign's totals with the sum of its repaired days, expired ones too."""
    repaired: dict[str, list[RollupRow]] = {}
    for key, change in result.increments.items():
        if key.family == Family.DAY and key.stream == stream:
            repaired.setdefault(key.campaign, []).append(RollupRow(key, change))
    for campaign in (card.campaign for card in cards):
        stored = _totals(store.campaign_totals(stream, campaign))
        days = store.rollups(Family.DAY, stream, campaign)
        if stored != _totals(store.campaign_totals(stream, campaign)):
            continue  # it changed meanwhile
        summed = _totals([*days, *repaired.get(campaign, [])])
        for key in {**stored, **summed}:
            was, now = stored.get(key, _ZERO), summed.get(key, _ZERO)
            if list(was) != list(now):
                _report(key, was, now, result)
                # nothing is added: a repair sums the days of every campaign that one of its keys names
                anew = RollupKey(Family.DAY, stream, campaign, 0, "", "")
                result.increments.setdefault(anew, list(_ZERO))


def _totals(rows: Iterable[RollupRow]) -> Rollups:
    """Sum rows over their buckets."""
    sums: Rollups = {}
    for key, counts in rows:
        total = key._replace(family=TOTAL, bucket=0)
        sums[total] = list(map(add, sums.get(total, _ZERO), counts))
    return sums
