"""SES's account-level suppression list: asked for one address."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from sesight.send.account_suppression_list import TRIES, AccountSuppressionList
from sesight.send.ses import AccountUnknown
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.mailing import ses_client, simulated_ses


class Account(NamedTuple):
    """A simulated SES, a client of its list, and the pauses that this made."""

    ses: SimulatedSes
    entries: AccountSuppressionList
    pauses: list[float]


@pytest.fixture
def account() -> Iterator[Account]:
    pauses: list[float] = []
    with simulated_ses() as ses:
        yield Account(ses, AccountSuppressionList(ses_client(ses), pauses.append), pauses)


def test_reason(account: Account) -> None:
    """An address on SES's list has the reason that stands for it, another address has none."""
    account.ses.account.suppressions.suppress("ana@example.org", "COMPLAINT")
    assert account.entries.reason("ana@example.org") == "account-list"
    assert account.entries.reason("bo@example.org") is None


def test_throttled(account: Account) -> None:
    """A throttled call is repeated after a pause each; after the last one the list is unknown."""
    get = ("GetSuppressedDestination",)
    account.ses.fail(Fault.THROTTLED, times=TRIES - 1, operations=get)
    assert account.entries.reason("ana@example.org") is None
    assert len(account.pauses) == TRIES - 1
    account.ses.fail(Fault.THROTTLED, times=TRIES, operations=get)
    with pytest.raises(AccountUnknown, match="TooManyRequestsException"):
        account.entries.reason("ana@example.org")


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.UNAVAILABLE, Fault.RESET])
def test_unknown(account: Account, fault: Fault) -> None:
    """Any other failure means that the list is unknown, in a sentence without the address."""
    account.ses.fail(fault, operations=("GetSuppressedDestination",))
    with pytest.raises(AccountUnknown) as caught:
        account.entries.reason("ana@example.org")
    assert "ana" not in str(caught.value)
