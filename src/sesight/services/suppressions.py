"""The suppression list, as people and programs work on it: add, remove, take back, check, import, export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from sesight.domain.address import NormalizedAddress
from sesight.domain.errors import InvalidRequest
from sesight.domain.suppression.csv import BlockingItem, InvalidRow, address_rows
from sesight.domain.suppression.inheritance import LIST_VERSION, inherit_commands
from sesight.domain.suppression.item import suppression_keys
from sesight.domain.suppression.manual import (
    AddSuppression,
    RestoreSuppression,
    ResultStatus,
    SuppressionChange,
    SuppressionCommand,
    SuppressionRequest,
    SuppressionResult,
    add_command,
    addition_result,
    affected_streams,
    apply_command,
    is_covered,
    normalized_note,
    remove_command,
    restore_command,
    suppression_key,
)
from sesight.domain.suppression.policy import active_suppression, highest_priority

if TYPE_CHECKING:
    from sesight.domain.counting import Counting
    from sesight.domain.ports import Clock, Store
    from sesight.domain.suppression.csv import SuppressionRow
    from sesight.domain.suppression.item import Suppression
    from sesight.domain.suppression.policy import ActiveSuppression, SuppressionPolicy

TOGETHER = 1_000
"""Addresses decided on in one transaction, and looked up in one call."""

Decide = Callable[[Sequence[SuppressionCommand]], list[list[SuppressionChange]]]
"""`Pipeline.decide`."""


class SuppressionService:
    """The list of every stream. Safe to use from any thread.

    Every method raises StoreUnavailable; what was done until then stays.
    """

    def __init__(
        self,
        store: Store,
        decide: Decide,
        counting: Counting,
        policy: SuppressionPolicy,
        clock: Clock,
    ) -> None:
        """Keep the store, what commits decisions, the settings, and the clock."""
        self._store = store
        self._decide = decide
        self._counting = counting
        self._policy = policy
        self._clock = clock

    # Changing

    def add(self, wishes: Sequence[SuppressionRequest], change: str) -> list[SuppressionResult]:
        """Suppress addresses and whole domains; return what became of each, in order.

        The same `change` again adds nothing.
        """
        now = self._clock()
        read = [self._read(wish, change, now) for wish in wishes]
        done = iter(self._decide([each for each in read if isinstance(each, AddSuppression)]))
        return [
            addition_result(each, next(done), now, self._policy)
            if isinstance(each, AddSuppression)
            else each
            for each in read
        ]

    def _read(
        self, wish: SuppressionRequest, change: str, now: int
    ) -> AddSuppression | SuppressionResult:
        try:
            found = add_command(wish, change, now, self._counting.streams, self._policy)
            if self._counting.is_test(found.address):
                raise InvalidRequest(_TEST)
        except InvalidRequest as error:
            return SuppressionResult(
                address=wish.address, status=ResultStatus.INVALID, detail=str(error)
            )
        return found

    def remove(
        self,
        addresses: Sequence[str],
        change: str,
        note: str,
        streams: Sequence[str],
        causes: Collection[str] = (),
    ) -> list[SuppressionResult]:
        """Lift what stands against addresses or whole domains in streams, all of it or the causes
        named; return what became of each, in order. Raises InvalidRequest for a note that is none.
        """
        now = self._clock()
        kept = normalized_note(note)
        if kept is None:
            raise InvalidRequest("Say why it is removed: the note stays in the address's history.")

        def lift(item: Suppression) -> SuppressionCommand | None:
            return remove_command(item, change, now, kept, tuple(causes))

        return self._undo(addresses, streams, lift, ResultStatus.REMOVED)

    def restore(
        self, addresses: Sequence[str], restores: str, streams: Sequence[str]
    ) -> list[SuppressionResult]:
        """Take the removals of a change back; return what became of each address, in order."""
        now = self._clock()

        def take_back(item: Suppression) -> RestoreSuppression | None:
            return restore_command(item, restores, now)

        return self._undo(addresses, streams, take_back, ResultStatus.RESTORED)

    def _undo(
        self,
        addresses: Sequence[str],
        streams: Sequence[str],
        decide: Callable[[Suppression], SuppressionCommand | None],
        status: ResultStatus,
    ) -> list[SuppressionResult]:
        read, held = self._look_up(addresses, streams)
        keys = list(dict.fromkeys(each for each in read if isinstance(each, str)))
        told: dict[str, SuppressionResult] = {}
        decisions: list[SuppressionCommand] = []
        for key in keys:
            try:
                decisions += [
                    decision
                    for name in streams
                    if (item := held[name].get(key)) is not None
                    and (decision := decide(item)) is not None
                ]
            except InvalidRequest as error:
                told[key] = SuppressionResult(
                    address=key, status=ResultStatus.INVALID, detail=str(error)
                )
        changed: dict[str, list[str]] = defaultdict(list)
        for decision, changes in zip(decisions, self._decide(decisions), strict=True):
            changed[decision.address] += [each.stream for each in changes]
        for key in keys:
            if key not in told:
                told[key] = SuppressionResult(
                    address=key,
                    status=status if key in changed else ResultStatus.ABSENT,
                    streams=tuple(changed.get(key, ())),
                    detail=self._still(key, held, streams),
                )
        return [told[each] if isinstance(each, str) else each for each in read]

    def _still(
        self, key: str, held: dict[str, dict[str, Suppression]], streams: Sequence[str]
    ) -> str | None:
        """Return why the streams cannot send to an address though its own item may be free."""
        domain = suppression_keys(key)[-1]
        now = self._clock()
        blocked = [
            name
            for name in streams
            if domain != key
            and (item := held[name].get(domain)) is not None
            and active_suppression(item, now, self._policy) is not None
        ]
        if not blocked:
            return None
        return f"Its whole domain is suppressed still, in {', '.join(blocked)}."

    def _look_up(
        self, addresses: Sequence[str], streams: Sequence[str]
    ) -> tuple[list[str | SuppressionResult], dict[str, dict[str, Suppression]]]:
        """Return what each address is known by, in order, or what is wrong with it, and the items of
        all in the streams. What is no address must be known as it is spelled.
        """
        read = [_key(each) for each in addresses]
        keys = list(
            dict.fromkeys(each[0] for each in read if not isinstance(each, SuppressionResult))
        )
        held = self._items(keys, streams)
        return [
            each
            if isinstance(each, SuppressionResult)
            else each[0]
            if each[2] or any(each[0] in items for items in held.values())
            else SuppressionResult(address=text, status=ResultStatus.INVALID, detail=_NO_ADDRESS)
            for text, each in zip(addresses, read, strict=True)
        ], held

    def _items(
        self, keys: Sequence[str], streams: Iterable[str]
    ) -> dict[str, dict[str, Suppression]]:
        return {name: self._store.suppressions_of(name, keys) for name in streams}

    # Files

    def take(
        self, rows: Iterable[SuppressionRow | InvalidRow], change: str, *, dry_run: bool = False
    ) -> Iterator[tuple[SuppressionRow | InvalidRow, SuppressionResult | None]]:
        """Suppress what the rows of a file wish for, some at a time; yield each row with what became
        of it (None for one that could not be read). What is suppressed already is not written again;
        `dry_run`: nothing is.
        """
        left = iter(rows)
        while some := list(islice(left, TOGETHER)):
            wishes = [row.request for row in some if not isinstance(row, InvalidRow)]
            told = iter(self._take(wishes, change, dry_run=dry_run))
            for row in some:
                yield row, None if isinstance(row, InvalidRow) else next(told)

    def _take(
        self, wishes: Sequence[SuppressionRequest], change: str, *, dry_run: bool
    ) -> list[SuppressionResult]:
        now = self._clock()
        read = [self._read(wish, change, now) for wish in wishes]
        streams = self._counting.streams
        held = self._items(
            [each.address for each in read if isinstance(each, AddSuppression)], streams
        )
        told: list[SuppressionResult] = []
        decisions: list[SuppressionCommand] = []
        for wish, each in zip(wishes, read, strict=True):
            if isinstance(each, SuppressionResult):
                told.append(each)
                continue
            changes = []
            for name in affected_streams(each, streams):
                before = held[name].get(each.address)
                changes.append(SuppressionChange(name, before, apply_command(before, name, each)))
            told.append(addition_result(each, changes, now, self._policy))
            # a row that says since when is one cause, kept so that a removal can name it
            if any(
                one.after != one.before
                and (wish.at is not None or not is_covered(one.before, each))
                for one in changes
            ):
                decisions.append(each)
                for one in changes:
                    held[one.stream][each.address] = one.after
        if decisions and not dry_run:
            self._decide(decisions)
        return told

    def exported(
        self,
        streams: Sequence[str],
        *,
        prefix: str = "",
        reason: str | None = None,
    ) -> Iterator[tuple[str, ...]]:
        """Yield the rows of a file: what blocks in the streams now, in order of the address."""
        after = None
        while True:
            found, after = self.exported_page(
                streams, TOGETHER, after, prefix=prefix, reason=reason
            )
            yield from chain.from_iterable(found)
            if after is None:
                return

    def exported_page(
        self,
        streams: Sequence[str],
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
    ) -> tuple[list[list[tuple[str, ...]]], str | None]:
        """Return the rows of a file by address, of up to `limit` addresses, and after which address to
        go on (None: it is the end). A page may be short.
        """
        known = {name: self._counting.streams[name] for name in streams}
        found, last = self.page(streams, limit, after, prefix=prefix, reason=reason, active=True)
        now = self._clock()
        blocked = [
            [
                BlockingItem(item, why)
                for item in items
                if (why := active_suppression(item, now, self._policy)) is not None
            ]
            for _, items in found
        ]
        return [list(address_rows(each, known)) for each in blocked], last

    def inherit(self) -> None:
        """Let streams that are new in the settings start with the suppressions whose scope reaches them,
        and lists of an earlier version take over what they kept under other keys. Cut off, it may
        simply be done again. A stream that is not in the settings is new when it is there again.
        """
        streams = self._counting.streams
        self._store.keep_list_versions(streams)
        new = [name for name in streams if self._store.list_version(name) < LIST_VERSION]
        if not new:
            return
        listed = self.listed(tuple(streams))
        while some := list(islice(listed, TOGETHER)):
            self._decide(
                [
                    each
                    for address, items in some
                    for each in inherit_commands(address, items, streams, new)
                ]
            )
        for name in new:
            self._store.note_list_version(name, LIST_VERSION)

    # Asking

    def check(
        self, addresses: Sequence[str], streams: Sequence[str]
    ) -> list[tuple[str, dict[str, ActiveSuppression | None]] | SuppressionResult]:
        """Return, for each address in order, how it is known and why each stream must not send to it
        (None: it may); or what is wrong with it.
        """
        now = self._clock()
        read, held = self._look_up(addresses, streams)
        return [
            (
                each,
                {
                    name: highest_priority(
                        [held[name][key] for key in suppression_keys(each) if key in held[name]],
                        now,
                        self._policy,
                    )
                    for name in streams
                },
            )
            if isinstance(each, str)
            else each
            for each in read
        ]

    def listed(
        self,
        streams: Sequence[str],
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> Iterator[tuple[str, list[Suppression]]]:
        """Yield addresses and whole domains in order, each with its items in the streams."""
        while True:
            found, after = self.page(
                streams, TOGETHER, after, prefix=prefix, reason=reason, active=active
            )
            yield from found
            if after is None:
                return

    def page(
        self,
        streams: Sequence[str],
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> tuple[list[tuple[str, list[Suppression]]], str | None]:
        """Return a page of addresses with their items in the streams, and after which address to go
        on (None: it is the end). A page may be short.
        """
        pages = [
            self._store.suppressions(
                name, limit, after, prefix=prefix, reason=reason, active=active
            )
            for name in streams
        ]
        ends = [page.after for page in pages if page.after is not None]
        # beyond where the shortest look ended, a stream may have more of an address
        bound = min(ends, default=None)
        found: dict[str, list[Suppression]] = {}
        for page in pages:
            for item in page.items:
                if bound is None or item.address <= bound:
                    found.setdefault(item.address, []).append(item)
        ordered = sorted(found.items())
        if len(ordered) > limit:
            return ordered[:limit], ordered[limit - 1][0]
        return ordered, bound


_TEST = "It is a test recipient (counting.test_recipients): these are never suppressed."


_NO_ADDRESS = "It is not an address, and nothing is recorded under this spelling."


def _key(text: str) -> NormalizedAddress | SuppressionResult:
    try:
        return suppression_key(text)
    except InvalidRequest as error:
        return SuppressionResult(address=text, status=ResultStatus.INVALID, detail=str(error))
