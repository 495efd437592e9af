"""SES's own suppression list of the account: is an address on it, and bringing it and ours together.

SES knows two reasons, holds an entry for every sender of the account and region, and manages entries
by exact case although it sends to no spelling of one (facts of the developer guide, "Using the Amazon
SES account-level suppression list").
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from sesight.domain.address import normalize_address as mailbox_of
from sesight.domain.backoff import backoff
from sesight.domain.errors import NO_CREDENTIALS
from sesight.domain.suppression.item import (
    Suppression,
    SuppressionReason,
    SuppressionScope,
    is_lifted,
)
from sesight.domain.suppression.manual import AddSuppression
from sesight.domain.suppression.policy import SuppressionPolicy, active_suppression
from sesight.send.ses import ALIASES, AccountUnknown, code_of

PAGE = 1_000
"""Entries a call lists: the most that SES gives."""

TRIES = 6
"""Calls made at most where SES throttles."""

PER_SECOND = 1.0
"""Calls a second of a sync, as AWS's management calls may be made without a higher quota."""

REASONS = {
    SuppressionReason.COMPLAINT: "COMPLAINT",
    SuppressionReason.COMPLAINT_CANDIDATE: "COMPLAINT",
    SuppressionReason.BOUNCED: "BOUNCE",
    SuppressionReason.MANUAL: "COMPLAINT",
    SuppressionReason.IMPORT: "COMPLAINT",
}
"""What SES is told of ours. Not of an unsubscribe, which is from one sender's mail and not from all of
the account's; of a prediction; of what ends; nor of what is here because SES listed it, so that what
somebody took off there does not come back.
"""

HELD = 500
"""Of our addresses so many are looked up in the other streams at once."""


class SuppressedDestination(NamedTuple):
    """An address on SES's list: as we know it, as SES spells it, BOUNCE or COMPLAINT, and since when
    (ms). `address` None: it is none that we could send to.
    """

    address: str | None
    spelling: str
    reason: str
    at: int

    @property
    def addition(self) -> AddSuppression:
        """Return what it is for us: the same entry is the same cause whenever it is read, so that it
        never undoes a removal; SES listing the address anew is another.
        """
        return AddSuppression(
            change=f"ses-list-{self.at}",
            at=self.at,
            address=self.address or "",
            reason=SuppressionReason.ACCOUNT_LIST,
            scope=SuppressionScope.ALL,
            note=self.reason,
            spelling=self.spelling if self.spelling != self.address else None,
        )


