"""The sync of SES's account-level suppression list with the local suppression lists: adds to each what the
other has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice

from msgspec import Struct

from sesight.domain.suppression.item import Suppression, SuppressionReason, is_lifted
from sesight.domain.suppression.manual import AddSuppression
from sesight.domain.suppression.policy import SuppressionPolicy, active_suppression
from sesight.send.account_suppression_list import AccountSuppressionList, ListEntry
from sesight.send.ses import AccountUnknown

PER_SECOND = 1.0
"""Calls a second: AWS's default quota of management calls."""

REASONS = {
    SuppressionReason.COMPLAINT: "COMPLAINT",
    SuppressionReason.COMPLAINT_CANDIDATE: "COMPLAINT",
    SuppressionReason.BOUNCED: "BOUNCE",
    SuppressionReason.MANUAL: "COMPLAINT",
    SuppressionReason.IMPORT: "COMPLAINT",
}
"""The reasons under which local suppressions are put on SES's list. Others are not put there: an
unsubscribe concerns one sender, SES's list all senders of the account; predictions and suppressions that
end are not for good; and what came from SES's list must not return after an operator took it off there.
"""

LOOKUP = 500
"""Addresses that are looked up in the other streams at once."""


class SyncAction(StrEnum):
    """What a sync does about an address on which the lists differ."""

    TAKEN = "taken"
    """SES lists it: it is suppressed here too."""
    PUT = "put"
    """All streams suppress it for good: it is put on SES's list."""
    LIFTED = "lifted"
    """SES lists what was removed here: it stays removed here, and SES goes on not sending to it."""
    UNREADABLE = "unreadable"
    """SES lists a text that is no address."""
    REFUSED = "refused"
    """SES refused to list it."""


class SyncDifference(Struct, frozen=True):
    """One address on which the lists differ, as SES spells it if it lists it. `reason` is BOUNCE or
    COMPLAINT; `code` is SES's error code if it refused the address.
    """

    address: str
    difference: SyncAction
    reason: str
    code: str | None = None


class SyncResult(Struct, frozen=True):
    """The number of entries on SES's list, and of differences by action."""

    listed: int
    differences: dict[SyncAction, int]


class LocalSuppressions(Struct, frozen=True, kw_only=True):
    """The local side of a sync. `items_of` returns the items of addresses in a stream; `active_items`
    yields those of a stream that count as active; `commit` adds suppressions durably; `is_test` tells
    addresses that never suppress.
    """

    streams: tuple[str, ...]
    items_of: Callable[[str, Collection[str]], Mapping[str, Suppression]]
    active_items: Callable[[str], Iterable[Suppression]]
    commit: Callable[[list[AddSuppression]], object]
    is_test: Callable[[str], bool]
    policy: SuppressionPolicy


def sync(
    account: AccountSuppressionList,
    local: LocalSuppressions,
    *,
    apply: bool,
    now: int,
    wait: Callable[[], object],
    on_difference: Callable[[SyncDifference], object],
) -> SyncResult:
    """Add to each list what the other has. Nothing is removed from either.

    Without `apply`, nothing is written and `on_difference` receives the same differences. `wait` returns
    when the next call may be made. A sync that was interrupted can simply be repeated. Raises
    AccountUnknown, StoreUnavailable.
    """
    counts: Counter[SyncAction] = Counter()
    listed_addresses: set[str] = set()
    listed = 0

    def report(difference: SyncDifference) -> None:
        counts[difference.difference] += 1
        on_difference(difference)

    for page in account.entries(wait):
        listed += len(page)
        listed_addresses.update(entry.address for entry in page if entry.address is not None)
        _take(page, local, now, report, apply=apply)
    may_put = not apply
    for item, reason in _unlisted(local, listed_addresses):
        address = item.spelling or item.address
        if not may_put:
            wait()
            may_put = account.may_put()
            if not may_put:
                raise AccountUnknown(
                    "The SES account is in the sandbox, where its suppression list cannot be changed: "
                    "ask AWS for production access. What SES lists is suppressed here now."
                )
        code = None
        if apply:
            wait()
            code = account.put(address, reason)
        action = SyncAction.PUT if code is None else SyncAction.REFUSED
        report(SyncDifference(address, action, reason, code))
    return SyncResult(listed, dict(counts))


def _take(
    page: list[ListEntry],
    local: LocalSuppressions,
    now: int,
    report: Callable[[SyncDifference], None],
    *,
    apply: bool,
) -> None:
    """Suppress here the entries of a page that some stream does not suppress for good."""
    addresses = [
        entry.address
        for entry in page
        if entry.address is not None and not local.is_test(entry.address)
    ]
    items = {stream: local.items_of(stream, addresses) for stream in local.streams}
    additions: list[AddSuppression] = []
    differences: list[SyncDifference] = []
    for entry in page:
        if entry.address is None:
            action = SyncAction.UNREADABLE
        elif local.is_test(entry.address):
            continue
        else:
            sendable = [
                item
                for stream in local.streams
                if not _is_for_good(item := items[stream].get(entry.address), now, local.policy)
            ]
            if not sendable:
                continue
            cause = entry.addition.cause
            if all(item is not None and is_lifted(cause, item.removals) for item in sendable):
                action = SyncAction.LIFTED
            else:
                action = SyncAction.TAKEN
                additions.append(entry.addition)
        differences.append(SyncDifference(entry.spelling, action, entry.reason))
    if apply and additions:
        local.commit(additions)
    # after the commit: what was reported is then kept even if the sync is interrupted
    for difference in differences:
        report(difference)


def _is_for_good(item: Suppression | None, now: int, policy: SuppressionPolicy) -> bool:
    suppression = None if item is None else active_suppression(item, now, policy)
    return suppression is not None and suppression.until is None


def _unlisted(
    local: LocalSuppressions, listed: Collection[str]
) -> Iterator[tuple[Suppression, str]]:
    """Yield items that every stream suppresses for good and SES does not list, with SES's reason."""
    first, *others = local.streams
    candidates = (
        item
        for item in local.active_items(first)
        if item.address not in listed and _lasting_reasons(item) and not local.is_test(item.address)
    )
    while group := list(islice(candidates, LOOKUP)):
        addresses = [item.address for item in group]
        other_items = [local.items_of(stream, addresses) for stream in others]
        for item in group:
            reasons = [
                _lasting_reasons(item),
                *(_lasting_reasons(items.get(item.address)) for items in other_items),
            ]
            if all(reasons):
                all_reasons = set[SuppressionReason]().union(*reasons)
                yield (
                    item,
                    next(of_ses for reason, of_ses in REASONS.items() if reason in all_reasons),
                )


def _lasting_reasons(item: Suppression | None) -> set[SuppressionReason]:
    """Return the reasons for which an item suppresses its address without an end, as far as SES's list
    has them.
    """
    if item is None or item.address.startswith("@"):
        return set()
    return {
        SuppressionReason(cause.reason)
        for cause in item.causes
        if cause.until is None and cause.reason in REASONS and not is_lifted(cause, item.removals)
    }
