"""Suppression lists as people and programs work on them: add, remove, restore, check, import, export."""

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

BATCH_ADDRESSES = 1_000
"""Addresses changed in one transaction, and looked up in one call."""

Decide = Callable[[Sequence[SuppressionCommand]], list[list[SuppressionChange]]]
"""`Pipeline.decide`."""

ItemsByStream = dict[str, dict[str, "Suppression"]]
"""Suppression items by stream, then by address or `@domain`."""

_TEST_RECIPIENT = "It is a test recipient (counting.test_recipients): these are never suppressed."
_NOT_AN_ADDRESS = "It is not an address, and nothing is recorded under this spelling."


class SuppressionService:
    """The suppression lists of every stream. Safe to use from any thread.

    Every method raises StoreUnavailable; what was committed before that stays.
    """

    def __init__(
        self,
        store: Store,
        decide: Decide,
        counting: Counting,
        policy: SuppressionPolicy,
        clock: Clock,
    ) -> None:
        """Create the service; `decide` commits commands."""
        self._store = store
        self._decide = decide
        self._counting = counting
        self._policy = policy
        self._clock = clock

    # Changes

    def add(self, requests: Sequence[SuppressionRequest], change: str) -> list[SuppressionResult]:
        """Suppress addresses and whole domains; return the result of each, in order.

        Requests repeated with the same `change` (an id) add nothing.
        """
        now = self._clock()
        commands = [self._command(request, change, now) for request in requests]
        changes = iter(
            self._decide([command for command in commands if isinstance(command, AddSuppression)])
        )
        return [
            addition_result(command, next(changes), now, self._policy)
            if isinstance(command, AddSuppression)
            else command
            for command in commands
        ]

    def _command(
        self, request: SuppressionRequest, change: str, now: int
    ) -> AddSuppression | SuppressionResult:
        """Return the command of a request, or the result of an invalid one."""
        try:
            command = add_command(request, change, now, self._counting.streams, self._policy)
            if self._counting.is_test(command.address):
                raise InvalidRequest(_TEST_RECIPIENT)
        except InvalidRequest as error:
            return SuppressionResult(
                address=request.address, status=ResultStatus.INVALID, detail=str(error)
            )
        return command

    def remove(
        self,
        addresses: Sequence[str],
        change: str,
        note: str,
        streams: Sequence[str],
        causes: Collection[str] = (),
    ) -> list[SuppressionResult]:
        """Lift the suppressions of addresses or whole domains in streams: all their causes, or the causes
        named by id. Return the result of each, in order. Raises InvalidRequest for an empty note.
        """
        now = self._clock()
        text = normalized_note(note)
        if text is None:
            raise InvalidRequest("Say why it is removed: the note stays in the address's history.")

        def command(item: Suppression) -> SuppressionCommand | None:
            return remove_command(item, change, now, text, tuple(causes))

        return self._change_items(addresses, streams, command, ResultStatus.REMOVED)

    def restore(
        self, addresses: Sequence[str], restores: str, streams: Sequence[str]
    ) -> list[SuppressionResult]:
        """Undo the removals of a change; return the result of each address, in order."""
        now = self._clock()

        def command(item: Suppression) -> RestoreSuppression | None:
            return restore_command(item, restores, now)

        return self._change_items(addresses, streams, command, ResultStatus.RESTORED)

    def _change_items(
        self,
        addresses: Sequence[str],
        streams: Sequence[str],
        command_for: Callable[[Suppression], SuppressionCommand | None],
        status: ResultStatus,
    ) -> list[SuppressionResult]:
        """Change the items of addresses; `status` is that of the addresses whose items changed."""
        keys_or_results, items = self._look_up(addresses, streams)
        keys = list(dict.fromkeys(key for key in keys_or_results if isinstance(key, str)))
        results: dict[str, SuppressionResult] = {}
        commands: list[SuppressionCommand] = []
        for key in keys:
            try:
                commands += [
                    command
                    for stream in streams
                    if (item := items[stream].get(key)) is not None
                    and (command := command_for(item)) is not None
                ]
            except InvalidRequest as error:
                results[key] = SuppressionResult(
                    address=key, status=ResultStatus.INVALID, detail=str(error)
                )
        changed: dict[str, list[str]] = defaultdict(list)
        for command, changes in zip(commands, self._decide(commands), strict=True):
            changed[command.address] += [change.stream for change in changes]
        for key in keys:
            if key not in results:
                results[key] = SuppressionResult(
                    address=key,
                    status=status if key in changed else ResultStatus.ABSENT,
                    streams=tuple(changed.get(key, ())),
                    detail=self._blocking_domain(key, items, streams),
                )
        return [results[key] if isinstance(key, str) else key for key in keys_or_results]

    def _blocking_domain(
        self, key: str, items: ItemsByStream, streams: Sequence[str]
    ) -> str | None:
        """Return a sentence if the domain of an address is suppressed, whatever its own item says."""
        domain = suppression_keys(key)[-1]
        now = self._clock()
        blocked = [
            stream
            for stream in streams
            if domain != key
            and (item := items[stream].get(domain)) is not None
            and active_suppression(item, now, self._policy) is not None
        ]
        if not blocked:
            return None
        return f"Its whole domain is still suppressed in {', '.join(blocked)}."

    def _look_up(
        self, addresses: Sequence[str], streams: Sequence[str]
    ) -> tuple[list[str | SuppressionResult], ItemsByStream]:
        """Return the key of each address, in order, or the result of an invalid one; and the items of all
        keys in the streams. Text that is no address is a key only if an item has this spelling.
        """
        normalized = [_normalize(text) for text in addresses]
        keys = [name[0] for name in normalized if not isinstance(name, SuppressionResult)]
        items = self._items(list(dict.fromkeys(keys)), streams)
        keys_or_results: list[str | SuppressionResult] = []
        for text, name in zip(addresses, normalized, strict=True):
            if isinstance(name, SuppressionResult):
                keys_or_results.append(name)
                continue
            key, _, is_address = name
            is_known = is_address or any(key in by_key for by_key in items.values())
            keys_or_results.append(
                key
                if is_known
                else SuppressionResult(
                    address=text, status=ResultStatus.INVALID, detail=_NOT_AN_ADDRESS
                )
            )
        return keys_or_results, items

    def _items(self, keys: Sequence[str], streams: Iterable[str]) -> ItemsByStream:
        return {stream: self._store.suppressions_of(stream, keys) for stream in streams}

    # Files

    def take(
        self, rows: Iterable[SuppressionRow | InvalidRow], change: str, *, dry_run: bool = False
    ) -> Iterator[tuple[SuppressionRow | InvalidRow, SuppressionResult | None]]:
        """Suppress the rows of a file, in batches; yield each row with its result (None for an invalid row).

        An address that is suppressed already is not written again; with `dry_run` nothing is written.
        """
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH_ADDRESSES)):
            requests = [row.request for row in batch if not isinstance(row, InvalidRow)]
            results = iter(self._take_batch(requests, change, dry_run=dry_run))
            for row in batch:
                yield row, None if isinstance(row, InvalidRow) else next(results)

    def _take_batch(
        self, requests: Sequence[SuppressionRequest], change: str, *, dry_run: bool
    ) -> list[SuppressionResult]:
        now = self._clock()
        commands = [self._command(request, change, now) for request in requests]
        streams = self._counting.streams
        addresses = [command.address for command in commands if isinstance(command, AddSuppression)]
        items = self._items(addresses, streams)
        results: list[SuppressionResult] = []
        needed: list[SuppressionCommand] = []
        for request, command in zip(requests, commands, strict=True):
            if isinstance(command, SuppressionResult):
                results.append(command)
                continue
            changes = []
            for stream in affected_streams(command, streams):
                before = items[stream].get(command.address)
                after = apply_command(before, stream, command)
                changes.append(SuppressionChange(stream, before, after))
            results.append(addition_result(command, changes, now, self._policy))
            # a row with its own time is a cause of its own, kept so that a removal can name it
            if any(
                item.after != item.before
                and (request.at is not None or not is_covered(item.before, command))
                for item in changes
            ):
                needed.append(command)
                for item in changes:
                    items[item.stream][command.address] = item.after
        if needed and not dry_run:
            self._decide(needed)
        return results

    def exported(
        self,
        streams: Sequence[str],
        *,
        prefix: str = "",
        reason: str | None = None,
    ) -> Iterator[tuple[str, ...]]:
        """Yield the rows of a file of what blocks in the streams now, in order of the address."""
        after = None
        while True:
            rows, after = self.exported_page(
                streams, BATCH_ADDRESSES, after, prefix=prefix, reason=reason
            )
            yield from chain.from_iterable(rows)
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
        """Return the rows of a file, by address, of up to `limit` addresses, and the address after which
        the next page begins (None at the end). A page may be short.
        """
        by_id = {stream: self._counting.streams[stream] for stream in streams}
        page, last = self.page(streams, limit, after, prefix=prefix, reason=reason, active=True)
        now = self._clock()
        blocking = [
            [
                BlockingItem(item, suppression)
                for item in items
                if (suppression := active_suppression(item, now, self._policy)) is not None
            ]
            for _, items in page
        ]
        return [list(address_rows(items, by_id)) for items in blocking], last

    def inherit(self) -> None:
        """Copy to the list of each stream that is new in the settings the suppressions whose scope includes
        it, and bring lists of an earlier version up to date. Safe to repeat if interrupted.

        A stream that was removed from the settings is new when it returns.
        """
        streams = self._counting.streams
        self._store.keep_list_versions(streams)
        new = [name for name in streams if self._store.list_version(name) < LIST_VERSION]
        if not new:
            return
        remaining = self.listed(tuple(streams))
        while batch := list(islice(remaining, BATCH_ADDRESSES)):
            self._decide(
                [
                    command
                    for address, items in batch
                    for command in inherit_commands(address, items, streams, new)
                ]
            )
        for name in new:
            self._store.note_list_version(name, LIST_VERSION)

    # Reads

    def check(
        self, addresses: Sequence[str], streams: Sequence[str]
    ) -> list[tuple[str, dict[str, ActiveSuppression | None]] | SuppressionResult]:
        """Return, for each address in order, its key and the suppression that blocks it in each stream
        (None: it may be sent to); or the result of an invalid address.
        """
        now = self._clock()
        keys_or_results, items = self._look_up(addresses, streams)

        def blocking(key: str, stream: str) -> ActiveSuppression | None:
            by_key = items[stream]
            own = [by_key[name] for name in suppression_keys(key) if name in by_key]
            return highest_priority(own, now, self._policy)

        return [
            (key, {stream: blocking(key, stream) for stream in streams})
            if isinstance(key, str)
            else key
            for key in keys_or_results
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
            page, after = self.page(
                streams, BATCH_ADDRESSES, after, prefix=prefix, reason=reason, active=active
            )
            yield from page
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
        """Return a page of addresses with their items in the streams, and the address after which the next
        page begins (None at the end). A page may be short.
        """
        pages = [
            self._store.suppressions(
                name, limit, after, prefix=prefix, reason=reason, active=active
            )
            for name in streams
        ]
        # beyond the end of the shortest page another stream may have items of an address
        bound = min((page.after for page in pages if page.after is not None), default=None)
        by_address: dict[str, list[Suppression]] = {}
        for page in pages:
            for item in page.items:
                if bound is None or item.address <= bound:
                    by_address.setdefault(item.address, []).append(item)
        ordered = sorted(by_address.items())
        if len(ordered) > limit:
            return ordered[:limit], ordered[limit - 1][0]
        return ordered, bound


def _normalize(text: str) -> NormalizedAddress | SuppressionResult:
    try:
        return suppression_key(text)
    except InvalidRequest as error:
        return SuppressionResult(address=text, status=ResultStatus.INVALID, detail=str(error))
