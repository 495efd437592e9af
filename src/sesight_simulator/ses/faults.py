"""Faults that a test can plan: what can go wrong between a client and SES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """429 TooManyRequestsException, as for a call above the sending rate."""
    SLOW = "slow"
    """SES performs the operation and answers late."""
    DROPPED = "dropped"
    """SES performs the operation, then closes the connection without an answer."""
    HUNG = "hung"
    """SES performs the operation, then sends nothing until the client gives up."""
    ERROR_AFTER = "error-after"
    """SES performs the operation, then answers 500 InternalFailure."""


BEFORE = frozenset({Fault.RESET, Fault.ERROR, Fault.UNAVAILABLE, Fault.THROTTLED})
"""Faults before which SES does nothing."""


@dataclass(slots=True)
class PlannedFault:
    """A fault for the next `times` calls that match."""

    fault: Fault
    times: int
    operations: tuple[str, ...]
    seconds: float
    """How late a slow answer comes."""
    matches: Callable[[dict[str, Any]], bool]
    """Decides from the parameters whether the fault is for a call."""


def next_fault(
    planned_faults: list[PlannedFault], operation: str, parameters: dict[str, Any]
) -> PlannedFault | None:
    """Return the fault of a call that is made now, if any, and count it as used."""
    for planned in planned_faults:
        if operation in planned.operations and planned.matches(parameters):
            planned.times -= 1
            if planned.times <= 0:
                planned_faults.remove(planned)
            return planned
    return None
