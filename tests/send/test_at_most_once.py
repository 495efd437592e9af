"""The law of sending: whatever is throttled, refused, lost, killed and repeated, nobody gets two messages,
and nobody is told of a message that there is not.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sesight.app.sending import SendingComponents
from sesight.domain.errors import Conflict, SendingStopped
from sesight.domain.sending import Intent, SendResult, SendState
from sesight.ingest.reading import SENDER, EventReading
from sesight.send.send_log_writer import accepted_event
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.send.office import Office, office
from tests.store.engine import url_of

PEOPLE = ["p0", "p1", "p2", "p3"]


class Killed(BaseException):
    """The process ends where it stands."""


def refused(code: str, status: int) -> ClientError:
    """Return SES's error of a code and a status."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "SendEmail")


URL = "https://email.example.com"
FAULTS: dict[str, tuple[bool, Callable[[], BaseException] | None]] = {
    "accepted": (True, None),
    "throttled": (False, lambda: refused("TooManyRequestsException", 429)),
    "rejected": (False, lambda: refused("MessageRejected", 400)),
    "unavailable": (False, lambda: refused("ServiceUnavailable", 503)),
    "failed": (False, lambda: refused("InternalFailure", 500)),
    "failed, but accepted": (True, lambda: refused("InternalFailure", 500)),
    "connection refused": (False, lambda: EndpointConnectionError(endpoint_url=URL)),
    "cut off before": (False, lambda: ConnectionClosedError(endpoint_url=URL)),
    "cut off after": (True, lambda: ConnectionClosedError(endpoint_url=URL)),
    "killed before": (False, Killed),
    "killed after": (True, Killed),
}
"""What may come of a call: whether SES accepted the message, and what the caller is told."""


numbers = itertools.count(1)


class ScriptedSes:
    """A client of SES that does with each address as it is told, and counts what was accepted."""

    def __init__(self) -> None:
        self.meta = SimpleNamespace(endpoint_url=URL)
        self.script: Mapping[str, str] = {}
        self.accepted: list[tuple[str, str, str]] = []
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.name = f"{next(numbers)}"

    def get_account(self) -> dict[str, Any]:
        return {"SendQuota": {"Max24HourSend": -1, "MaxSendRate": 100_000.0}}

    def send_email(self, **asked: Any) -> dict[str, str]:
        (address,) = asked["Destination"]["ToAddresses"]
        takes, error = FAULTS[self.script.get(address.partition("@")[0], "accepted")]
        message_id = f"m-{self.name}-{next(self._ids)}"
        if takes:
            (send_id,) = (t["Value"] for t in asked["EmailTags"] if t["Name"] == "send_id")
            with self._lock:
                self.accepted.append((address, send_id, message_id))
        if error is not None:
            raise error()
        return {"MessageId": message_id}

    def got(self) -> Counter[str]:
        """Return how many messages each address got."""
        return Counter(address for address, _, _ in self.accepted)


class Run:
    """One run of an order, by a process of its own."""

    def __init__(self, here: Office, ses: ScriptedSes) -> None:
        self.here = here
        self.ses = ses
        self.batch = f"batch-{ses.name}"

    def send(
        self, script: Mapping[str, str], people: Sequence[str] = PEOPLE, *, resumed: bool
    ) -> list[SendResult]:
        self.ses.script = script
        # people of its own, since a store is shared by all examples
        addresses = [f"{each}@d{self.ses.name}.example.org" for each in people]
        order = self.here.order(addresses, self.batch, resumed=resumed)
        sending = SendingComponents(self.here.app, self.ses, pause=0)
        try:
            return sending.sender("outreach").send(order)
        finally:
            sending.close()

    def take_events(self) -> None:
        """Have it known of every message that SES accepted."""
        now = self.here.app.clock()
        self.here.app.pipeline.process(
            [EventReading(SENDER, _event(*each, now)) for each in self.ses.accepted]
        )


def _event(address: str, send_id: str, message_id: str, at: int) -> Any:
    intent = Intent(
        batch="b",
        key=address,
        send_id=send_id,
        stream="outreach",
        campaign="spring",
        address=address,
        at=at,
    )
    return accepted_event(
        intent,
        message_id,
        at,
        sender="news@example.com",
        subject=None,
        template=None,
        tags=(),
        configuration_set="outreach-tracking",
        spelling=None,
    )


def check(results: Sequence[SendResult], ses: ScriptedSes) -> None:
    """Assert that nobody has two messages, and that each is told the truth about."""
    got = ses.got()
    assert set(got.values()) <= {1}
    for result in results:
        if result.state is SendState.SENT:
            assert got[result.recipient] == 1, result
        elif result.state is not SendState.UNKNOWN:
            assert got[result.recipient] == 0, result


