"""How many recipients a list of records has, and which part of it is past retention."""

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
"""Outcome words that totals count, with the fields of the totals."""


class Coverage(NamedTuple):
    """The total of a list, and the parts of the query that the list lacks."""

    total: Total | None
    partial: list[Missing]


def coverage(
    services: Services,
    filter_: RecordFilter,
    cards: Sequence[Card],
    records: Sequence[Record],
    *,
    is_whole: bool,
) -> Coverage:
    """Return how many recipients the list of a filter has, and the part of it that is past retention.

    The total is None if only counting all rows would tell. `cards` are those of the filter's campaign;
    `records` are a page of the list, or all of it if `is_whole`.
    """
    first = (filter_.since or 0) // DAY
    end = LAST_DAY + 1 if filter_.until is None else -(-filter_.until // DAY)
    live = first_live_day(services)
    expired_totals = _totals(services, filter_, Days(first, min(end, live)))
    is_counted = _is_counted(services, filter_, cards)
    covered: int | None = None
    has_uncounted = False
    if is_whole:
        covered = sum(not record.is_unattributed for record in records)
        has_uncounted = covered < len(records)
    elif is_counted:
        kept = _totals(services, filter_, Days(max(first, live), end))
        covered = _number(kept, filter_)
        unattributed = kept.unattributed_opens or kept.unattributed_clicks
        has_tests = any(services.counting.is_test(record.recipient) for record in records)
        has_uncounted = bool(unattributed and not filter_.outcomes) or has_tests
    partial = _expired(services, filter_, expired_totals, covered, is_counted=is_counted)
    if covered is None or not is_counted:
        return Coverage(None, partial)
    return Coverage(Total(covered, exact=not partial and not has_uncounted), partial)


def _totals(services: Services, filter_: RecordFilter, days: Days) -> Totals:
    return totals_over(services, filter_.streams, days, filter_.campaign or "")


def _is_counted(services: Services, filter_: RecordFilter, cards: Sequence[Card]) -> bool:
    """Return whether totals count exactly what the filter selects: whole days, of all mail or a campaign, of
    every outcome or of outcomes that are counted.
    """
    by_row = (filter_.address, filter_.month, filter_.event)
    are_whole_days = all(end is None or end % DAY == 0 for end in (filter_.since, filter_.until))
    return (
        all(value is None for value in by_row)
        and are_whole_days
        and (filter_.provider is None or _is_all_from(services, filter_.provider, cards))
        and set(filter_.outcomes) <= _COUNTED.keys()
    )


def _is_all_from(services: Services, provider: str, cards: Sequence[Card]) -> bool:
    """Return whether filtering by the provider excludes nothing."""
    return services.providers == (provider,) or (
        bool(cards) and all(card.provider == provider for card in cards) and provider == "ses"
    )


def _number(totals: Totals, filter_: RecordFilter) -> int:
    if not filter_.outcomes:
        return totals.recipients
    counted = {name for word in filter_.outcomes for name in _COUNTED[word]}
    return sum(getattr(totals, name) for name in counted)


def _expired(
    services: Services,
    filter_: RecordFilter,
    expired_totals: Totals,
    covered: int | None,
    *,
    is_counted: bool,
) -> list[Missing]:
    """Return the part past retention, given the totals of the days past retention. The number of its
    recipients is known only if totals count exactly what the filter selects.
    """
    live = first_live_day(services)
    of: int | None = None
    if not expired_totals.recipients:
        return []
    if is_counted and covered is not None:
        missing = _number(expired_totals, filter_)
        if missing == 0:
            return []
        of = covered + missing
    elif filter_.month is not None:
        of = _sent_for_month(services, filter_)
        began_live = day_number(f"{month_name(filter_.month)}-01") >= live
        # a statement may be sent in another month than its own, so the counts decide where both are known
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


def _sent_for_month(services: Services, filter_: RecordFilter) -> int | None:
    """Return the recipients of a statement month, None if the filter selects a part of them."""
    others = (filter_.campaign, filter_.address, filter_.provider, filter_.event)
    times = (filter_.since, filter_.until)
    if any(value is not None for value in (*others, *times)) or filter_.outcomes:
        return None
    rows = [
        row
        for stream in filter_.streams
        for row in services.store.rollups(
            Family.MONTH, stream, since=filter_.month, until=(filter_.month or 0) + 1, dimension=""
        )
    ]
    return totals_of(counts_of(rows)).recipients
