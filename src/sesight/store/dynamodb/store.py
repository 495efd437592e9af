"""The DynamoDB store: for many writers at once, where one machine is not enough. Each method forwards to
the module that does it.

A batch is not one transaction (see `commit`), and rollups follow from the change feed (see
`rollup_aggregator`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.timestamps import DAY
from sesight.store.dynamodb import commit, expiry
from sesight.store.dynamodb.change_feed import AwaitedChanges, ChangeFeedReader
from sesight.store.dynamodb.client import DynamoClient
from sesight.store.dynamodb.components import open_components
from sesight.store.dynamodb.connection import (
    LOCAL_PATIENCE,
    client_of,
    create_tables,
    parse_url,
    session_of,
)
from sesight.store.dynamodb.rollup_aggregator import Aggregator
from sesight.store.dynamodb.tables import control_table, tables_of
from sesight.store.message_log import PageRequest, held_of_message
from sesight.store.suppressions import SuppressionSearch

if TYPE_CHECKING:
    from sesight.domain.card import Card
    from sesight.domain.ports import (
        Changes,
        Clock,
        RecordFilter,
        RecordKey,
        RecordPage,
        SuppressionPage,
        SweepResult,
        View,
    )
    from sesight.domain.quarantine import Quarantined
    from sesight.domain.record import Record
    from sesight.domain.rollup import RollupRow, Rollups
    from sesight.domain.stream import Stream
    from sesight.domain.suppression.item import Suppression

FEED_LAG = 90.0
"""Seconds within which changes come by the feed: batches wait for up to a minute to fill."""

COMPACTED_FOR = 10 * DAY
"""Milliseconds after a campaign's last event for which its rows are checked for old parts."""


