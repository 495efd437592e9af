"""What the inside asks of the outside: stores, logs of sending, clocks.

Adapters implement these; `app` chooses them.
"""

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
"""Returns now, epoch milliseconds UTC."""


class RecordKey(NamedTuple):
    """What a record is known by."""

    message_id: str
    recipient: str


class Changes(Struct):
    """What one batch does to a store, committed whole (or, where a store cannot, per record).

    `records` maps to the record after (the one before is what the view gave; None: it is new).
    `rollups` holds one increment per counter of each row; a store that derives rollups from its own
    change feed ignores them. `released` are ids of quarantined bodies now folded in or given up.
    `backfilled` are (stream, UTC send day)s that a backfill took events of: unless the store has totals
    of them already, they are kept from now on as if sent today. `event_at` is the newest time that
    SES says in them (ms), by which a store judges its clock.
    `afterwards` gives what must further change of suppressions, over a view in which all of this is
    stored: asked in the same transaction, or else again and again until it changes nothing more.
    `awaiting` returns the keys of those that are not stored while that could not be done.
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
    """What a batch may read before it decides, inside the same transaction."""

    @property
    def written(self) -> AbstractSet[RecordKey | str]:
        """Return the keys of records, and the ids of bodies, that the batch itself has written by now:
        none but where it is decided again.
        """
        ...

    def records(
        self,
        message_ids: Collection[str],
        wanted: Callable[[], Mapping[str, Collection[str]]] | None = None,
    ) -> dict[str, list[Record]]:
        """Return every record of each of the messages (missing ones are left out). Of a message in
        what `wanted` gives, records to others than the recipients named there may be left out too;
        a store that finds all at one price does not ask.
        """
        ...

    def suppressions(
        self, wanted: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Suppression]:
        """Return the items of the (stream, address)es that have one."""
        ...

    def of_address(
        self, stream: str, address: str, messages: Collection[str] = ()
    ) -> Iterable[Record]:
        """Return the records the address has in the stream. A store's index may be a moment behind;
        the records of the messages named are not missing for that.
        """
        ...

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return quarantined bodies with the reason `unrouted` for any of the messages, and for those
        asked for before: a batch that is decided again may find a message known that was new to it.
        """
        ...

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason the quarantine takes, and how many bytes."""
        ...

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a UTC send day before the day `live_from` are final: there are
        some, and its records are not held for a backfill that goes on.
        """
        ...


class RecordPage(Struct):
    """One page of records, newest send first. `cursor` continues after the last one looked at, None
    at the end; `searched_to` is the send time (ms) the search got to when it stopped early; `newer`
    is the cursor from which `messages(…, newer=True)` gives what comes before the first one.
    """

    records: list[Record]
    cursor: str | None
    searched_to: int | None
    newer: str | None = None


