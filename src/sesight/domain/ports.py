"""Ports: what the domain and the services need from stores. The adapters in `sesight.store` implement them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from msgspec import Struct

from sesight.domain.card import Card
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.rollup import RollupRow, Rollups
from sesight.domain.sending import (
    Intent,
    Pause,
    Resumption,
    SendBatch,
    SendState,
)
from sesight.domain.suppression.item import Suppression

Clock = Callable[[], int]
"""Returns the current time, epoch milliseconds UTC."""


class RecordKey(NamedTuple):
    """What identifies a record."""

    message_id: str
    recipient: str


class Changes(Struct):
    """What one batch changes in a store. Committed as a whole, or per record by a store that cannot.

    - `records`: each record after the batch; the one before is what the view returned.
    - `rollups`: the increments of each row. A store that derives rollups from its change feed ignores them.
    - `released`: ids of quarantined bodies that are now folded in or given up.
    - `backfilled`: (stream, UTC send day) pairs of which a backfill brought events. Unless the store has
      totals of the day already, its records are kept from now on as if they were sent today.
    - `event_at`: the newest time (ms) that the provider states in the events. A store checks its clock by it.
    - `afterwards`: returns further changes of suppressions, given a view in which these changes are stored.
      Called in the same transaction, or else repeatedly until it changes nothing more.
    - `awaiting`: returns the keys that stay unstored while `afterwards` could not be completed.
    """

    records: dict[RecordKey, Record] = {}
    suppressions: dict[tuple[str, str], Suppression] = {}
    rollups: Rollups = {}
    cards: dict[tuple[str, str], Card] = {}
    quarantined: list[Quarantined] = []
    released: list[str] = []
    newest_at: int | None = None
    afterwards: Callable[[View], Changes] | None = None
    backfilled: Collection[tuple[str, int]] = ()
    event_at: int | None = None
    awaiting: Callable[[], set[RecordKey]] = set


class View(Protocol):
    """What a batch can read before it decides, in the same transaction."""

    @property
    def written(self) -> AbstractSet[RecordKey | str]:
        """Return the keys of the records, and the ids of the quarantined bodies, that this batch has already
        written: empty unless the batch is processed again after a conflict.
        """
        ...

    def records(
        self,
        message_ids: Collection[str],
        recipients: Callable[[], Mapping[str, Collection[str]]] | None = None,
    ) -> dict[str, list[Record]]:
        """Return all records of each message, by message id; unknown messages are left out.

        If `recipients` is given, it returns message ids with the recipients that matter: records of other
        recipients of these messages may be left out. A store that reads all of them at one cost does not call it.
        """
        ...

    def suppressions(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Suppression]:
        """Return the existing items of (stream, address) pairs."""
        ...

    def of_address(
        self, stream: str, address: str, messages: Collection[str] = ()
    ) -> Iterable[Record]:
        """Return the records of an address in a stream. An index may lag behind; records of the messages
        named are complete all the same.
        """
        ...

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return the quarantined bodies with the reason `unrouted` of any of the messages, and of the messages
        asked for before: when a batch is processed again, a message may be known that was new to it.
        """
        ...

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies with this reason the quarantine accepts, and how many bytes."""
        ...

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a UTC send day before the day `live_from` are final: the store has totals
        of the day, and does not keep its records for a running backfill.
        """
        ...


class RecordPage(Struct):
    """A page of records, newest send first.

    `cursor` continues after this page, None at the end. `searched_to` is the send time (ms) at which the
    search stopped early. `newer` is the cursor with which `messages(…, newer=True)` returns the page above.
    """

    records: list[Record]
    cursor: str | None
    searched_to: int | None
    newer: str | None = None


class RecordFilter(Struct, frozen=True, kw_only=True):
    """Which records to return. Times are those of the send, epoch ms, half-open.

    `outcomes` are outcome words or facts of `ATTENTION`, such as complained; `event` is the value of an
    EventType that the record must have.
    """

    streams: tuple[str, ...]
    campaign: str | None = None
    address: str | None = None
    month: int | None = None
    provider: str | None = None
    event: str | None = None
    outcomes: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None


class SuppressionPage(NamedTuple):
    """A page of suppression items in the order of their addresses (`@domain` for whole domains). `after` is
    where the next page continues, None at the end.
    """

    items: list[Suppression]
    after: str | None


