"""Rollup rows as the sources of `domain.stats`, and how many single records of a campaign are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct, field

from sesight.domain.card import Card
from sesight.domain.rollup import Family
from sesight.domain.stats import StatsSource, Totals, counts_of, totals_of
from sesight.domain.timestamps import DAY, iso
from sesight.services import Services

DetailState = Literal["live", "partly-expired", "expired"]


class Detail(Struct, frozen=True, rename="camel", kw_only=True):
    """How many single records are still kept: those of `covered` of `of` recipients (null: unknown), sent from
    `from` on (null: none), until `until` (null: for ever; in the past: when the last ones expired).
    """

    state: DetailState
    covered: int | None
    of: int
    since: str | None = field(name="from")
    until: str | None


class Days(NamedTuple):
    """UTC days (numbers), half-open."""

    first: int
    end: int

    @property
    def before(self) -> Days:
        """Return the span of the same length just before."""
        return Days(2 * self.first - self.end, self.first)


def days_of(since: int, until: int) -> Days:
    """Return the whole UTC days that a span of times (ms, half-open) touches."""
    return Days(since // DAY, -(-until // DAY))


def day_source(
    services: Services,
    stream: str,
    days: Days | None = None,
    campaign: str = "",
    dimension: str | None = None,
) -> StatsSource:
    """Return the day rows of a stream or campaign. `dimension` None: all rows; "": those without one."""
    since, until = days or (None, None)
    rows = services.store.rollups(Family.DAY, stream, campaign, since, until, dimension)
    return StatsSource(rows, services.tracked(stream))


def hour_source(services: Services, stream: str, hours: Days) -> StatsSource:
    """Return the hour rows of a stream; `hours` are UTC hours (numbers)."""
    rows = services.store.rollups(Family.HOUR, stream, "", hours.first, hours.end, "")
    return StatsSource(rows, services.tracked(stream))


def totals_over(
    services: Services, streams: Iterable[str], days: Days | None, campaign: str = ""
) -> Totals:
    """Return the totals of streams, or of a campaign in each, over days."""
    rows = [
        row
        for stream in streams
        for row in day_source(services, stream, days, campaign, dimension="").rows
    ]
    return totals_of(counts_of(rows))


def first_live_day(services: Services) -> int:
    """Return the first UTC day (number) whose records are kept now."""
    return services.store.live_from(services.clock())


def detail_of(services: Services, card: Card, recipients: int) -> Detail:
    """Return how many records of a campaign with so many recipients are still kept."""
    live = first_live_day(services)
    first = (card.first_sent_at or 0) // DAY
    last = (card.last_sent_at or 0) // DAY
    until = iso(services.store.expires_at(last))
    if last < live:
        return Detail(state="expired", covered=0, of=recipients, since=None, until=until)
    if first >= live:
        since = iso(card.first_sent_at)
        return Detail(state="live", covered=recipients, of=recipients, since=since, until=until)
    covered = totals_over(services, [card.stream], Days(live, last + 1), card.campaign).recipients
    return Detail(
        state="partly-expired",
        covered=covered,
        of=recipients,
        since=iso(live * DAY),
        until=until,
    )