class RecordFilter(Struct, frozen=True, kw_only=True):
    """Which records a page is of. Times are epoch ms, half-open, of the send.

    `outcomes` are outcome words, or facts of `ATTENTION` such as complained; `event` is an
    EventType's value that the record must have; `after`/`before` are cursors of a page.
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
    """One page of suppression items in the order of their addresses (`@domain` for whole ones).
    `after` is the last one looked at, from which to go on; None at the end.
    """

    items: list[Suppression]
    after: str | None


class SweepResult(Struct, frozen=True):
    """What a sweep removed, how many of each; `expired_to`: the first UTC day (number) not expired;
    `doubted`: the clock is too far ahead of what is known to be right, and nothing expired by it.
    """

    records: int
    intents: int
    quarantined: int
    hours: int
    expired_to: int
    doubted: bool = False

    @property
    def most(self) -> int:
        """Return how many records or intents went, whichever are more: as many as the limit means
        that there may be more.
        """
        return max(self.records, self.intents)


class Store(Protocol):
    """Everything Sesight keeps. Any method raises `StoreUnavailable` when the store is away."""

    def transact(self, fold: Callable[[View], Changes]) -> set[RecordKey]:
        """Run `fold` over a view and commit what it returns; durable when this returns.

        `fold` is pure but for the view and may be called again after a conflict, for part of the
        records. Returns the keys that could not be stored now (always none where a store commits
        a batch as one).
        """
        ...

    def messages(
        self, wanted: RecordFilter, limit: int, cursor: str | None, now: int, *, newer: bool = False
    ) -> RecordPage:
        """Return a page of records; those past retention at `now` are never in it.

        `newer`: the rows next above the cursor (a page's `newer`), newest first all the same.
        Raises InvalidRequest for a cursor that is not of this filter and for unknown words.
        """
        ...

    def message(self, message_id: str, now: int) -> list[Record]:
        """Return all records of one message that are still held, `*` last."""
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
        """Return rows of one family and scope, buckets half-open; `dimension` None: all, "": none.

        A row of nothing but 0 is not among them: whether a sum has been anything else on the way
        depends on how events were cut into batches, which must not show.
        """
        ...

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's rows of family `day` summed over all its days, expired ones too: one
        row per dimension and value that has a day row (`~other` too), with bucket 0.

        As cheap for a campaign of years as for one of a day: a store keeps these sums. They agree
        with `rollups("day", stream, campaign)` wherever that agrees with the commits; rows of
        nothing but 0 are missing here too. Ordered by dimension and value.
        """
        ...

    def cards(self, streams: Collection[str]) -> list[tuple[Card, Sequence[int]]]:
        """Return every card with its campaign's total: the counts of the row of `campaign_totals`
        without a dimension, all 0 where there is none.
        """
        ...

    def card(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        ...

    def suppression(self, stream: str, address: str) -> Suppression | None:
        """Return one item."""
        ...

    def suppressions_of(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items that can block the addresses in a stream, as they are at this moment: their
        own and those of their whole domains, by address or `@domain`. One call, whatever the number.
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
        """Return items of a stream whose address begins with `prefix`, after one of them.

        `reason`: those that count under it; `active`: those that count, or those that do not. A page
        may be short; only `after` None is the end.
        """
        ...

    def quarantine(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return quarantined bodies, newest first."""
        ...

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many bodies are quarantined, by reason."""
        ...

    def suppressions_due(self, now: int, limit: int) -> list[Suppression]:
        """Return items that count as active and whose time to block is over at `now`."""
        ...

    def suppressions_counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every item of a stream that counts as active (`counted` is set), for recount."""
        ...

    def bounded(self, rollups: Rollups) -> Rollups:
        """Return increments under the rows that keep them: a scope has rows for a bounded number of
        values of a dimension, further ones share `~other`.
        """
        ...

    def live_from(self, now: int) -> int:
        """Return the first UTC send day (number) that is not expired at `now` (epoch ms).

        Where the store itself removes what expired, a `now` far ahead of what it knows of the time
        does not count; and what it removed stays expired though a clock goes back.
        """
        ...

    def repair(self, rollups: Rollups) -> None:
        """Add increments that a recount found missing, and sum `campaign_totals` anew from the day
        rows so mended for every campaign named by a key, also by increments of nothing but 0 (which
        make no row). In one transaction, or so that a repair cut off can be repeated.
        """
        ...

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        ...

    def newest_at(self) -> int | None:
        """Return when the newest applied event was taken in."""
        ...

    def first_day(self) -> int | None:
        """Return the first UTC send day (number) the store ever held, None while it is empty."""
        ...

    def list_version(self, stream: str) -> int:
        """Return the version that was noted of a stream's suppression list, 0 for none."""
        ...

    def note_list_version(self, stream: str, version: int) -> None:
        """Note that a stream's suppression list has taken over what it should by a version."""
        ...

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Forget the versions that were noted of the lists of other streams than these."""
        ...

    def held_days(self, stream: str, now: int) -> Iterable[int]:
        """Return the send days (numbers) of which records are still held: those not expired, and those
        held for a backfill, which no other answer shows.
        """
        ...

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not, for recount and reclassify."""
        ...

    def sync(self) -> None:
        """Make durable what was committed so far, where a store was opened to be quicker than that."""
        ...

    def settle(self) -> None:
        """Wait until rollups agree with all commits answered so far."""
        ...

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Remove up to `limit` expired records (their totals stay) and as many intents that were kept
        for `INTENTS_KEPT` days, with old batches, hour rows and quarantined bodies.
        """
        ...

    def close(self) -> None:
        """Let go of everything held."""
        ...


SuppressionCheck = Callable[[str, Collection[Suppression]], str | None]
"""Says, of a stream and the items that an address and its domain have there, why it must not be sent
to (a reason's word), or None.
"""


class SendLog(Protocol):
    """What was intended to be sent and what became of it. Kept for `INTENTS_KEPT` days. Every write is
    durable when it returns. Any method raises `StoreUnavailable` when the store is away.
    """

    def begin(self, batch: SendBatch) -> SendBatch:
        """Record a batch and return it; or return the one that has its id.

        One whose lease is over at `batch.at`, and that is not finished, is first leased to
        `batch.holder` until `batch.leased_until`; the rest of it stays. So the caller holds what is
        returned if it names the caller as holder.
        """
        ...

    def hold(self, batch: str, holder: str, until: int) -> bool:
        """Let the holder's lease last until a time (ms), now to let it go; return whether it was still
        the holder's.
        """
        ...

    def finish(self, batch: str, at: int) -> None:
        """Note that everything of a batch was tried."""
        ...

    def reopen(self, batch: SendBatch) -> SendBatch:
        """As `begin`, but also for one that is finished, which no longer is."""
        ...

    def batch(self, id_: str) -> SendBatch | None:
        """Return one batch."""
        ...

    def claim(self, wanted: Sequence[Intent], blocks: SuppressionCheck) -> list[Intent]:
        """Record intents before their calls; return what is then recorded of each, in order.

        An intent is recorded if its batch has none of its key, or has it in a state of `AGAIN`; of
        several with one key in one call, the first. The address is looked up in the same transaction
        (or after the record, and before this returns): one that `blocks` is recorded as suppressed, with
        the reason as its code. So a suppression committed before a claim is never missed by it. The
        caller may send exactly those that come back intended with the `send_id` it gave.
        """
        ...

    def settle(self, intents: Sequence[Intent]) -> None:
        """Record what became of intents: they replace those with the same batch, key and send_id, those
        of another send_id where neither sent anything (`AGAIN`), and are recorded where there is none
        of their key. `withheld` follows the change of state.
        """
        ...

    def intents(
        self, batch: str, limit: int, after: str | None = None, states: Collection[SendState] = ()
    ) -> list[Intent]:
        """Return intents of a batch in the order of their keys, those after a key and, if any are
        named, in one of the states only.
        """
        ...

    def progress(self, batch: str) -> dict[SendState, int]:
        """Return how many intents of a batch are in each state."""
        ...

    def withheld(self, stream: str, campaign: str) -> dict[SendState, int]:
        """Return how many of a campaign's intents ever recorded are in each state of `WITHHELD`.
        They outlive the intents.
        """
        ...

    def pauses(self) -> dict[str, Pause]:
        """Return why streams do not send, by stream."""
        ...

    def pause(self, pause: Pause) -> None:
        """Stop a stream. One that is stopped already keeps its first reason."""
        ...

    def resume(self, resumption: Resumption) -> Pause | None:
        """Let a stream send again; return what it was paused for."""
        ...

    def resumption(self, stream: str) -> Resumption | None:
        """Return how somebody last let the stream send again."""
        ...
