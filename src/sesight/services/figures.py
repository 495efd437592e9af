"""From the store's rollup rows to what `domain.stats` makes figures of, and how much detail is left."""

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
    """How much is still held one by one: `covered` `of` all recipients (null: not known), sent from
    `from` on (null: none), held until `until` (null: for ever; past: when the last ones went).
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
        """Return the span of equal length just before."""
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
    """Return day rows of a stream or campaign; `dimension` None: all, "": without one."""
    since, until = days or (None, None)
    rows = services.store.rollups(Family.DAY, stream, campaign, since, until, dimension)
    return StatsSource(rows, services.tracked(stream))


def hour_source(services: Services, stream: str, hours: Days) -> StatsSource:
    """Return hour rows of a stream; `hours` are UTC hours (numbers)."""
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
    """Return the first UTC day (number) of which records are held now."""
    return services.store.live_from(services.clock())


def detail_of(services: Services, card: Card, recipients: int) -> Detail:
    """Return how much of a campaign with so many recipients is still held one by one."""
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
