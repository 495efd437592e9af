"""The journal: one line for each event, whose fields are contract and name nobody."""

import json
from collections import Counter

import pytest

from sesight.app import App
from sesight.ingest.journal import JournalLine
from sesight.ingest.reader import read
from sesight.settings import Settings, StoreSettings
from tests.server.harness import Traffic

FIELDS = [
    *("message", "disposition", "stream", "eventType", "messageId", "recipientId"),
    *("recipientDomain", "campaign", "missingCampaignTag", "source", "sentAt", "eventAt", "lagMs"),
]


@pytest.fixture
def app(tmp_path):
    """An app whose journal is `app.lines`, made of what `app.write` was given."""
    written: list[bytes] = []

    def write(lines: bytes) -> None:
        app.write(lines)

    settings = Settings(store=StoreSettings(url=f"sqlite:///{tmp_path / 'sesight.db'}"))
    app = App(settings, journal=write)
    app.write = written.append
    app.written = written
    yield app
    app.close()


def process(app, bodies):
    """Take in a batch; return its dispositions."""
    readings = [reading for body in bodies for reading in read(body, "http")]
    return [each.disposition for each in app.pipeline.process(readings)]


def test_each_event_has_one_line_with_the_fields_of_the_contract_in_order(app, signer) -> None:
    """One write a batch, a line an event, whatever became of it."""
    traffic = Traffic.made(signer, seed=8, messages=60, campaigns=2)
    dispositions = process(app, [*traffic.bodies, b"not JSON", traffic.bodies[0]])
    (written,) = app.written
    assert written.endswith(b"\n")
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["disposition"] for line in lines] == dispositions
    assert all(list(line) == FIELDS for line in lines)
    assert {line["message"] for line in lines} == {"SES_EVENT_PROCESSED"}
    assert Counter(dispositions).keys() == {"created", "updated", "duplicate", "quarantined"}
    for line, body in zip(lines, traffic.bodies, strict=False):
        event = json.loads(body)
        assert line["messageId"] == event["mail"]["messageId"]
        assert line["lagMs"] == pytest.approx(app.clock() - line["eventAt"], abs=60_000)
        assert line["missingCampaignTag"] == (line["campaign"] == "~untagged")
        if len(event["mail"]["destination"]) == 1:
            (address,) = event["mail"]["destination"]
            assert line["recipientDomain"] == address.rpartition("@")[2]
            assert line["recipientId"] == app.recipient_id(address)


def test_no_line_holds_an_address_a_link_a_subject_or_an_ip(app, signer) -> None:
    """A log is read by more people than the mail was written to."""
    traffic = Traffic.made(signer, seed=9, messages=80, campaigns=2)
    process(app, traffic.bodies)
    written = b"".join(app.written).decode()
    said = set()
    for body in traffic.bodies:
        event = json.loads(body)
        said |= set(event["mail"]["destination"])
        said.add(event["mail"].get("commonHeaders", {}).get("subject", ""))
        for kind in ("open", "click"):
            said |= {event.get(kind, {}).get(name, "") for name in ("ipAddress", "link")}
    said.discard("")
    assert len(said) > 50
    assert [text for text in said if text in written] == []
    assert "@" not in written


def test_the_lines_of_ordinary_events_are_short(app, signer) -> None:
    """So that a log service takes them whole; long names are cut."""
    traffic = Traffic.made(signer, seed=10, messages=60, campaigns=2)
    process(app, traffic.bodies)
    long = json.loads(traffic.bodies[0])
    long["mail"]["messageId"] = "m" * 100
    long["mail"]["destination"] = ["l" * 64 + "@" + ".".join(["d" * 60] * 4)]
    long["mail"]["tags"]["campaign_id"] = ["c" * 256]
    process(app, [json.dumps(long).encode()])
    lengths = [len(line) for line in b"".join(app.written).splitlines()]
    assert max(lengths[:-1]) <= 512
    assert lengths[-1] <= 1_024


def test_a_journal_that_cannot_be_written_refuses_no_event(app, signer, caplog) -> None:
    """They are committed by then: the lines are given up with one warning, and begin again."""
    bodies = Traffic.made(signer, seed=11, messages=20, campaigns=2).bodies

    def full(lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    app.write = full
    assert set(process(app, bodies[:5])) <= {"created", "updated"}
    assert set(process(app, bodies[:5])) == {"duplicate"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    app.write = app.written.append
    assert set(process(app, bodies[:5])) == {"duplicate"}
    assert len(app.written) == 1


def test_an_observer_that_fails_refuses_no_event(app, signer, caplog, monkeypatch) -> None:
    """A bug in what looks on is logged; the events are committed all the same."""
    bodies = Traffic.made(signer, seed=11, messages=20, campaigns=2).bodies

    def crash(lines: bytes) -> None:
        raise RuntimeError("a bug")

    app.write = crash
    assert set(process(app, bodies[:5])) <= {"created", "updated"}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_fields_of_a_line_are_those_of_its_struct() -> None:
    """Who adds a field here adds it to the contract."""
    assert list(JournalLine.__struct_encode_fields__) == FIELDS
