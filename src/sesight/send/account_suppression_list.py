"""The client of SES's account-level suppression list.

SES knows two reasons, applies an entry to every sender of the account and region, and manages entries by
exact case although it sends to no spelling of one (developer guide, "Using the Amazon SES account-level
suppression list").
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from sesight.domain.address import normalize_address
from sesight.domain.backoff import backoff
from sesight.domain.errors import NO_CREDENTIALS
from sesight.domain.suppression.item import SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import AddSuppression
from sesight.send.ses import ALIASES, AccountUnknown, code_of

PAGE = 1_000
"""Entries of one list call: the most that SES returns."""

TRIES = 6
"""The largest number of calls while SES throttles: the first and its repetitions."""


class ListEntry(NamedTuple):
    """An address on SES's list: as records know it (None if it is none that could be sent to), as SES
    spells it, BOUNCE or COMPLAINT, and when it was listed (ms).
    """

    address: str | None
    spelling: str
    reason: str
    at: int

    @property
    def addition(self) -> AddSuppression:
        """Return the entry as a local suppression.

        Its change id is made of the time of listing: the same entry is the same cause whenever it is
        read, so it never undoes a removal, and a new listing of the address is another cause.
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
    """SES's list in one region. Safe to use from any thread."""

    def __init__(self, client: Any, sleep: Callable[[float], object]) -> None:
        """`client` is botocore's `sesv2`; `sleep` waits for a number of seconds."""
        self._client = client
        self._sleep = sleep

    def reason(self, address: str) -> str | None:
        """Return `account-list` if an address is on the list, None if it is not.

        Raises AccountUnknown if SES does not say. An entry in another case is not found: SES then
        withholds the message itself and reports it in an event.
        """
        try:
            self._call(partial(self._client.get_suppressed_destination, EmailAddress=address))
        except ClientError as error:
            if _code(error) == "NotFoundException":
                return None
            raise _unknown(error) from None
        return SuppressionReason.ACCOUNT_LIST

    def entries(self, wait: Callable[[], object]) -> Iterator[list[ListEntry]]:
        """Yield the list page by page; `wait` returns when the next call may be made.

        Raises AccountUnknown.
        """
        token: dict[str, str] = {}
        while True:
            wait()
            call = partial(self._client.list_suppressed_destinations, PageSize=PAGE, **token)
            try:
                page = self._call(call)
            except ClientError as error:
                raise _unknown(error) from None
            yield [_entry(summary) for summary in page.get("SuppressedDestinationSummaries", ())]
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def put(self, address: str, reason: str) -> str | None:
        """Put an address on the list; return SES's error code if it refuses the address.

        Raises AccountUnknown if SES cannot be called or does not allow any address to be put.
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
            account = self._call(self._client.get_account)
        except ClientError as error:
            raise _unknown(error) from None
        return bool(account.get("ProductionAccessEnabled", False))

    def _call(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Make a call, and repeat it while SES throttles. Raises ClientError, AccountUnknown."""
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
            self._sleep(pause)


def _entry(summary: dict[str, Any]) -> ListEntry:
    spelling = summary["EmailAddress"]
    address, _, is_mailable = normalize_address(spelling)
    at = int(summary["LastUpdateTime"].timestamp() * 1_000)
    return ListEntry(address if is_mailable else None, spelling, summary["Reason"], at)


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
