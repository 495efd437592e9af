"""A local SES v2 endpoint: it obeys SES's rules, keeps what it accepts and publishes signed events.

It does not simulate DKIM signatures, the tracking pixel and tracked links in bodies, raw messages, bulk
sending, contacts that opt out, tenants, and event destinations: every event of a message with a
configuration set is published.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import msgspec

from sesight_simulator.ses.account import SimulatedAccount
from sesight_simulator.ses.addresses import is_simulator, mailbox_of
from sesight_simulator.ses.api_model import ApiCall, ApiModel, Operation, SesError
from sesight_simulator.ses.delivery_results import (
    Delay,
    DeliveryResult,
    always_delivered,
    realistic_delay,
    short_delay,
    varied_results,
)
from sesight_simulator.ses.event_publisher import EventPublisher
from sesight_simulator.ses.events import SesEvent, events_of
from sesight_simulator.ses.faults import BEFORE, Fault, PlannedFault, next_fault
from sesight_simulator.ses.http_server import HttpRequest, HttpResponse, HttpServer, ResponseMode
from sesight_simulator.ses.send_email import SendEmail
from sesight_simulator.ses.sent_message import SentMessage
from sesight_simulator.sns import TOPIC_ARN, Signer
from sesight_simulator.traffic.plan import now_ms

_MODES = {
    Fault.RESET: ResponseMode.RESET,
    Fault.DROPPED: ResponseMode.CLOSED,
    Fault.HUNG: ResponseMode.HUNG,
}


class SimulatedSes:
    """One SES account in one region, at `url` while it runs. Any thread may use it.

    - `intake`: the URL that events are posted to, over `connections` connections. With one connection
      they keep their order.
    - `signer` signs the notifications; without one a key is made: pin its `certificate_pem`.
    - `on_event` receives each event as soon as it is certain to happen.
    - `choose_result` decides what happens to mail for a mailbox that is not the mailbox simulator's;
      `delay` decides when.
    - `max_messages`: how many accepted messages can be looked at, and four times as many events.
    """

    def __init__(
        self,
        *,
        intake: str | None = None,
        signer: Signer | None = None,
        on_event: Callable[[SesEvent], object] = lambda _: None,
        connections: int = 4,
        choose_result: Callable[[str], DeliveryResult] = always_delivered,
        delay: Delay = short_delay,
        region: str = "eu-west-1",
        identities: tuple[str, ...] = ("example.com",),
        configuration_sets: tuple[str, ...] = ("outreach-tracking", "finance-tracking"),
        max_send_rate: float = 1_000.0,
        max_24_hour_send: float = 1_000_000.0,
        production: bool = True,
        max_messages: int = 20_000,
        seed: int = 1,
        port: int = 0,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.account = SimulatedAccount(
            clock,
            region=region,
            identities=identities,
            configuration_sets=configuration_sets,
            max_send_rate=max_send_rate,
            max_24_hour_send=max_24_hour_send,
            production=production,
        )
        self.choose_result = choose_result
        self.delay = delay
        self.calls: Counter[str] = Counter()
        """Calls received, by operation."""
        self.statuses: Counter[int] = Counter()
        """Notifications that are finished, by the last HTTP status; 0: given up."""
        self.signer = signer or (Signer.generate(TOPIC_ARN) if intake is not None else None)
        self._intake = intake
        self._on_event = on_event
        self._connections = connections
        self._clock = clock
        self._messages: deque[SentMessage] = deque(maxlen=max_messages)
        self._events: deque[SesEvent] = deque(maxlen=4 * max_messages)
        self._planned_faults: list[PlannedFault] = []
        self._changed = threading.Condition(threading.RLock())
        self._unpublished = 0
        self._server = HttpServer(self._respond, port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._publisher: EventPublisher | None = None
        self._start_error: OSError | None = None
        send_email = SendEmail(
            self.account,
            seed=seed,
            unsubscribe_url=lambda message_id: f"{self.url}/unsubscribe/{message_id}",
            on_accepted=self._accepted,
        )
        self._operations: dict[str, Operation] = {
            "SendEmail": send_email,
            **self.account.operations(),
        }
        self._model = ApiModel(frozenset(self._operations))

    # -- running ---------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The endpoint, for a client's `endpoint_url`."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def operations(self) -> list[str]:
        """The operations of SES v2 that are answered."""
        return sorted(self._operations)

    def start(self) -> None:
        """Listen, on a thread of its own. Raises OSError if the port is in use."""
        listening = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listening)), name="simulated-ses", daemon=True
        )
        self._thread.start()
        listening.wait()
        if self._start_error is not None:
            self._thread.join()
            raise self._start_error

    def stop(self) -> None:
        """Close all connections; events that are not published yet are dropped."""
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
        except OSError as error:  # the port is in use
            self._start_error = error
            listening.set()
            return
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        publishing = None
        if self._intake is not None and self.signer is not None:
            self._publisher = EventPublisher(
                self._intake, self.signer, self._connections, self._published
            )
            publishing = asyncio.ensure_future(self._publisher.run())
        listening.set()
        await self._stopped.wait()
        await self._server.stop()
        if publishing is not None:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    # -- looking at it ---------------------------------------------------------------------------

    def messages(self, mailbox: str | None = None) -> list[SentMessage]:
        """Return the accepted messages, oldest first; with `mailbox`, those to it."""
        with self._changed:
            messages = list(self._messages)
        if mailbox is None:
            return messages
        return [
            message
            for message in messages
            if mailbox.lower() in {mailbox_of(to).lower() for to in message.recipients}
        ]

    def message(self, message_id: str) -> SentMessage:
        """Return the message of an id. Raises KeyError."""
        with self._changed:
            for message in self._messages:
                if message.message_id == message_id:
                    return message
        raise KeyError(message_id)

    def events(self, message_id: str | None = None) -> list[SesEvent]:
        """Return past and future events by time; with `message_id`, those of that message."""
        with self._changed:
            events = [event for event in self._events if message_id in {None, event.message_id}]
        return sorted(events, key=lambda event: event.at)

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until intake has answered for every event so far. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._unpublished == 0, seconds):
                raise TimeoutError(f"{self._unpublished} events are not published yet")

    # -- faults ----------------------------------------------------------------------------------

    def fail(
        self,
        fault: Fault,
        times: int = 1,
        *,
        operations: tuple[str, ...] = ("SendEmail",),
        seconds: float = 1.0,
        matches: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        """Plan a fault for the next `times` calls of `operations` whose parameters match.

        `seconds` is how late a slow answer comes.
        """
        with self._changed:
            self._planned_faults.append(PlannedFault(fault, times, operations, seconds, matches))

    def recover(self) -> None:
        """Cancel all planned faults."""
        with self._changed:
            self._planned_faults.clear()

    # -- answering -------------------------------------------------------------------------------

    def _respond(self, request: HttpRequest) -> HttpResponse:
        try:
            # Signatures are not verified, but every real client sends one.
            if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
                raise SesError(
                    "MissingAuthenticationTokenException", "Missing Authentication Token"
                )
            call = self._model.read(request.method, request.target, request.body)
        except SesError as error:
            return self._error(error)
        with self._changed:
            self.calls[call.operation] += 1
            planned = next_fault(self._planned_faults, call.operation, call.parameters)
            return self._perform(call) if planned is None else self._fail(call, planned)

    def _perform(self, call: ApiCall) -> HttpResponse:
        try:
            output = self._operations[call.operation](call.parameters)
        except SesError as error:
            return self._error(error)
        return HttpResponse(body=msgspec.json.encode(output))

    def _fail(self, call: ApiCall, planned: PlannedFault) -> HttpResponse:
        fault = planned.fault
        if fault not in BEFORE:
            response = self._perform(call)
            if fault is Fault.SLOW:
                return replace(response, seconds=planned.seconds)
            if response.status != 200:
                return response
        if fault in _MODES:
            return HttpResponse(mode=_MODES[fault])
        if fault is Fault.THROTTLED:
            return self._error(
                SesError("TooManyRequestsException", "Maximum sending rate exceeded.")
            )
        if fault is Fault.UNAVAILABLE:
            return self._error(SesError("ServiceUnavailable", "Service is unavailable."))
        return self._error(SesError("InternalFailure", "An internal failure occurred."))

    def _error(self, error: SesError) -> HttpResponse:
        body = msgspec.json.encode({"message": error.message})
        headers = (("x-amzn-ErrorType", error.code),)
        return HttpResponse(self._model.status(error.code), body, headers)

    # -- events ----------------------------------------------------------------------------------

    def _accepted(self, message: SentMessage) -> None:
        self._messages.append(message)
        events, results = events_of(message, self.choose_result, self.delay)
        for mailbox, result in results.items():
            reason = {
                DeliveryResult.BOUNCED: "BOUNCE",
                DeliveryResult.COMPLAINED: "COMPLAINT",
            }.get(result)
            if reason is not None and not is_simulator(mailbox):
                self.account.suppressions.suppress(mailbox, reason, message.message_id)
        if message.configuration_set is None:
            return  # SES publishes events through configuration sets only
        now = self._clock()
        with self._changed:
            self._events.extend(events)
            publisher, loop = self._publisher, self._loop
            if publisher is not None and loop is not None:
                self._unpublished += len(events)
                delays_ms = [max(0, event.at - now) for event in events]
                loop.call_soon_threadsafe(publisher.add, events, delays_ms)
        for event in events:
            self._on_event(event)

    def _published(self, status: int | None) -> None:
        with self._changed:
            self._unpublished -= 1
            self.statuses[status or 0] += 1
            self._changed.notify_all()


def realistic_ses(intake: str, signer: Signer, **options: Any) -> SimulatedSes:
    """Return a simulated SES for people to watch: results vary, and events take seconds.

    `options` are those of `SimulatedSes`.
    """
    defaults: dict[str, Any] = {
        "choose_result": varied_results,
        "delay": realistic_delay,
        "max_messages": 1_000,
        "max_send_rate": 14.0,
    }
    return SimulatedSes(intake=intake, signer=signer, **{**defaults, **options})
