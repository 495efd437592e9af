"""A stream pauses itself when its rates pass a limit, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from sesight.domain.errors import SendingStopped
from sesight.domain.sending import Resumption, SendState
from sesight.domain.stream import FINANCE, OUTREACH
from sesight.domain.timestamps import DAY, HOUR
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.builders import NOW, bounce, complaint, delivery, fill
from tests.mailing import simulated_ses
from tests.send.office import Office, office, states


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


class Time:
    """A clock that stands until it is moved."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def here(tmp_path: Path, ses: SimulatedSes, time: Time) -> Iterator[Office]:
    guard = {"floor": 100, "bounce": 0.05, "complaint": 0.01, "days": 7}
    with office(tmp_path, ses, time, guard=guard) as opened:
        yield opened


def history(
    here: Office, delivered: int, bounced: int = 0, complained: int = 0, **about: Any
) -> None:
    """Have messages of yesterday that fared so."""
    about.setdefault("sent_at", NOW - DAY)
    mark = f"{about.get('stream')}-{about['sent_at']}"
    told = [delivery(f"d{n}@x.example", message=f"d{n}-{mark}", **about) for n in range(delivered)]
    told += [bounce(f"b{n}@x.example", message=f"b{n}-{mark}", **about) for n in range(bounced)]
    for n in range(complained):
        told.append(complaint(f"d{n}@x.example", message=f"d{n}-{mark}", **about))
    fill(here.app.store, told)


PAUSING = {
    "bounces over the limit": ({"delivered": 94, "bounced": 6}, "bounce rate was 6.00% (6 of 100)"),
    "complaints over the limit": ({"delivered": 100, "complained": 2}, "complaint rate was 2.00%"),
}


@pytest.mark.parametrize("case", PAUSING, ids=str)
def test_over_a_limit(here: Office, ses: SimulatedSes, case: str) -> None:
    """Over a limit nothing goes out; why, and what to do, is said."""
    fared, words = PAUSING[case]
    history(here, **fared)
    with pytest.raises(SendingStopped) as caught:
        here.send(["ana@example.org"])
    assert words in str(caught.value)
    assert "sesight stream resume outreach" in str(caught.value)
    assert here.app.log.pauses()["outreach"].by == "reputation"
    assert ses.messages() == []


SENDING = {
    "at the limit": {"delivered": 95, "bounced": 5},
    "below the floor": {"delivered": 40, "bounced": 40},
    "long ago": {"delivered": 50, "bounced": 50, "sent_at": NOW - 7 * DAY},
    "of another stream": {"delivered": 50, "bounced": 50, "stream": "finance"},
}


@pytest.mark.parametrize("case", SENDING, ids=str)
def test_within_limits(here: Office, case: str) -> None:
    """At the limit, on too few messages, or for what was long ago or elsewhere, mail goes out."""
    history(here, **SENDING[case])
    assert states(here.send(["ana@example.org"])) == [SendState.SENT]


def test_transactional_streams_are_not_watched(here: Office) -> None:
    """Statements go out whatever the rates, unless the settings have them watched."""
    history(here, delivered=50, bounced=50, stream="finance")
    assert states(here.send(["ana@example.org"], stream="finance")) == [SendState.SENT]


def test_after_it_was_resumed(here: Office, time: Time) -> None:
    """Somebody who lets the stream go on knows the figures so far; those of later days pause it again."""
    history(here, delivered=50, bounced=50)
    with pytest.raises(SendingStopped):
        here.send(["ana@example.org"])
    here.app.sending.guard.resume("outreach")
    assert states(here.send(["ana@example.org"])) == [SendState.SENT]
    time.now += DAY
    assert states(here.send(["ana@example.org"], "batch-2")) == [SendState.SENT]
    history(here, delivered=90, bounced=20, sent_at=NOW + DAY)
    time.now += 2 * 60_000
    with pytest.raises(SendingStopped, match="20 of 11"):
        here.send(["ana@example.org"], "batch-3")


