"""The account's suppression list: addresses that SES does not try to send to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from sesight_simulator.ses.api_model import SesError, page

REASONS = ("BOUNCE", "COMPLAINT")


@dataclass(slots=True)
class ListedAddress:
    """An address on the account's suppression list."""

    address: str
    reason: str
    at: int
    message_id: str | None = None


class SimulatedSuppressionList:
    """The suppression list of the account, and the operations that read and change it."""

    def __init__(self, clock: Callable[[], int], *, production: bool) -> None:
        self.clock = clock
        self.production = production
        self.suppressed: dict[str, ListedAddress] = {}
        """Entries by lower-case address."""

    def reason(self, address: str) -> str | None:
        """Return why SES would not try an address, or None. Sending ignores case."""
        entry = self.suppressed.get(address.lower())
        return None if entry is None else entry.reason

    def suppress(self, address: str, reason: str, message_id: str | None = None) -> None:
        """Put an address on the list."""
        self.suppressed[address.lower()] = ListedAddress(address, reason, self.clock(), message_id)

    def put_suppressed_destination(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """PutSuppressedDestination. It needs production access."""
        if not self.production:
            raise SesError(
                "BadRequestException",
                "Accounts in the sandbox may not change the suppression list.",
            )
        self.suppress(parameters["EmailAddress"], parameters["Reason"])
        return {}

    def get_suppressed_destination(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """GetSuppressedDestination. It compares the address with its case, unlike sending."""
        address = parameters["EmailAddress"]
        entry = self.suppressed.get(address.lower())
        if entry is None or entry.address != address:
            raise SesError(
                "NotFoundException",
                f"Email address {address} does not exist on your suppression list.",
            )
        destination = _summary(entry)
        if entry.message_id is not None:
            destination["Attributes"] = {"MessageId": entry.message_id}
        return {"SuppressedDestination": destination}

    def list_suppressed_destinations(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """ListSuppressedDestinations, by reason and by time of the last change."""
        reasons = parameters.get("Reasons") or REASONS
        start, end = _ms(parameters.get("StartDate")), _ms(parameters.get("EndDate"))
        summaries = [
            _summary(entry)
            for entry in self.suppressed.values()
            if entry.reason in reasons
            and (start is None or entry.at >= start)
            and (end is None or entry.at <= end)
        ]
        return page(parameters, summaries, "SuppressedDestinationSummaries")


def _summary(entry: ListedAddress) -> dict[str, Any]:
    return {
        "EmailAddress": entry.address,
        "Reason": entry.reason,
        "LastUpdateTime": entry.at / 1_000,
    }


def _ms(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int | float):
        return int(value * 1_000)
    try:
        return int(msgspec.convert(value, type=datetime).timestamp() * 1_000)
    except msgspec.ValidationError:
        raise SesError("BadRequestException", f"{value!r} is not a time.") from None
