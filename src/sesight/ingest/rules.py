"""The rules of intake: what the settings say of counting, suppression, retention and routing."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from sesight.domain.counting import Counting
from sesight.domain.suppression.policy import SuppressionPolicy


class Rules(Struct, frozen=True, kw_only=True):
    """What the settings say of intake.

    `live_from` returns the first UTC send day (number) that is not expired at a time (ms). `backfill`
    accepts events of earlier send days too, except those whose totals are final. An empty `accounts`
    accepts every AWS account.
    """

    counting: Counting
    suppression: SuppressionPolicy
    live_from: Callable[[int], int]
    ignore_sets: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    backfill: bool = False

    @property
    def sets(self) -> dict[str, str]:
        """Return the stream id of each configuration set."""
        return {stream.configuration_set: stream.id for stream in self.counting.streams.values()}

    @property
    def known_sets(self) -> frozenset[str]:
        """Return the configuration sets whose events are certain not to be quarantined, so that their
        bodies need not be kept. None while events are also routed by account.
        """
        return frozenset() if self.accounts else frozenset(self.sets)
