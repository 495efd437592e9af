"""SES that fails, or refuses, one message after the other: a few are tried, and nobody gets two."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from sesight.domain.sending import SendState
from sesight.domain.template import RenderedTemplate
from sesight.send.circuit_breaker import IN_A_ROW, OUTAGE, REST, CircuitBreaker
from sesight.send.message import OutgoingMessage
from sesight.send.ses import CREDENTIALS, NO_ANSWER, UNREACHABLE, Mailer
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.cli.conftest import eventually
from tests.mailing import simulated_ses
from tests.send.office import Office, office, states

PEOPLE = [f"a{n}@example.org" for n in range(300)]
WORKERS = 16


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses(max_send_rate=10_000) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, ses: SimulatedSes) -> Iterator[Office]:
    with office(tmp_path, ses) as opened:
        yield opened


def addresses(ses: SimulatedSes) -> Counter[str]:
    """Return how many messages SES accepted for each address."""
    return Counter(each.to[0] for each in ses.messages())


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.RESET, Fault.DROPPED, Fault.ERROR_AFTER])
def test_an_outage_from_the_start(here: Office, ses: SimulatedSes, fault: Fault) -> None:
    """When SES fails call after call, the run stops after a few, and only these are unknown; when SES
    is back the rest is sent, and nobody has two messages.
    """
    ses.fail(fault, 10_000)
    results = here.send(PEOPLE, resumed=True)
    assert Counter(states(results)) == {
        SendState.UNKNOWN: IN_A_ROW,
        SendState.THROTTLED: 300 - IN_A_ROW,
    }
    assert {each.code for each in results if each.state is SendState.THROTTLED} == {OUTAGE}
    assert ses.calls["SendEmail"] == IN_A_ROW
    ses.recover()
    with office(Path(here.app.settings.store.url[10:]).parent, ses) as later:
        counts = Counter(states(later.send(PEOPLE, resumed=True)))
        assert counts == {SendState.UNKNOWN: IN_A_ROW, SendState.SENT: 300 - IN_A_ROW}
        later.take_events()
        counts = Counter(states(later.send(PEOPLE, resumed=True)))
    took_it = fault in {Fault.DROPPED, Fault.ERROR_AFTER}
    assert counts[SendState.SENT] == 300 - (0 if took_it else IN_A_ROW)
    assert set(addresses(ses).values()) == {1}


def test_an_outage_in_the_middle(here: Office, ses: SimulatedSes) -> None:
    """Of an outage in the middle of a run those are unknown who were under way, and a few more."""
    calls = itertools.count(1)
    ses.fail(Fault.RESET, 10_000, matches=lambda _: next(calls) > 100)
    counts = Counter(states(here.send(PEOPLE)))
    assert counts[SendState.SENT] == 100
    assert 0 < counts[SendState.UNKNOWN] <= WORKERS + IN_A_ROW
    assert counts.total() == 300


def test_a_single_fault(here: Office, ses: SimulatedSes) -> None:
    """A fault among many messages stops nothing."""
    ses.fail(Fault.ERROR, matches=lambda call: "a50@" in call["Destination"]["ToAddresses"][0])
    counts = Counter(states(here.send(PEOPLE)))
    assert counts == {SendState.SENT: 299, SendState.UNKNOWN: 1}


def test_unavailable(here: Office, ses: SimulatedSes) -> None:
    """A 503 before SES took anything is not unknown: the run stops, and the same order sends to
    everybody once, when SES is back.
    """
    ses.fail(Fault.UNAVAILABLE, 10_000)
    results = here.send(PEOPLE)
    assert set(states(results)) == {SendState.THROTTLED}
    assert {each.code for each in results} <= {"unavailable", OUTAGE}
    assert ses.calls["SendEmail"] == IN_A_ROW
    ses.recover()
    with office(Path(here.app.settings.store.url[10:]).parent, ses) as later:
        assert set(states(later.send(PEOPLE))) == {SendState.SENT}
    assert addresses(ses) == Counter(PEOPLE)


def test_unavailable_for_a_moment(here: Office, ses: SimulatedSes) -> None:
    """A 503 or two are got over in the same run."""
    ses.fail(Fault.UNAVAILABLE, 2)
    assert set(states(here.send(PEOPLE[:40]))) == {SendState.SENT}
    assert addresses(ses) == Counter(PEOPLE[:40])


def test_connections_refused(tmp_path: Path) -> None:
    """When nobody listens any more, the run stops; those are unknown at most who were under way, and
    the same order goes on when somebody does.
    """
    port = 0
    for expected in ("throttled", "sent"):
        with simulated_ses(max_send_rate=400, port=port) as ses, office(tmp_path, ses) as here:
            port = int(ses.url.rpartition(":")[2])
            if expected == "throttled":
                stopped = threading.Thread(target=lambda: _stop_after(ses, 40))
                stopped.start()
                counts = Counter(states(here.send(PEOPLE)))
                stopped.join()
                assert counts[SendState.THROTTLED] > 0
                assert counts[SendState.UNKNOWN] <= WORKERS
                taken = addresses(ses)
            else:
                counts = Counter(states(here.send(PEOPLE)))
                assert counts[SendState.THROTTLED] == 0
                taken += addresses(ses)
    assert set(taken.values()) == {1}
    assert (
        counts[SendState.SENT] <= len(taken) <= counts[SendState.SENT] + counts[SendState.UNKNOWN]
    )


def _stop_after(ses: SimulatedSes, messages: int) -> None:
    """Stop SES once it accepted so many."""
    eventually(lambda: len(ses.messages()) >= messages)
    ses.stop()


def test_while_nothing_is_called(here: Office, ses: SimulatedSes) -> None:
    """After an outage stopped a run, the next one is told so at once, and costs nobody an unknown."""
    ses.fail(Fault.ERROR, 10_000)
    here.send(PEOPLE)
    (result,) = here.send(["ben@example.org"], "batch-2")
    assert (result.state, result.code) == (SendState.THROTTLED, OUTAGE)
    assert ses.calls["SendEmail"] == IN_A_ROW
    # statements go by a sender of their own, which finds out by itself
    ses.recover()
    assert states(here.send(["cy@example.org"], "batch-3", stream="finance")) == [SendState.SENT]


def test_what_is_unknown_is_tried_again(here: Office, ses: SimulatedSes) -> None:
    """Somebody who says so has the unknown tried again, once; what an event tells of stays sent."""
    ses.fail(Fault.DROPPED, matches=lambda call: "a0@" in call["Destination"]["ToAddresses"][0])
    ses.fail(Fault.ERROR, matches=lambda call: "a1@" in call["Destination"]["ToAddresses"][0])
    assert states(here.send(PEOPLE[:3])) == [SendState.UNKNOWN, SendState.UNKNOWN, SendState.SENT]
    assert states(here.send(PEOPLE[:3], resumed=True)) == [
        SendState.UNKNOWN,
        SendState.UNKNOWN,
        SendState.SENT,
    ]
    here.take_events()
    again = here.send(PEOPLE[:3], resumed=True, retry_unknown=True)
    assert states(again) == [SendState.SENT] * 3
    assert states(here.send(PEOPLE[:3], resumed=True, retry_unknown=True)) == [SendState.SENT] * 3
    assert addresses(ses) == Counter(PEOPLE[:3])


@pytest.mark.parametrize("held_up", ["outage", "quota"])
def test_who_could_not_be_tried_again_stays_unknown(
    tmp_path: Path, ses: SimulatedSes, here: Office, held_up: str
) -> None:
    """Trying the unknown again when nothing can be called gives nobody up: the Send event that comes later
    still tells that SES took the message, and nobody gets a second one.
    """
    some = PEOPLE[:IN_A_ROW]
    ses.fail(Fault.DROPPED, 10_000)
    assert set(states(here.send(some))) == {SendState.UNKNOWN}
    ses.recover()
    if held_up == "quota":
        ses.account.max_24_hour_send = len(some)
    again = here if held_up == "outage" else None
    with contextlib.ExitStack() as stack:
        if again is None:
            again = stack.enter_context(office(tmp_path, ses))
        assert set(states(again.send(some, resumed=True, retry_unknown=True))) == {
            SendState.UNKNOWN
        }
        again.take_events()
        assert set(states(again.send(some, resumed=True))) == {SendState.SENT}
    assert addresses(ses) == Counter(some)


def test_a_sender_that_ses_refuses(here: Office, ses: SimulatedSes) -> None:
    """A run stops after SES refused a few in a row; when that is mended the same order sends to all."""
    ses.account.identities.clear()
    results = here.send(PEOPLE, resumed=True)
    refused = [each for each in results if each.state is SendState.REFUSED]
    assert ses.calls["SendEmail"] == len(refused) == IN_A_ROW
    others = [each for each in results if each.state is not SendState.REFUSED]
    assert {(each.state, each.code) for each in others} == {
        (SendState.THROTTLED, "message-rejected")
    }
    (detail,) = {each.detail for each in others}
    assert detail == (
        "SES refused 5 messages in a row, so this one was not tried: "
        "SES rejected the message: is the sender verified?"
    )
    ses.account.identities.add("example.com")
    assert set(states(here.send(PEOPLE, resumed=True))) == {SendState.SENT}
    assert addresses(ses) == Counter(PEOPLE)


def test_recipients_that_ses_refuses(tmp_path: Path) -> None:
    """Recipients who are refused for reasons of their own hold up nobody for good: run again, those come
    first who were not tried.
    """
    with (
        simulated_ses(production=False, max_send_rate=10_000) as ses,
        office(tmp_path, ses, workers=1) as here,
    ):
        ses.account.identities.add("verified.example")
        people = [*PEOPLE[:12], *(f"a{n}@verified.example" for n in range(12))]
        for _ in range(3):
            results = here.send(people, resumed=True)
        assert set(states(results[12:])) == {SendState.SENT}
        assert {each.state for each in results[:12]} <= {SendState.REFUSED, SendState.THROTTLED}


# What botocore raises


class Raising:
    """A client of SES that fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def send_email(self, **_: object) -> dict[str, str]:
        raise self.error


