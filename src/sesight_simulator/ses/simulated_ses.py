"""A simulated SES: an endpoint on loopback that real SES v2 clients call, which obeys SES's rules,
keeps what it accepted and publishes the events that follow.

What it does not do: DKIM signatures, the tracking pixel and tracked links in bodies, identities'
own default configuration sets, tenants, and event destinations (each event of a message that has a
configuration set is published).
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import msgspec

from sesight_simulator.ses.account import Account
from sesight_simulator.ses.addresses import bare, is_simulator
from sesight_simulator.ses.delivery_results import Delay, Fate, delivered, lifelike, quick, various
from sesight_simulator.ses.events import SesEvent, clicked, events_of, opened, unsubscribed
from sesight_simulator.ses.faults import BEFORE, SENDS, Fault, Faults, Planned, PlannedEntry
from sesight_simulator.ses.message import SentMessage
from sesight_simulator.ses.publisher import Publisher
from sesight_simulator.ses.requests import Call, Model, Refused
from sesight_simulator.ses.sending import Sending
from sesight_simulator.ses.server import Answer, Manner, Request, Server
from sesight_simulator.sns import TOPIC_ARN, Signer
from sesight_simulator.traffic.plan import now_ms

_UNSUBSCRIBE = "/unsubscribe/"
_PAGE = b"<!doctype html><title>Unsubscribe</title><form method=post><button>Unsubscribe</button></form>"
_MANNERS = {
    Fault.RESET: Manner.RESET,
    Fault.DROPPED: Manner.CLOSED,
    Fault.HUNG: Manner.HUNG,
}


class SimulatedSes:
    """One SES account in one region, at `url` while it is entered. Safe to use from any thread."""

    def __init__(
        self,
        *,
        intake: str | None = None,
        signer: Signer | None = None,
        told: Callable[[SesEvent], object] | None = None,
        connections: int = 4,
        fate: Callable[[str], Fate] = delivered,
        delay: Delay = quick,
        announce: bool = True,
        region: str = "eu-west-1",
        identities: tuple[str, ...] = ("example.com",),
        configuration_sets: tuple[str, ...] = ("outreach-tracking", "finance-tracking"),
        max_send_rate: float = 1_000.0,
        max_24_hour_send: float = 1_000_000.0,
        production: bool = True,
        kept: int = 20_000,
        seed: int = 1,
        port: int = 0,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """`intake` is the URL that events are posted to, signed by `signer` (made where none is
        given; pin its `certificate_pem`), over `connections` connections: one keeps their order.
        `told` is handed each event as soon as it is certain. `fate` says what becomes of mail to a
        bare address that is not the simulator's; `delay` when. `announce`: a Send precedes each
        Rendering Failure. The newest `kept` messages, and four times as many events, can be looked at.
        """
        self.account = Account(
            clock,
            region=region,
            identities=identities,
            configuration_sets=configuration_sets,
            max_send_rate=max_send_rate,
            max_24_hour_send=max_24_hour_send,
            production=production,
        )
        self.fate = fate
        self.delay = delay
        self.announce = announce
        self.calls: Counter[str] = Counter()
        """Calls that came, by operation."""
        self.statuses: Counter[int] = Counter()
        """Answers to notifications that are done with, by HTTP status; 0 for those given up."""
        self.signer = signer or (Signer.made(TOPIC_ARN) if intake is not None else None)
        self._intake = intake
        self._told = told
        self._connections = connections
        self._clock = clock
        self._messages: deque[SentMessage] = deque(maxlen=kept)
        self._events: deque[SesEvent] = deque(maxlen=4 * kept)
        self._faults = Faults()
        self._changed = threading.Condition(threading.RLock())
        self._waiting = 0
        self._server = Server(self._respond, port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._publisher: Publisher | None = None
        self._error_at_start: OSError | None = None
        self._sending = Sending(
            self.account,
            seed=seed,
            unsubscribe_url=lambda message_id: f"{self.url}{_UNSUBSCRIBE}{message_id}",
            accepted=self._accepted,
            fault=self._faults.status,
        )
        self._operations = {**self._sending.calls(), **self.account.calls()}
        self._model = Model(frozenset(self._operations))

    # -- running ---------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The endpoint, for a client's `endpoint_url`."""
        return f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        """Listen, on a thread of its own. Raises OSError where the port is not free."""
        listening = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listening)), name="simulated-ses", daemon=True
        )
        self._thread.start()
        listening.wait()
        if self._error_at_start is not None:
            self._thread.join()
            raise self._error_at_start

    def stop(self) -> None:
        """End all connections; events not yet published are dropped."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
            self._loop = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, listening: threading.Event) -> None:
        try:
            await self._server.start()
        except OSError as error:  # the port is not free
            self._error_at_start = error
            listening.set()
            return
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        publishing = None
        if self._intake is not None and self.signer is not None:
            self._publisher = Publisher(self._intake, self.signer, self._connections, self._done)
            publishing = asyncio.ensure_future(self._publisher.run())
        listening.set()
        await self._stopped.wait()
        await self._server.stop()
        if publishing is not None:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    @property
    def operations(self) -> list[str]:
        """The operations of SES v2 that are answered."""
        return sorted(self._operations)

    # -- looking ---------------------------------------------------------------------------------

    def messages(self, address: str | None = None) -> list[SentMessage]:
        """The messages accepted, oldest first; those to a bare address, if one is given."""
        with self._changed:
            found = list(self._messages)
        if address is None:
            return found
        return [each for each in found if address.lower() in _mailboxes(each)]

    def message(self, message_id: str) -> SentMessage:
        """The message of an id. Raises KeyError."""
        with self._changed:
            for each in self._messages:
                if each.message_id == message_id:
                    return each
        raise KeyError(message_id)

    def events(self, message_id: str | None = None) -> list[SesEvent]:
        """The events that have happened or surely will, by their times; of one message, if given."""
        with self._changed:
            found = [each for each in self._events if message_id in {None, each.message_id}]
        return sorted(found, key=lambda each: each.at)

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until intake has answered for every event so far. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting == 0, seconds):
                raise TimeoutError(f"{self._waiting} events are not published yet")

    # -- what people and tests do ----------------------------------------------------------------

    def fail(
        self,
        fault: Fault,
        times: int = 1,
        *,
        operations: tuple[str, ...] = SENDS,
        seconds: float = 1.0,
        meant: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        """Plan a fault for the next `times` calls of `operations` that are `meant`, by parameters.

        `seconds` is how late a slow answer comes.
        """
        with self._changed:
            self._faults.planned.append(Planned(fault, times, operations, seconds, meant))

    def fail_entries(
        self,
        status: str,
        times: int = 1,
        *,
        meant: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        """Plan a status, such as TRANSIENT_FAILURE, for the next entries of SendBulkEmail."""
        with self._changed:
            self._faults.entries.append(PlannedEntry(status, times, meant))

    def recover(self) -> None:
        """Plan no fault any more."""
        with self._changed:
            self._faults.planned.clear()
            self._faults.entries.clear()

    def open(self, message_id: str, **more: Any) -> SesEvent | None:
        """Somebody opens a message now; `more` are fields of the event, such as `userAgent`.

        None where opens of it are not tracked.
        """
        message = self.message(message_id)
        if not message.tracked("Open"):
            return None
        return self._happened(opened(message, self._clock(), **more))

    def click(self, message_id: str, link: str, **more: Any) -> SesEvent | None:
        """Somebody clicks a link of a message now; None where clicks of it are not tracked."""
        message = self.message(message_id)
        if not message.tracked("Click"):
            return None
        return self._happened(clicked(message, self._clock(), link, **more))

    def unsubscribe(self, message_id: str) -> SesEvent | None:
        """The recipient leaves the contact list; no event if that was so before."""
        message = self.message(message_id)
        held = message.list_management
        if held is None:
            raise ValueError("the message was sent without ListManagementOptions")
        with self._changed:
            before, after = self.account.contacts.leave(
                held["ContactListName"], held.get("TopicName"), bare(message.recipients[0])
            )
        if before == after:
            return None
        return self._happened(unsubscribed(message, self._clock(), before, after))

    # -- answering -------------------------------------------------------------------------------

    def _respond(self, request: Request) -> Answer:
        if request.target.startswith(_UNSUBSCRIBE):
            return self._left(request)
        try:
            # signatures are not verified, but a client without credentials would be no client
            if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
                raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
            call = self._model.read(request.method, request.target, request.body)
        except Refused as error:
            return self._error(error)
        with self._changed:
            self.calls[call.operation] += 1
            planned = self._faults.next(call.operation, call.parameters)
            return self._answer(call) if planned is None else self._failed(call, planned)

    def _answer(self, call: Call) -> Answer:
        try:
            return Answer(
                body=msgspec.json.encode(self._operations[call.operation](call.parameters))
            )
        except Refused as error:
            return self._error(error)

    def _failed(self, call: Call, planned: Planned) -> Answer:
        fault = planned.fault
        if fault not in BEFORE:
            answer = self._answer(call)
            if fault is Fault.SLOW:
                return replace(answer, seconds=planned.seconds)
            if answer.status != 200:
                return answer
        if fault in _MANNERS:
            return Answer(manner=_MANNERS[fault])
        if fault is Fault.THROTTLED:
            return self._error(
                Refused("TooManyRequestsException", "Maximum sending rate exceeded.")
            )
        if fault is Fault.UNAVAILABLE:
            return self._error(Refused("ServiceUnavailable", "Service is unavailable."))
        return self._error(Refused("InternalFailure", "An internal failure occurred."))

    def _error(self, error: Refused) -> Answer:
        body = msgspec.json.encode({"message": error.message})
        return Answer(self._model.status(error.code), body, (("x-amzn-ErrorType", error.code),))

    def _left(self, request: Request) -> Answer:
        message_id = request.target.removeprefix(_UNSUBSCRIBE)
        try:
            if request.method == "POST":
                self.unsubscribe(message_id)
            else:
                self.message(message_id)
        except KeyError:
            return Answer(404, b"No such message.", content_type="text/plain")
        return Answer(body=_PAGE, content_type="text/html")

    # -- events ----------------------------------------------------------------------------------

    def _accepted(self, message: SentMessage) -> None:
        self._messages.append(message)
        events, fates = events_of(message, self.fate, self.delay, announce=self.announce)
        for address, fate in fates.items():
            reason = {Fate.BOUNCED: "BOUNCE", Fate.COMPLAINED: "COMPLAINT"}.get(fate)
            if reason in self.account.suppressions.reasons and not is_simulator(address):
                self.account.suppressions.suppress(address, reason, message.message_id)
        self._publish(message, events)

    def _happened(self, event: SesEvent) -> SesEvent:
        self._publish(self.message(event.message_id), [event])
        return event

    def _publish(self, message: SentMessage, events: list[SesEvent]) -> None:
        if message.configuration_set is None:
            return  # without one SES publishes nothing
        now = self._clock()
        waits = [max(0, each.at - now) for each in events]
        with self._changed:
            self._events.extend(events)
            publisher, loop = self._publisher, self._loop
            if publisher is not None and loop is not None:
                self._waiting += len(events)
                loop.call_soon_threadsafe(publisher.add, events, waits)
        if self._told is not None:
            for each in events:
                self._told(each)

    def _done(self, status: int | None) -> None:
        with self._changed:
            self._waiting -= 1
            self.statuses[status or 0] += 1
            self._changed.notify_all()


def _mailboxes(message: SentMessage) -> set[str]:
    return {bare(each).lower() for each in message.recipients}


def lively_ses(intake: str, signer: Signer, **options: Any) -> SimulatedSes:
    """A simulated SES for people to watch: mail arrives within seconds, is read by some and refused
    by some, as `various` and `lifelike` say. Start it, or enter it; `options` are SimulatedSes's.
    """
    given: dict[str, Any] = {
        "fate": various,
        "delay": lifelike,
        "kept": 1_000,
        "max_send_rate": 14.0,
    }
    return SimulatedSes(intake=intake, signer=signer, **{**given, **options})
