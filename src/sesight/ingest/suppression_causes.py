"""What the events of a batch say for or against suppressing an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from sesight.domain.event import campaign_of
from sesight.domain.record import least
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import (
    Cause,
    Removal,
    Suppression,
    SuppressionReason,
    with_cause,
    with_removal,
)
from sesight.domain.suppression.policy import causes_of, removal_of, streams_in_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesight.domain.event import Event, Report
    from sesight.ingest.rules import Rules


class SuppressionCauses:
    """Causes, removals and spellings by (stream, address)."""

    def __init__(self, rules: Rules) -> None:
        self._counting = rules.counting
        self._policy = rules.suppression
        self._causes: dict[tuple[str, str], list[Cause]] = {}
        self._removals: dict[tuple[str, str], list[Removal]] = {}
        self._spellings: dict[tuple[str, str], str] = {}

    def add_event(self, event: Event, stream: str) -> None:
        """Add what all reports of an event say."""
        for report in event.reports:
            self.add(event, report, stream)

    def add(self, event: Event, report: Report, stream_id: str) -> None:
        """Add what one report of an event says."""
        streams, is_test = self._counting.streams, self._counting.is_test
        # a stream that is gone from the settings counts as marketing, the kind with the wider scope
        stream = streams.get(stream_id) or Stream(stream_id, stream_id, "marketing", "")
        campaign = campaign_of(event.identity.tags)
        for address, cause in causes_of(event, report, stream, campaign, self._policy):
            if is_test(address):
                continue
            for name in streams_in_scope(cause.scope, stream_id, streams):
                place = (name, address)
                self._causes.setdefault(place, []).append(cause)
                if report.spelling is not None and address == report.recipient:
                    self._spellings[place] = least(self._spellings.get(place), report.spelling)

        removal = removal_of(report, stream)
        if removal is not None and not is_test(report.recipient):
            for name in streams_in_scope(self._policy.unsubscribed, stream_id, streams):
                self._removals.setdefault((name, report.recipient), []).append(removal)

    @property
    def places(self) -> dict[tuple[str, str], None]:
        """Return the (stream, address)es of which anything is said."""
        return dict.fromkeys([*self._causes, *self._removals])

    def join_into(self, item: Suppression | None, place: tuple[str, str]) -> Suppression:
        """Return the item of a place, joined with what the batch says of it."""
        item = item or Suppression(*place)
        for cause in self._causes.get(place, ()):
            item = with_cause(item, *place, cause)
        for removal in self._removals.get(place, ()):
            item = with_removal(item, removal)
        spelling = least(item.spelling, self._spellings.get(place))
        return item if spelling == item.spelling else replace(item, spelling=spelling)

    def soft_bounces(self) -> Iterator[tuple[tuple[str, str], Cause]]:
        """Yield the soft bounces, with their places."""
        for place, causes in self._causes.items():
            for cause in causes:
                if cause.reason == SuppressionReason.SOFT_BOUNCES:
                    yield place, cause
