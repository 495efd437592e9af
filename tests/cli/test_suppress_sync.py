"""SES's list of the account and ours, brought together by a command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.cli.conftest import Sesight
from tests.mailing import simulated_ses
from tests.payload import PAYLOADS

SYNC = ("suppress", "sync", "--json")


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture
def bounced(tmp_path: Path, ses: SimulatedSes, sesight: Sesight) -> str:
    """A folder with settings and a store, in which an address bounced that SES does not list."""
    (tmp_path / "sesight.toml").write_text(
        f'region = "eu-west-1"\n[sending]\nendpoint = "{ses.url}"\n'
    )
    done = sesight("replay", PAYLOADS / "bounce_permanent_general.json", "--stream", "outreach")
    assert done.code == 0, done.err
    return "gone@example.org"


def test_shown_then_done(sesight: Sesight, ses: SimulatedSes, bounced: str) -> None:
    """It shows what it would do and does nothing, until it is told to; then both lists are alike."""
    ses.account.suppressions.suppress("Ana@example.org", "COMPLAINT")
    differences = [
        {"address": "Ana@example.org", "difference": "taken", "reason": "COMPLAINT", "code": None},
        {"address": bounced, "difference": "put", "reason": "BOUNCE", "code": None},
    ]
    shown = sesight("suppress", "sync")
    assert shown.code == 0, shown.err
    assert "Ana@example.org" in shown.text
    assert "Nothing was changed: --apply does it." in shown.text
    for arguments, applied in (((), False), (("--apply",), True)):
        done = sesight(*SYNC, *arguments)
        assert (done.code, done.json) == (
            0,
            {
                "applied": applied,
                "listed": 1,
                "counts": {"taken": 1, "put": 1},
                "differences": differences,
            },
        )
    again = sesight("suppress", "sync", "--apply")
    assert (again.code, again.text) == (0, "SES lists 2: both lists say the same.\n")


def test_refused(sesight: Sesight, ses: SimulatedSes, bounced: str) -> None:
    """What SES does not take is told and ends the command with 1."""
    ses.account.suppressions.production = False
    done = sesight(*SYNC, "--apply")
    assert done.code == 1
    assert done.json["counts"] == {"refused": 1}
    assert "not taken by SES" in sesight("suppress", "sync", "--apply").text
    assert bounced not in ses.account.suppressions.suppressed


def test_ses_away(sesight: Sesight, ses: SimulatedSes, bounced: str) -> None:
    """SES that cannot be asked is one sentence and 1; so is the sandbox, which says what to do."""
    ses.fail(Fault.ERROR, operations=("ListSuppressedDestinations",))
    done = sesight(*SYNC)
    assert (done.code, done.out) == (1, b"")
    assert done.err.startswith("SES does not say what is on the account's suppression list")
    ses.account.production = False
    done = sesight(*SYNC, "--apply")
    assert done.code == 1
    assert "ask AWS for production access" in done.err