class AccountSuppressionList:
    """SES's list over a client of SES v2. Safe to use from any thread."""

    def __init__(self, client: Any, pause: Callable[[float], object]) -> None:
        """Keep the client (botocore's `sesv2`) and what waits for so many seconds."""
        self._client = client
        self._pause = pause

    def listed(self, address: str) -> str | None:
        """Return why an address is on the list (`account-list`), None if it is not.

        Raises AccountUnknown if SES does not say. An entry that differs in case is not found: SES
        then withholds the message itself and says so in an event.
        """
        try:
            self._call(partial(self._client.get_suppressed_destination, EmailAddress=address))
        except ClientError as error:
            if _code(error) == "NotFoundException":
                return None
            raise _unknown(error) from None
        return SuppressionReason.ACCOUNT_LIST

    def entries(self, wait: Callable[[], object]) -> Iterator[list[SuppressedDestination]]:
        """Yield the list page by page; `turn` waits for leave to make a call. Raises AccountUnknown."""
        token: dict[str, str] = {}
        while True:
            wait()
            pages = partial(self._client.list_suppressed_destinations, PageSize=PAGE, **token)
            try:
                answer = self._call(pages)
            except ClientError as error:
                raise _unknown(error) from None
            yield [_entry(each) for each in answer.get("SuppressedDestinationSummaries", ())]
            if not answer.get("NextToken"):
                return
            token = {"NextToken": answer["NextToken"]}

    def put(self, address: str, reason: str) -> str | None:
        """Put an address on the list; return the code with which SES refuses it, None if it did not.

        Raises AccountUnknown if SES cannot be asked or nothing may be put.
        """
        call = partial(self._client.put_suppressed_destination, EmailAddress=address, Reason=reason)
        try:
            self._call(call)
        except ClientError as error:
            code = _code(error)
            if code == "BadRequestException":
                return code
            raise _unknown(error) from None
        return None

    def may_put(self) -> bool:
        """Return whether the account may change its list: not in the sandbox. Raises AccountUnknown."""
        try:
            told = self._call(self._client.get_account)
        except ClientError as error:
            raise _unknown(error) from None
        return bool(told.get("ProductionAccessEnabled", False))

    def _call(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Make a call, and repeat it after a pause while SES throttles. Raises ClientError, AccountUnknown."""
        pauses = islice(backoff(1, 8, random.random), TRIES - 1)
        while True:
            try:
                return call()
            except ClientError as error:
                pause = next(pauses, None)
                if pause is None or _code(error) != "TooManyRequestsException":
                    raise
            except BotoCoreError as error:
                raise _unknown(error) from None
            self._pause(pause)


def _entry(told: dict[str, Any]) -> SuppressedDestination:
    spelling = told["EmailAddress"]
    address, _, mailable = mailbox_of(spelling)
    at = int(told["LastUpdateTime"].timestamp() * 1_000)
    return SuppressedDestination(address if mailable else None, spelling, told["Reason"], at)


def _code(error: ClientError) -> str:
    code = code_of(error)
    return ALIASES.get(code, code)


def _unknown(error: Exception) -> AccountUnknown:
    code = code_of(error)
    if code == "NoCredentialsError":
        return AccountUnknown(NO_CREDENTIALS)
    sentence = f"SES does not say what is on the account's suppression list ({code})."
    if ALIASES.get(code, code) == "AccessDeniedException":
        sentence += (
            " Credentials are needed that allow ses:GetSuppressedDestination, "
            "ses:ListSuppressedDestinations, ses:PutSuppressedDestination and ses:GetAccount."
        )
    return AccountUnknown(sentence)


# Bringing both together


class SyncAction(StrEnum):
    """What a sync does about an address that is not on both lists alike."""

    TAKEN = "taken"
    """SES lists it: it is suppressed here too."""
    PUT = "put"
    """All streams suppress it for good: SES is told."""
    LIFTED = "lifted"
    """SES lists what was removed here: it stays removed, and SES goes on not sending to it."""
    UNREADABLE = "unreadable"
    """SES lists what is no address that we could send to."""
    REFUSED = "refused"
    """SES did not take it."""


class SyncDifference(Struct, frozen=True):
    """One difference: the address, as SES spells it if it does, BOUNCE or COMPLAINT, and SES's code
    if it refused.
    """

    address: str
    difference: SyncAction
    reason: str
    code: str | None = None


class SyncResult(Struct, frozen=True):
    """How a sync went: entries SES lists, and how many differences there were of each kind."""

    listed: int
    differences: dict[SyncAction, int]


class LocalSuppressions(Struct, frozen=True, kw_only=True):
    """Our side of a sync.

    `held` returns the items of addresses in a stream, `counted` yields those of a stream that count as
    active, `take` commits what SES lists and is durable when it returns. `is_test`: an address that
    never suppresses.
    """

    streams: tuple[str, ...]
    held: Callable[[str, Collection[str]], Mapping[str, Suppression]]
    counted: Callable[[str], Iterable[Suppression]]
    take: Callable[[list[AddSuppression]], object]
    is_test: Callable[[str], bool]
    policy: SuppressionPolicy


def sync(
    theirs: AccountSuppressionList,
    ours: LocalSuppressions,
    *,
    apply: bool,
    now: int,
    wait: Callable[[], object],
    told: Callable[[SyncDifference], object],
) -> SyncResult:
    """Add to each list what the other has; nothing is taken off either.

    Without `apply` nothing is written, `told` hears of the same rows. `turn` waits for leave to make
    the next call. Cut off, it may simply be made again. Raises AccountUnknown, StoreUnavailable.
    """
    counts: Counter[SyncAction] = Counter()
    known: set[str] = set()
    listed = 0

    def tell(row: SyncDifference) -> None:
        counts[row.difference] += 1
        told(row)

    for page in theirs.entries(wait):
        listed += len(page)
        known.update(each.address for each in page if each.address is not None)
        _take(page, ours, now, tell, apply=apply)
    allowed = not apply
    for item, reason in _missing(ours, known):
        address = item.spelling or item.address
        if not allowed:
            wait()
            allowed = theirs.may_put()
            if not allowed:
                raise AccountUnknown(
                    "The SES account is in the sandbox, where its suppression list cannot be changed: "
                    "ask AWS for production access. What SES lists is suppressed here now."
                )
        code = None
        if apply:
            wait()
            code = theirs.put(address, reason)
        tell(
            SyncDifference(
                address, SyncAction.PUT if code is None else SyncAction.REFUSED, reason, code
            )
        )
    return SyncResult(listed, dict(counts))


def _take(
    page: list[SuppressedDestination],
    ours: LocalSuppressions,
    now: int,
    tell: Callable[[SyncDifference], None],
    *,
    apply: bool,
) -> None:
    """Take over what a page of SES's list has that does not block here for good in every stream."""
    addresses = [
        each.address for each in page if each.address is not None and not ours.is_test(each.address)
    ]
    held = {stream: ours.held(stream, addresses) for stream in ours.streams}
    wanted: list[SuppressedDestination] = []
    rows: list[SyncDifference] = []
    for entry in page:
        if entry.address is None:
            rows.append(SyncDifference(entry.spelling, SyncAction.UNREADABLE, entry.reason))
        elif not ours.is_test(entry.address):
            found = [held[stream].get(entry.address) for stream in ours.streams]
            free = [item for item in found if not _for_good(item, now, ours.policy)]
            if any(
                item is None or not is_lifted(entry.addition.cause, item.removals) for item in free
            ):
                wanted.append(entry)
                rows.append(SyncDifference(entry.spelling, SyncAction.TAKEN, entry.reason))
            elif free:
                rows.append(SyncDifference(entry.spelling, SyncAction.LIFTED, entry.reason))
    if apply and wanted:
        ours.take([entry.addition for entry in wanted])
    for row in rows:
        tell(row)


def _for_good(item: Suppression | None, now: int, policy: SuppressionPolicy) -> bool:
    found = None if item is None else active_suppression(item, now, policy)
    return found is not None and found.until is None


def _missing(ours: LocalSuppressions, known: Collection[str]) -> Iterator[tuple[Suppression, str]]:
    """Yield what every stream suppresses for good and SES does not list, with the reason SES is told."""
    first, *others = ours.streams
    wanted = (
        item
        for item in ours.counted(first)
        if item.address not in known and _lasting(item) and not ours.is_test(item.address)
    )
    while some := list(islice(wanted, HELD)):
        addresses = [item.address for item in some]
        held = [ours.held(stream, addresses) for stream in others]
        for item in some:
            reasons = [_lasting(item), *[_lasting(each.get(item.address)) for each in held]]
            if all(reasons):
                said = set[SuppressionReason]().union(*reasons)
                yield item, next(told for reason, told in REASONS.items() if reason in said)


def _lasting(item: Suppression | None) -> set[SuppressionReason]:
    """Return the reasons SES can be told for which an item of an address blocks without an end."""
    if item is None or item.address.startswith("@"):
        return set()
    return {
        SuppressionReason(held.reason)
        for held in item.causes
        if held.until is None and held.reason in REASONS and not is_lifted(held, item.removals)
    }