@pytest.mark.parametrize("bad", ["bounced", "complained"])
def test_from_the_moment_of_resume(here: Office, time: Time, bad: str) -> None:
    """Mail sent after the stream was resumed counts at once, on the same day too, and by itself."""
    time.now = NOW + 20 * 60_000
    earlier = {"delivered": 150, bad: 60, "sent_at": NOW}
    history(here, **earlier)
    with pytest.raises(SendingStopped, match="over 7 days"):
        here.send(["ana@example.org"])
    here.app.sending.guard.resume("outreach")
    time.now = NOW + 40 * 60_000
    assert states(here.send(["ana@example.org"], "batch-2")) == [SendState.SENT]
    history(here, delivered=99, sent_at=NOW + 30 * 60_000)
    time.now += 2 * 60_000
    assert states(here.send(["ana@example.org"], "batch-3")) == [SendState.SENT]
    history(here, delivered=100, sent_at=NOW + 35 * 60_000, **{bad: 20})
    time.now += 2 * 60_000
    with pytest.raises(SendingStopped, match="since it was last resumed"):
        here.send(["ana@example.org"], "batch-4")
    assert here.app.log.pauses()["outreach"].by == "reputation"


@pytest.mark.parametrize("bad", ["bounced", "complained"])
def test_a_resume_before_the_first_mail_of_a_day(here: Office, time: Time, bad: str) -> None:
    """A stream that is resumed before anything was sent that day is watched from that moment too."""
    history(here, delivered=150, **{bad: 60})
    with pytest.raises(SendingStopped):
        here.send(["ana@example.org"])
    here.app.sending.guard.resume("outreach")
    history(here, delivered=100, sent_at=NOW + 60_000, **{bad: 20})
    time.now += 10 * 60_000
    with pytest.raises(SendingStopped, match="since it was last resumed"):
        here.send(["ana@example.org"], "batch-2")


def test_a_bounce_of_mail_before_the_resume(here: Office, time: Time) -> None:
    """A bounce that comes after the resume of mail that was sent hours before it is not of the mail
    that goes out since.
    """
    time.now = NOW + 3 * HOUR
    history(here, delivered=50, bounced=50, sent_at=NOW)
    with pytest.raises(SendingStopped):
        here.send(["ana@example.org"])
    here.app.sending.guard.resume("outreach")
    history(here, delivered=0, bounced=80, sent_at=NOW + HOUR)
    history(here, delivered=200, sent_at=NOW + 3 * HOUR + 1)
    time.now += 2 * 60_000
    assert states(here.send(["ana@example.org"])) == [SendState.SENT]


def test_a_resume_of_before(here: Office, time: Time) -> None:
    """A stream that was resumed by a Sesight that counted nothing then is watched from the next hour."""
    time.now = NOW + 20 * 60_000
    history(here, delivered=50, bounced=50, sent_at=NOW)
    here.app.log.resume(Resumption(stream="outreach", at=time.now))
    time.now = NOW + HOUR + 60_000
    assert states(here.send(["ana@example.org"])) == [SendState.SENT]
    history(here, delivered=80, bounced=20, sent_at=NOW + HOUR)
    time.now += 2 * 60_000
    with pytest.raises(SendingStopped, match="bounce rate"):
        here.send(["ana@example.org"], "batch-2")


def test_every_marketing_stream_is_watched(tmp_path: Path, ses: SimulatedSes, time: Time) -> None:
    """Any marketing stream is watched without being named, and stops."""
    others = [OUTREACH, replace(FINANCE, kind="marketing")]
    with office(tmp_path, ses, time, streams=to_builtins(others), guard={"floor": 100}) as here:
        assert here.app.sending.guard.streams == {"outreach", "finance"}
        history(here, delivered=50, bounced=50, stream="finance")
        with pytest.raises(SendingStopped, match=r"bounce rate was 50\.00%"):
            here.send(["ana@example.org"], stream="finance")
        assert states(here.send(["ana@example.org"])) == [SendState.SENT]


def test_a_transactional_stream_that_is_named(
    tmp_path: Path, ses: SimulatedSes, time: Time
) -> None:
    """The settings may have transactional streams watched beside the marketing ones."""
    guard = {"floor": 100, "streams": ["finance"]}
    with office(tmp_path, ses, time, guard=guard) as here:
        assert here.app.sending.guard.streams == {"outreach", "finance"}
        history(here, delivered=50, bounced=50, stream="finance")
        with pytest.raises(SendingStopped, match=r"bounce rate was 50\.00%"):
            here.send(["ana@example.org"], stream="finance")
