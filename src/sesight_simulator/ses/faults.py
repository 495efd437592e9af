"""Faults: what can go wrong between a caller and SES, switched on by tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """One way for a call to go wrong."""

    RESET = "reset"
    """The connection is reset before SES has done anything."""
    ERROR = "error"
    """500 InternalFailure before SES has done anything."""
    UNAVAILABLE = "unavailable"
    """503 ServiceUnavailable before SES has done anything."""
    THROTTLED = "throttled"
    """429 TooManyRequestsException, as above the sending rate."""
    SLOW = "slow"
    """The answer is given, but late."""
    DROPPED = "dropped"
    """SES does what was asked, then the connection is closed without an answer."""
    HUNG = "hung"
    """SES does what was asked, then nothing more comes until the caller gives up."""
    ERROR_AFTER = "error-after"
    """SES does what was asked, then answers 500 InternalFailure."""


BEFORE = frozenset({Fault.RESET, Fault.ERROR, Fault.UNAVAILABLE, Fault.THROTTLED})
"""Faults with which SES does nothing."""

SENDS = ("SendEmail", "SendBulkEmail")


@dataclass(slots=True)
class Planned:
    """A fault for the next `times` calls it is meant for."""

    fault: Fault
    times: int
    operations: tuple[str, ...]
    seconds: float
    meant: Callable[[dict[str, Any]], bool]


@dataclass(slots=True)
class PlannedEntry:
    """A status for the next `times` entries of bulk calls it is meant for."""

    status: str
    times: int
    meant: Callable[[dict[str, Any]], bool]


@dataclass(slots=True)
class Faults:
    """The faults to come, in the order they were planned."""

    planned: list[Planned] = field(default_factory=list)
    entries: list[PlannedEntry] = field(default_factory=list)

    def next(self, operation: str, parameters: dict[str, Any]) -> Planned | None:
        """The fault of a call that is made now, which then has one time fewer to come."""
        for each in self.planned:
            if operation in each.operations and each.meant(parameters):
                each.times -= 1
                if each.times <= 0:
                    self.planned.remove(each)
                return each
        return None

    def status(self, entry: dict[str, Any]) -> str | None:
        """The status an entry of a bulk call fails with, which then has one time fewer to come."""
        for each in self.entries:
            if each.meant(entry):
                each.times -= 1
                if each.times <= 0:
                    self.entries.remove(each)
                return each.status
        return None