RAISED = {
    "a proxy that refuses": (
        ProxyConnectionError(proxy_url="http://192.0.2.1", error="refused"),
        UNREACHABLE,
    ),
    "TLS that breaks": (SSLError(endpoint_url="https://example.com", error="eof"), NO_ANSWER),
    "an answer that is none": (ResponseParserError("no JSON"), NO_ANSWER),
    "credentials that cannot be had": (
        CredentialRetrievalError(provider="sso", error_msg="expired"),
        CREDENTIALS,
    ),
}


@pytest.mark.parametrize("case", RAISED, ids=str)
def test_what_botocore_raises(case: str) -> None:
    """Whatever goes wrong on the way is told as a meaning: unknown, unless nothing can have been sent."""
    error, meaning = RAISED[case]
    message = OutgoingMessage(
        to="ana@example.org",
        sender="news@example.com",
        configuration_set="outreach-tracking",
        tags={},
        content=RenderedTemplate("Hello", None, "Hello"),
    )
    assert Mailer(Raising(error)).send(message) == meaning


# The breaker alone


class Time:
    """A clock that stands until it is moved."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> CircuitBreaker:
    return CircuitBreaker(1.0, time)


def entering(breaker: CircuitBreaker, time: Time) -> Callable[[], object]:
    """Return what asks for leave without waiting."""
    return lambda: breaker.acquire(time.now, threading.Event())


def test_one_at_a_time_at_first(breaker: CircuitBreaker, time: Time) -> None:
    """Until a message was accepted one call is made at a time, then any number."""
    enter = entering(breaker, time)
    first = enter()
    assert enter() is None
    breaker.release(first)
    second = enter()
    assert enter() is None
    breaker.accepted(second)
    assert None not in [enter() for _ in range(50)]


def test_longer_and_longer_pauses(breaker: CircuitBreaker, time: Time) -> None:
    """After each failure the next call waits twice as long; after a few nobody calls for a while, then
    one does, and one that is accepted ends it.
    """
    enter = entering(breaker, time)
    for failures, pause in enumerate([1, 2, 4, 8, REST, REST], 1):
        assert breaker.failed(enter(), OUTAGE) == (failures >= IN_A_ROW)
        time.now += pause - 0.01
        assert enter() is None
        time.now += 0.02
    breaker.accepted(enter())
    assert not breaker.is_failing
    assert None not in [enter() for _ in range(50)]


def test_calls_that_fail_together(breaker: CircuitBreaker, time: Time) -> None:
    """Calls under way together that fail count as one failure."""
    enter = entering(breaker, time)
    breaker.accepted(enter())
    under_way = [enter() for _ in range(16)]
    assert not any(breaker.failed(each, OUTAGE) for each in under_way)
    time.now += 1
    assert enter() is not None


def test_refusals_of_several_kinds(breaker: CircuitBreaker, time: Time) -> None:
    """Refusals under one code in a row are enough to stop, those of several are not; the next run
    tries as many again.
    """
    enter = entering(breaker, time)
    kinds = ["access", "bad-request"] * IN_A_ROW
    assert not any(breaker.failed(enter(), kind) for kind in kinds)
    for _ in range(2):
        stops = [breaker.failed(enter(), "access") for _ in range(IN_A_ROW)]
        assert stops == [False] * (IN_A_ROW - 1) + [True]