class SweepResult(Struct, frozen=True):
    """How many of each kind a sweep removed. `expired_to` is the first UTC day (number) that is not expired.
    `doubted`: the clock is implausibly far ahead, so nothing was considered expired by it.
    """

    records: int
    intents: int
    quarantined: int
    hours: int
    expired_to: int
    doubted: bool = False

    @property
    def most(self) -> int:
        """Return the larger of the numbers of records and intents. If it reaches the limit of the sweep, more
        may be left.
        """
        return max(self.records, self.intents)


class Store(Protocol):
    """Everything that Sesight stores. Every method raises `StoreUnavailable` while the store cannot be reached."""

    def transact(self, fold: Callable[[View], Changes]) -> set[RecordKey]:
        """Call `fold` with a view and commit the changes it returns; they are durable when this returns.

        `fold` depends on nothing but the view, and may be called again after a conflict, for a part of the
        records. Returns the keys that could not be stored now; none in a store that commits a batch as one.
        """
        ...

    def messages(
        self,
        filter_: RecordFilter,
        limit: int,
        cursor: str | None,
        now: int,
        *,
        newer: bool = False,
    ) -> RecordPage:
        """Return a page of records. Records past retention at `now` are never included.

        With `newer`, return the page above the cursor (a page's `newer`), also newest first. Raises
        InvalidRequest for a cursor of another filter and for unknown words.
        """
        ...

    def message(self, message_id: str, now: int) -> list[Record]:
        """Return all records of one message that are not expired, the record `*` last."""
        ...

    def rollups(
        self,
        family: str,
        stream: str,
        campaign: str = "",
        since: int | None = None,
        until: int | None = None,
        dimension: str | None = None,
    ) -> list[RollupRow]:
        """Return the rows of a family and scope, buckets half-open. `dimension` None returns rows of every
        dimension, "" those without one.

        Rows in which every counter is 0 are left out: whether such a row exists depends on how events were
        batched, which must not show.
        """
        ...

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's rows of the family `day`, summed over all days including expired ones: one row
        for each dimension and value (`~other` too), with bucket 0, ordered by dimension and value.

        The store keeps these sums, so the cost does not grow with the campaign's age. They equal the sum of
        `rollups("day", stream, campaign)`. Rows in which every counter is 0 are left out.
        """
        ...

    def cards(self, streams: Collection[str]) -> list[tuple[Card, Sequence[int]]]:
        """Return every card with the totals of its campaign: the counters of the row of `campaign_totals`
        without a dimension, all 0 if there is none.
        """
        ...

    def card(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        ...

    def suppression(self, stream: str, address: str) -> Suppression | None:
        """Return one item."""
        ...

    def suppressions_of(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items that can block the addresses in a stream at this moment: their own and those of
        their domains, by address or `@domain`. One call for any number of addresses.
        """
        ...

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
        """Return items of a stream whose addresses begin with `prefix`, after the address `after`.

        `reason` selects items that are counted under it; `active` those that are counted, or those that are
        not. A page may be short: only `after` None is the end.
        """
        ...

    def quarantine(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return quarantined bodies, newest first."""
        ...

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many bodies are quarantined, by reason."""
        ...

    def suppressions_due(self, now: int, limit: int) -> list[Suppression]:
        """Return items that are counted as active and whose end is not after `now`."""
        ...

    def suppressions_counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every item of a stream that is counted as active, for recount."""
        ...

    def bounded(self, rollups: Rollups) -> Rollups:
        """Return increments under the rows that store them. A scope has rows for a limited number of values of
        a dimension; further values share the row `~other`.
        """
        ...

    def live_from(self, now: int) -> int:
        """Return the first UTC send day (number) that is not expired at `now` (epoch ms).

        A store that removes expired records itself ignores a `now` far ahead of the time it knows, and a
        day it has removed stays expired if the clock goes back.
        """
        ...

    def repair(self, rollups: Rollups) -> None:
        """Add the increments that a recount found missing. Then sum `campaign_totals` again from the day rows,
        for every campaign named by a key, including keys whose increments are all 0 (these make no row).
        Runs in one transaction, or so that an interrupted repair can be repeated.
        """
        ...

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        ...

    def newest_at(self) -> int | None:
        """Return the intake time (epoch ms) of the newest applied event."""
        ...

    def first_day(self) -> int | None:
        """Return the first UTC send day (number) that the store ever had, None while it is empty."""
        ...

    def list_version(self, stream: str) -> int:
        """Return the noted version of a stream's suppression list, 0 for none."""
        ...

    def note_list_version(self, stream: str, version: int) -> None:
        """Note that a stream's suppression list has inherited everything as of a version."""
        ...

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Delete the noted versions of the lists of all other streams."""
        ...

    def held_days(self, stream: str, now: int) -> Iterable[int]:
        """Return the send days (numbers) of which the store has records: days that are not expired, and days
        kept for a backfill, which no other method returns.
        """
        ...

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not, for recount and reclassify."""
        ...

    def sync(self) -> None:
        """Flush the commits so far to disk, for a store that was opened with less durability."""
        ...

    def settle(self) -> None:
        """Wait until the rollups include all commits so far."""
        ...

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Remove up to `limit` expired records (their totals stay) and as many intents older than `INTENTS_KEPT`
        days, with old batches, hour rows and quarantined bodies.
        """
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


SuppressionCheck = Callable[[str, Collection[Suppression]], str | None]
"""Given a stream and the items of an address and its domain there, returns the reason why the address must
not be sent to, or None.
"""


class SendLog(Protocol):
    """The log of intended messages and their results, kept for `INTENTS_KEPT` days. Every write is durable when
    it returns. Every method raises `StoreUnavailable` while the store cannot be reached.
    """

    def begin(self, batch: SendBatch) -> SendBatch:
        """Record a batch and return it, or return the recorded batch with its id.

        An unfinished batch whose lease has ended at `batch.at` is first leased to `batch.holder` until
        `batch.leased_until`; its other fields stay. The caller has the lease if the returned batch names it
        as the holder.
        """
        ...

    def hold(self, batch: str, holder: str, until: int) -> bool:
        """Set the end of the holder's lease (ms); the current time releases it. Return whether the holder still
        had the lease.
        """
        ...

    def finish(self, batch: str, at: int) -> None:
        """Note that every intent of a batch was tried."""
        ...

    def reopen(self, batch: SendBatch) -> SendBatch:
        """Like `begin`, but a finished batch becomes unfinished again."""
        ...

    def batch(self, id_: str) -> SendBatch | None:
        """Return one batch."""
        ...

    def claim(self, intents: Sequence[Intent], blocks: SuppressionCheck) -> list[Intent]:
        """Record intents before the provider is called; return what is then recorded for each, in order.

        An intent is recorded if its batch has none with its key, or has one in a state of `RESUMABLE`. Of
        several with the same key in one call, only the first is. The address is checked in the same
        transaction (or after the intents are written and before this returns), so a suppression committed
        before the claim is never missed; an intent of a suppressed address is recorded as suppressed, with
        the reason as its code. The caller may send exactly those that are returned as intended with the
        `send_id` it gave.
        """
        ...

    def settle(self, intents: Sequence[Intent]) -> None:
        """Record the results of intents.

        A result replaces the intent with the same batch, key and send_id, and one with another send_id if
        neither was sent (`RESUMABLE`). It is recorded as new if there is no intent of its key. The counts of
        `withheld` follow.
        """
        ...

    def intents(
        self, batch: str, limit: int, after: str | None = None, states: Collection[SendState] = ()
    ) -> list[Intent]:
        """Return intents of a batch in the order of their keys, after the key `after`; only those in one of the
        states if any are given.
        """
        ...

    def progress(self, batch: str) -> dict[SendState, int]:
        """Return how many intents of a batch are in each state."""
        ...

    def withheld(self, stream: str, campaign: str) -> dict[SendState, int]:
        """Return how many intents of a campaign were recorded in each state of `WITHHELD`. The counts outlive
        the intents.
        """
        ...

    def pauses(self) -> dict[str, Pause]:
        """Return the pauses of all paused streams, by stream."""
        ...

    def pause(self, pause: Pause) -> None:
        """Pause a stream. A stream that is already paused keeps its first reason."""
        ...

    def resume(self, resumption: Resumption) -> Pause | None:
        """Resume a stream; return the pause that ended, None if it was not paused."""
        ...

    def resumption(self, stream: str) -> Resumption | None:
        """Return the latest resumption of a stream."""
        ...
