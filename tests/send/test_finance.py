"""Statements reach their recipients with their papers, and no figure stays anywhere."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from sesight.domain.sending import SendResult, SendState, StatementMail
from sesight.domain.timestamps import month_number
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.mailing import parsed, simulated_ses
from tests.send.office import EXAMPLES, Office, office, states


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, ses: SimulatedSes) -> Iterator[Office]:
    with office(tmp_path, ses, templates=str(EXAMPLES)) as opened:
        yield opened


def statement(id_: str = "PS-1", to: str = "ana@example.org", **changes: Any) -> dict[str, Any]:
    """Return one statement as a request has it."""
    return {
        "id": id_,
        "recipient": to,
        "name": "Ana Bell",
        "currency": "EUR",
        "locale": "de-DE",
        "lines": [
            {"label": "Sales", "amount": "1234.50"},
            {"label": "Transfer fee", "amount": "-4.25"},
        ],
        "total": "1230.25",
        **changes,
    }


def send(here: Office, *statements: dict[str, Any], key: str | None = None) -> list[SendResult]:
    asked = StatementMail(month="2026-10", statements=list(statements))
    return here.app.sending.service.send_statements("finance", asked, key)


def test_a_statement(here: Office, ses: SimulatedSes) -> None:
    """A statement arrives with its figures as its reader writes them, on paper too, and its record is
    of its month and campaign.
    """
    (result,) = send(here, statement())
    assert result.state is SendState.SENT, result
    (message,) = ses.messages("ana@example.org")
    assert message.configuration_set == "finance-tracking"
    assert message.tags["campaign_month"] == "2026-10"
    assert message.tags["campaign_id"] == "statements-2026-10"
    assert (message.tags["campaign_attempt"], message.tags["statement_id"]) == ("1", "PS-1")
    assert "1.230,25" in message.text
    assert "1.230,25" not in message.subject
    papers = {part.get_filename(): part for part in parsed(message).iter_attachments()}
    assert set(papers) == {"statement-2026-10-PS-1.pdf", "statement-2026-10-PS-1.csv"}
    pdf = PdfReader(io.BytesIO(papers["statement-2026-10-PS-1.pdf"].get_payload(decode=True)))
    assert "1.230,25" in pdf.pages[0].extract_text()
    here.take_events()
    record = here.record(result.message_id)
    assert (record.stream, record.campaign) == ("finance", "statements-2026-10")
    assert record.tally is not None
    assert (record.tally.dimensions.month, record.tally.dimensions.attempt) == (
        month_number("2026-10"),
        "first",
    )


def test_attempts(here: Office) -> None:
    """A statement sent again is another attempt of it; another statement of the person is a first."""
    send(here, statement(), key="one")
    send(here, statement(), key="one")
    send(here, statement(), statement("PS-2"), key="two")
    attempts = sorted(
        (each.tags["statement_id"], each.tags["campaign_attempt"]) for each in here.ses.messages()
    )
    assert attempts == [("PS-1", "1"), ("PS-1", "2"), ("PS-2", "1")]


REFUSED = {
    "a total that is not the sum": ({"total": "1230.24"}, "figures"),
    "a float": ({"total": 1230.25}, None),
    "no number": ({"total": "NaN"}, None),
    "an exponent": ({"total": "1.23025e3"}, None),
    "too many decimals": ({"total": "1230.250"}, None),
    "no lines": ({"lines": []}, None),
    "no currency": ({"currency": "XYZ"}, None),
    "another month": ({"month": "2026-09"}, "month"),
    "no month": ({"month": "2026-13"}, None),
    "no address": ({"recipient": "nobody"}, "no-at"),
    "an unknown field": ({"totals": "1230.25"}, None),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refused(here: Office, ses: SimulatedSes, case: str) -> None:
    """A statement that is wrong is told why, without a figure in it, and the others go."""
    changes, code = REFUSED[case]
    results = send(here, statement(**changes), statement("PS-2", "ben@example.org"))
    assert states(results) == [SendState.INVALID, SendState.SENT]
    assert code in (None, results[0].code)
    assert results[0].detail is not None
    assert "1230" not in results[0].detail
    assert [each.to for each in ses.messages()] == [["Ana Bell <ben@example.org>"]]


def test_the_second_of_one_id(here: Office, ses: SimulatedSes) -> None:
    """Two statements of one id in a request: which is right cannot be known for the second."""
    results = send(here, statement(), statement(to="ben@example.org"))
    assert states(results) == [SendState.SENT, SendState.INVALID]
    assert len(ses.messages()) == 1


def test_no_figure_stays(here: Office, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the store nor what is written beside it has a figure, a line or a label of a statement."""
    odd = statement(
        lines=[{"label": "Quaggasales", "amount": "98765.43"}], total="98765.43", name=None
    )
    send(here, odd, statement("PS-2", total="7.00"), key="one")
    here.take_events()
    here.app.store.do_idle_work()
    kept = b"".join(each.read_bytes() for each in tmp_path.glob("office.db*"))
    said = "".join(capfd.readouterr())
    for figure in ("98765", "98.765", "Quagga"):
        assert figure.encode() not in kept
        assert figure not in said


def batches_in(path: Path) -> list[tuple[str, str]]:
    """Return the id and fingerprint of each batch in a store's file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, fingerprint FROM batch").fetchall()


def test_no_hash_to_guess_by(here: Office, tmp_path: Path, ses: SimulatedSes) -> None:
    """What tells a repeated request from another is a hash under a key of the store's own: the same
    request has another one elsewhere, so nobody can try figures against it.
    """
    send(here, statement(), key="one")
    (tmp_path / "other").mkdir()
    with office(tmp_path / "other", ses, templates=str(EXAMPLES)) as other:
        send(other, statement(), key="one")
    ((id_, here_hash),) = batches_in(tmp_path / "office.db")
    ((other_id, other_hash),) = batches_in(tmp_path / "other" / "office.db")
    assert id_ == other_id
    assert here_hash != other_hash