class DynamoStore:
    """`sesight.domain.ports.Store` in DynamoDB tables. Any thread may use it, all at once."""

    def __init__(
        self,
        region: str,
        streams: Mapping[str, Stream],
        *,
        endpoint: str | None = None,
        prefix: str = "",
        retention_days: int | None = None,
        policy: SuppressionPolicy | None = None,
        clock: Clock,
    ) -> None:
        """Open the tables of a region.

        An `endpoint` is a local engine: this process creates missing tables there, deletes expired
        records and follows the change feed, as AWS does by itself. Raises SettingsError if the tables
        do not exist, StoreUnavailable.
        """
        self._clock = clock
        self._is_local = endpoint is not None
        self._is_closed = False
        session, options = session_of(region, endpoint)
        self.client = client = DynamoClient(client_of(session, options))
        self._streams_client = partial(session.create_client, "dynamodbstreams", **options)
        self.tables = tables = tables_of(streams, prefix)
        self._feed: ChangeFeedReader | None = None
        self._awaited = AwaitedChanges(tables)
        if self._is_local:
            self.limit_time(lambda: LOCAL_PATIENCE)
            create_tables(client, streams, prefix)
        try:
            self._parts = open_components(
                client,
                tables,
                prefix,
                retention_days,
                SuppressionPolicy() if policy is None else policy,
                clock,
                is_local=self._is_local,
            )
        except client.failure as error:
            self.close()
            raise SettingsError(
                f"The table {control_table(prefix).name} in {region} cannot be used: {error}."
            ) from None
        except StoreUnavailable:
            self.close()
            raise
        self.retention = self._parts.retention
        self.sending = self._parts.send_log

    # The client

    def close(self) -> None:
        """Release threads and connections; on a local engine, bring rollups up to date first."""
        if self._is_closed:
            return
        if self._is_local and self._awaited:
            self.limit_time(lambda: LOCAL_PATIENCE)
            self.settle()
        self._is_closed = True
        self.client.close()
        if self._feed is not None:
            self._feed.close()

    def limit_time(self, remaining: Callable[[], float]) -> None:
        """Let calls be retried only while there is time: `remaining` returns the seconds left. A Lambda
        function passes what is left to it, less what it needs for its response.
        """
        self.client.remaining = remaining

    @property
    def throttled(self) -> Mapping[str, int]:
        """Return how often each table or index was throttled so far."""
        return self.client.throttled

    @property
    def conflicts(self) -> int:
        """Return how many records were decided again so far, after another writer changed them first."""
        return self.client.conflicts

    def lock_for_server(self) -> None:
        """Do nothing: any number of servers may use the tables at once."""

    def find_damage(self) -> str | None:
        """Return None: DynamoDB checks its data itself."""
        return None

    def sync(self) -> None:
        """Do nothing: what was committed is durable."""

    def settle(self) -> None:
        """Follow the change feed until rollups agree with what was committed here; on AWS, wait for as
        long as the aggregator function usually takes.
        """
        if not self._is_local:
            self.client.sleep(FEED_LAG)
            return
        if self._feed is None:
            aggregator = Aggregator(self.client, self.tables, self._clock)
            tables = [table.name for of_stream in self.tables.values() for table in of_stream[:2]]
            self._feed = ChangeFeedReader(self._streams_client(), self.client, aggregator, tables)
        self._feed.follow(self._awaited)

    def do_idle_work(self) -> None:
        """Follow the change feed if no Lambda function does."""
        if self._is_local:
            self.settle()

    # Writing

    def transact(self, fold: Callable[[View], Changes]) -> set[RecordKey]:
        """Run `fold` over a view and commit what it returns; see the port."""
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        unwritten, versions = commit.transact(self._parts, fold)
        self._awaited.add(versions)
        return unwritten

    def bounded(self, rollups: Rollups) -> Rollups:
        """Return increments under the rows that hold them: values beyond the bound as `~other`."""
        return self._parts.registered_values.bounded(rollups, register=False)

    def repair(self, missing: Rollups) -> None:
        """Add increments to rollup rows, and sum the totals of their campaigns anew; see the port."""
        self._parts.rollups.repair(self._parts.registered_values.bounded(missing, register=True))

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Delete what was kept long enough; up to `limit` records where DynamoDB does not do it."""
        return expiry.sweep(self._parts, now, limit)

    def compact(self, now: int) -> int:
        """Compact old parts of rollup rows; return how many were deleted. Once a day is enough."""
        return sum(
            self._parts.rollups.compact(
                stream, now, self._parts.cards.active(stream, now - COMPACTED_FOR)
            )
            for stream in self.tables
        )

    # The message log

    def messages(
        self,
        filter_: RecordFilter,
        limit: int,
        cursor: str | None,
        now: int,
        *,
        newer: bool = False,
    ) -> RecordPage:
        """Return a page of records; see the port."""
        request = PageRequest(limit, cursor, newer)
        return self._parts.message_log.page(filter_, request, self.live_from(now))

    def message(self, message_id: str, now: int) -> list[Record]:
        """Return all records of one message that are still held, `*` last."""
        records = commit.new_view(self._parts).records([message_id]).get(message_id, [])
        return held_of_message(records, self.live_from(now))

    def held_days(self, stream: str, now: int) -> list[int]:
        """Return the send days of which records are held, in order; see the port."""
        return self._parts.message_log.held_days(stream, self.live_from(now))

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not, in order of the send."""
        return self._parts.message_log.records_of_day(stream, day)

    # Rollups and cards

    def rollups(
        self,
        family: str,
        stream: str,
        campaign: str = "",
        since: int | None = None,
        until: int | None = None,
        dimension: str | None = None,
    ) -> list[RollupRow]:
        """Return rows of one family and scope; see the port."""
        return self._parts.rollups.read(family, stream, campaign, since, until, dimension)

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's day rows summed over all days; see the port."""
        return self._parts.rollups.campaign_totals(stream, campaign)

    def cards(self, streams: Collection[str]) -> list[tuple[Card, Sequence[int]]]:
        """Return every card with its campaign's total."""
        return self._parts.cards.get_all(streams, self._parts.rollups)

    def card(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        return self._parts.cards.get(stream, campaign)

    # Suppressions and the quarantine

    def suppression(self, stream: str, address: str) -> Suppression | None:
        """Return one item, as it is at this moment."""
        return self._parts.suppressions.get_many([(stream, address)]).get((stream, address))

    def suppressions_of(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items that can block the addresses in a stream; see the port."""
        return self._parts.suppressions.get_blocking(stream, addresses)

    def suppressions(
        self,
        stream: str,
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> SuppressionPage:
        """Return a page of items in order of the address; see the port."""
        search = SuppressionSearch(prefix, reason, active)
        return self._parts.suppressions.page(stream, limit, after, search)

    def suppressions_due(self, now: int, limit: int) -> list[Suppression]:
        """Return counted items whose time to block is over at `now`, the longest over first."""
        return self._parts.suppressions.due(now, limit)

    def suppressions_counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every counted item of a stream, in order of the address."""
        return self._parts.suppressions.counted(stream)

    def quarantine(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return quarantined bodies, newest first."""
        return self._parts.quarantine.newest(limit, reason)

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many bodies are quarantined, by reason."""
        return self._parts.quarantine.counts()

    # DynamoMetadata

    def live_from(self, now: int) -> int:
        """Return the first UTC send day (number) that is not expired at `now` (epoch ms)."""
        return self.retention.live_from(now)

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        return self.retention.expires_at(day)

    def newest_at(self) -> int | None:
        """Return when the newest applied event was taken in, to the second."""
        return self._parts.metadata.noted("newest_at")

    def first_day(self) -> int | None:
        """Return the first UTC send day the store ever held."""
        return self._parts.metadata.noted("first_day")

    def list_version(self, stream: str) -> int:
        """Return the noted version of a stream's suppression list; see the port."""
        return self._parts.metadata.list_version(stream)

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; see the port."""
        self._parts.metadata.note_list_version(stream, version)

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Forget the noted versions of other lists; see the port."""
        self._parts.metadata.keep_list_versions(streams)


def open_aggregator(url: str, streams: Mapping[str, Stream], clock: Clock) -> Aggregator:
    """Return the aggregator for the change feeds of the tables that a store's URL names. Raises
    SettingsError for a URL of another kind.
    """
    region, endpoint, prefix = parse_url(url)
    session, options = session_of(region, endpoint)
    client = DynamoClient(session.create_client("dynamodb", **options))
    return Aggregator(client, tables_of(streams, prefix), clock)
