"""What all messages of a sender have on them: names and addresses that a header can hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sesight.domain.errors import SettingsError
from sesight.domain.sending import SendState, TemplateRecipient
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.mailing import parsed, simulated_ses
from tests.send.office import KEYS, office

SENDER = {
    "stream": "outreach",
    "from_address": "news@example.com",
    "postal_address": "1 Example Street",
    "public_url": "https://mail.example.com",
    "unsubscribe_keys": KEYS,
}
LETTERS = "Ж" * 2_000


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.mark.parametrize(
    "change",
    [
        {"from_name": LETTERS},
        {"from_name": "x" * 641},
        {"from_name": "Ж" * 240},
        {"from_name": "News\r\nBcc: bo@example.org"},
        {"from_address": "news"},
        {"from_address": f"{LETTERS} <news@example.com>"},
        {"reply_to": [f"{LETTERS} <help@example.com>"]},
        {"reply_to": ["help@example.com, bo@example.org"]},
        {"reply_to": ["help@example.com", ""]},
    ],
    ids=repr,
)
def test_a_sender_no_header_can_hold(
    tmp_path: Path, ses: SimulatedSes, change: dict[str, Any]
) -> None:
    """A name or address of the sender that no header can hold stops everything, and says which."""
    setting = next(iter(change)).replace("name", "address")
    with (
        office(tmp_path, ses, senders=[{**SENDER, **change}]) as here,
        pytest.raises(SettingsError, match=setting),
    ):
        here.send(["ana@example.org"])
    assert ses.messages() == []


def test_a_sender_of_another_script(tmp_path: Path, ses: SimulatedSes) -> None:
    """Names of the sender are encoded, domains are in A-labels, wherever they stand."""
    change = {
        "from_address": "Nobody <news@Example.com>",
        "from_name": "Жанна",
        "reply_to": ["Жанна, Ltd <help@bücher.example>"],
    }
    with office(tmp_path, ses, senders=[{**SENDER, **change}]) as here:
        (result,) = here.send(["ana@example.org"])
    assert result.state is SendState.SENT, result
    mail = parsed(ses.messages()[0])
    assert (mail["From"], mail["Reply-To"]) == (
        "Жанна <news@example.com>",
        '"Жанна, Ltd" <help@xn--bcher-kva.example>',
    )


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("x" * 640, SendState.SENT),
        ("x" * 641, SendState.INVALID),
        ("Ж" * 100, SendState.SENT),
        ("Ж" * 240, SendState.INVALID),
        (LETTERS, SendState.INVALID),
    ],
    ids=["ascii", "long-ascii", "encoded", "long-encoded", "header-of-2024"],
)
def test_names_of_recipients(
    tmp_path: Path, ses: SimulatedSes, name: str, state: SendState
) -> None:
    """A name beside an address, and in a column of its own, is bounded by what it is in a header."""
    people = [TemplateRecipient(email="ana@example.org", name=name), f"{name} <bo@example.org>"]
    with office(tmp_path, ses, senders=[SENDER]) as here:
        results = here.send(people)
    assert [(each.state, each.code) for each in results] == [
        (state, None if state is SendState.SENT else "too-long")
    ] * 2
