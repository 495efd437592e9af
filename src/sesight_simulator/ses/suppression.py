"""The account's suppression list, and the calls that read and change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from sesight_simulator.ses.requests import Operation, Refused, page

REASONS = ("BOUNCE", "COMPLAINT")


@dataclass(slots=True)
class Suppressed:
    """An address on the account's suppression list."""

    address: str
    reason: str
    at: int
    message_id: str | None = None


class SuppressionList:
    """Addresses SES does not try; the reasons that hold are the account's or a configuration set's."""

    def __init__(self, clock: Callable[[], int], *, production: bool) -> None:
        self.clock = clock
        self.production = production
        self.suppressed: dict[str, Suppressed] = {}
        self.reasons = list(REASONS)

    def calls(self) -> dict[str, Operation]:
        """What answers each operation."""
        return {
            "PutAccountSuppressionAttributes": self.put_account_suppression_attributes,
            "PutSuppressedDestination": self.put_suppressed_destination,
            "GetSuppressedDestination": self.get_suppressed_destination,
            "ListSuppressedDestinations": self.list_suppressed_destinations,
            "DeleteSuppressedDestination": self.delete_suppressed_destination,
        }

    def reason(self, address: str, override: list[str] | None) -> str | None:
        """Why SES would not try an address, if so; `override` holds a set's own reasons."""
        found = self.suppressed.get(address.lower())
        held = self.reasons if override is None else override
        return found.reason if found is not None and found.reason in held else None

    def suppress(self, address: str, reason: str, message_id: str | None = None) -> None:
        """Put an address on the list."""
        self.suppressed[address.lower()] = Suppressed(address, reason, self.clock(), message_id)

    def put_account_suppression_attributes(self, given: dict[str, Any]) -> dict[str, Any]:
        """PutAccountSuppressionAttributes."""
        self.reasons = given.get("SuppressedReasons", [])
        return {}

    def put_suppressed_destination(self, given: dict[str, Any]) -> dict[str, Any]:
        """PutSuppressedDestination; it needs production access."""
        if not self.production:
            raise Refused(
                "BadRequestException",
                "Accounts in the sandbox may not change the suppression list.",
            )
        self.suppress(given["EmailAddress"], given["Reason"])
        return {}

    def get_suppressed_destination(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetSuppressedDestination."""
        found = self._suppressed(given["EmailAddress"])
        answer: dict[str, Any] = _summary(found)
        if found.message_id is not None:
            answer["Attributes"] = {"MessageId": found.message_id}
        return {"SuppressedDestination": answer}

    def list_suppressed_destinations(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListSuppressedDestinations, by reason and time of the last change."""
        reasons = given.get("Reasons") or REASONS
        begin, end = _ms(given.get("StartDate")), _ms(given.get("EndDate"))
        rows = [
            _summary(each)
            for each in self.suppressed.values()
            if each.reason in reasons
            and (begin is None or each.at >= begin)
            and (end is None or each.at <= end)
        ]
        return page(given, rows, "SuppressedDestinationSummaries")

    def delete_suppressed_destination(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteSuppressedDestination."""
        del self.suppressed[self._suppressed(given["EmailAddress"]).address.lower()]
        return {}

    def _suppressed(self, address: str) -> Suppressed:
        # management is case-exact, although sending is not
        found = self.suppressed.get(address.lower())
        if found is None or found.address != address:
            raise Refused(
                "NotFoundException",
                f"Email address {address} does not exist on your suppression list.",
            )
        return found


def _summary(item: Suppressed) -> dict[str, Any]:
    return {
        "EmailAddress": item.address,
        "Reason": item.reason,
        "LastUpdateTime": item.at / 1_000,
    }


def _ms(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int | float):
        return int(value * 1_000)
    try:
        return int(msgspec.convert(value, type=datetime).timestamp() * 1_000)
    except msgspec.ValidationError:
        raise Refused("BadRequestException", f"{value!r} is no time.") from None
