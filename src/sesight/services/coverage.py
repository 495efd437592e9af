"""How many recipients a list of records has, and what of it is past retention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sesight.domain.card import Card
from sesight.domain.ports import RecordFilter
from sesight.domain.record import Record
from sesight.domain.rollup import Family
from sesight.domain.stats import Totals, counts_of, totals_of
from sesight.domain.timestamps import DAY, day_number, iso, month_name
from sesight.services import Services
from sesight.services.answers import Missing, Total
from sesight.services.figures import Days, first_live_day, totals_over
from sesight.services.query import LAST_DAY

_COUNTED = {
    "delivered": ("delivered",),
    "soft_bounced": ("soft_bounced",),
    "bounced": ("bounced",),
    "suppressed": ("suppressed",),
    "rejected": ("rejected",),
    "failed": ("failed",),
    "not_delivered": ("soft_bounced", "bounced", "suppressed", "rejected", "failed"),
    "pending": ("pending",),
}
"""Outcome words that totals count, with the totals' fields."""


class Coverage(NamedTuple):
    """What a list has, and what is missing of what was asked for."""

    total: Total | None
    partial: list[Missing]


def coverage(
    services: Services,
    wanted: RecordFilter,
    cards: Sequence[Card],
    records: Sequence[Record],
    *,
    is_whole: bool,
) -> Coverage:
    """Return how many recipients the list of a filter has, None where only counting its rows would tell,
    and the part of it that is past retention.

    `cards` are those of the campaign asked for; `records` are some of the list, all if it `is_whole`.
    """
    first = (wanted.since or 0) // DAY
    end = LAST_DAY + 1 if wanted.until is None else -(-wanted.until // DAY)
    live = first_live_day(services)
    gone = _totals(services, wanted, Days(first, min(end, live)))
    is_counted = _is_counted(services, wanted, cards)
    covered: int | None = None
    has_uncounted = False
    if is_whole:
        covered = sum(not record.is_unattributed for record in records)
        has_uncounted = covered < len(records)
    elif is_counted:
        held = _totals(services, wanted, Days(max(first, live), end))
        covered = _number(held, wanted)
        nobody = held.unattributed_opens or held.unattributed_clicks
        tests = [each for each in records if services.counting.is_test(each.recipient)]
        has_uncounted = bool((nobody and not wanted.outcomes) or tests)
    partial = _expired(services, wanted, gone, covered, is_counted=is_counted)
    if covered is None or not is_counted:
        return Coverage(None, partial)
    return Coverage(Total(covered, exact=not partial and not has_uncounted), partial)


def _totals(services: Services, wanted: RecordFilter, days: Days) -> Totals:
    return totals_over(services, wanted.streams, days, wanted.campaign or "")


def _is_counted(services: Services, wanted: RecordFilter, cards: Sequence[Card]) -> bool:
    """Return whether totals count just what the filter lets through: whole days, all or a campaign,
    every outcome or those that are counted.
    """
    by_row = (wanted.address, wanted.month, wanted.event)
    are_whole_days = all(end is None or end % DAY == 0 for end in (wanted.since, wanted.until))
    return (
        all(given is None for given in by_row)
        and are_whole_days
        and (wanted.provider is None or _is_all_from(services, wanted.provider, cards))
        and set(wanted.outcomes) <= _COUNTED.keys()
    )


def _is_all_from(services: Services, provider: str, cards: Sequence[Card]) -> bool:
    """Return whether asking for the provider leaves nothing out."""
    return services.providers == (provider,) or (
        bool(cards) and all(card.provider == provider for card in cards) and provider == "ses"
    )


def _number(totals: Totals, wanted: RecordFilter) -> int:
    if not wanted.outcomes:
        return totals.recipients
    counted = {name for word in wanted.outcomes for name in _COUNTED[word]}
    return sum(getattr(totals, name) for name in counted)


def _expired(
    services: Services, wanted: RecordFilter, gone: Totals, covered: int | None, *, is_counted: bool
) -> list[Missing]:
    """Return what is past retention, given the totals of the days that are; how many it was is only
    told where totals count what was asked for.
    """
    live = first_live_day(services)
    of: int | None = None
    if not gone.recipients:
        return []
    if is_counted and covered is not None:
        missing = _number(gone, wanted)
        if missing == 0:
            return []
        of = covered + missing
    elif wanted.month is not None:
        of = _sent_for_month(services, wanted)
        began_live = day_number(f"{month_name(wanted.month)}-01") >= live
        # a statement may be sent in another month than its own: where all are known, they are compared
        is_whole = covered is not None and of is not None and covered >= of
        if of == 0 or is_whole or (began_live and (covered is None or of is None)):
            return []
    return [
        Missing(
            part="messages",
            reason="detail-expired",
            as_of=iso(live * DAY),
            covered=covered,
            of=of,
        )
    ]


def _sent_for_month(services: Services, wanted: RecordFilter) -> int | None:
    """Return the recipients of a statement month, None if the filter asks for a part of them."""
    others = (wanted.campaign, wanted.address, wanted.provider, wanted.event)
    times = (wanted.since, wanted.until)
    if any(given is not None for given in (*others, *times)) or wanted.outcomes:
        return None
    rows = [
        row
        for stream in wanted.streams
        for row in services.store.rollups(
            Family.MONTH, stream, since=wanted.month, until=(wanted.month or 0) + 1, dimension=""
        )
    ]
    return totals_of(counts_of(rows)).recipients