@pytest.fixture(params=["sqlite", "dynamodb"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    """An office over either store; SES is nowhere, since all its clients are scripted."""
    url = url_of(request.getfixturevalue("dynamodb")) if request.param == "dynamodb" else None
    with office(tmp_path, SimulatedSes(), url=url) as opened:
        yield opened


scripts = st.dictionaries(st.sampled_from(PEOPLE), st.sampled_from(sorted(FAULTS)))
runs = st.lists(
    st.tuples(scripts, st.booleans(), st.sampled_from(["alone", "twice at once", "another body"])),
    min_size=1,
    max_size=4,
)


def obey(here: Office, told: Sequence[tuple[Mapping[str, str], bool, str]], events: bool) -> None:
    """Carry runs out one after the other, and see the law kept after each."""
    ses = ScriptedSes()
    run = Run(here, ses)
    for script, resumed, how in told:
        if how == "another body" and here.app.log.batch(run.batch) is not None:
            before = len(ses.accepted)
            with pytest.raises(Conflict):
                run.send({}, ["other"], resumed=resumed)
            assert len(ses.accepted) == before
        elif how == "twice at once":

            def attempt(
                _: int, script: Mapping[str, str] = script, resumed: bool = resumed
            ) -> list[SendResult]:
                with suppress(Killed, Conflict):
                    return run.send(script, resumed=resumed)
                return []

            with ThreadPoolExecutor(2) as pool:
                answers = list(pool.map(attempt, range(2)))
            for results in answers:
                check(results, ses)
        else:
            with suppress(Killed):
                check(run.send(script, resumed=resumed), ses)
    if events:
        run.take_events()
    check(run.send({}, resumed=True), ses)
    final = run.send({}, resumed=True)
    check(final, ses)
    assert {each.state for each in final} <= {SendState.SENT, SendState.UNKNOWN}
    if events:
        for result in final:
            assert (result.state is SendState.SENT) == (ses.got()[result.recipient] == 1)


def test_nobody_gets_two(here: Office) -> None:
    """Under any faults and kills, in any number of runs, of which some run at once and some are for
    another body under the same key, everybody gets at most one message and is told truthfully about;
    in the end everybody has theirs who is not unknown.
    """
    on_sqlite = here.app.settings.store.url.startswith("sqlite")

    @settings(max_examples=150 if on_sqlite else 25)
    @given(runs, st.booleans())
    def law(told: list[tuple[Mapping[str, str], bool, str]], events: bool) -> None:
        obey(here, told, events)

    law()


def test_whom_the_same_key_tries_again(here: Office) -> None:
    """The same request under the same key tries those who were throttled and no other: who was refused
    or suppressed keeps the first answer.
    """
    ses = ScriptedSes()
    run = Run(here, ses)
    script = dict(zip(PEOPLE, ("throttled", "rejected", "accepted", "cut off before"), strict=True))
    first = run.send(script, resumed=False)
    assert [each.state for each in first] == [
        SendState.THROTTLED,
        SendState.REFUSED,
        SendState.SENT,
        SendState.UNKNOWN,
    ]
    second = run.send({}, resumed=False)
    assert second[1:] == first[1:]
    assert second[0].state is SendState.SENT
    assert run.send({}, resumed=False) == second
    assert {each.partition("@")[0] for each in ses.got().elements()} == {PEOPLE[0], PEOPLE[2]}


def test_what_turns_out_unsent(here: Office) -> None:
    """A request that was answered as a whole is not closed to one who was unknown: once it is settled
    that nothing was sent, the same key sends.
    """
    ses = ScriptedSes()
    run = Run(here, ses)
    first = run.send({PEOPLE[0]: "failed"}, resumed=False)
    assert first[0].state is SendState.UNKNOWN
    assert here.app.log.batch(run.batch).finished_at is not None
    (intent,) = here.app.log.intents(run.batch, 10, states=(SendState.UNKNOWN,))
    here.app.log.settle([replace(intent, state=SendState.THROTTLED, code="not-accepted")])
    assert [each.state for each in run.send({}, resumed=False)] == [SendState.SENT] * 4
    assert set(ses.got().values()) == {1}


def test_ses_that_cannot_be_asked(here: Office) -> None:
    """When SES does not say what the account may do, nothing is tried, and the key stays good."""
    ses = ScriptedSes()
    run = Run(here, ses)

    def nowhere() -> dict[str, Any]:
        raise EndpointConnectionError(endpoint_url=URL)

    known, ses.get_account = ses.get_account, nowhere  # type: ignore[method-assign]
    with pytest.raises(SendingStopped):
        run.send({}, resumed=False)
    ses.get_account = known  # type: ignore[method-assign]
    assert [each.state for each in run.send({}, resumed=False)] == [SendState.SENT] * 4
