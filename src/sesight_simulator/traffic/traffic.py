"""The events of a plan in the order they arrive: first the history, then live traffic.

    truth = Truth()
    for event in generate(Plan(seed=7, end=…, messages=10_000), truth):
        store(event.body)
    truth.document()

Memory holds only the events that are still to come.
"""

import random
from collections.abc import Callable, Iterator
from heapq import heappop
from itertools import chain
from math import ceil

from sesight_simulator.traffic.arrivals import REPEAT, Pending, SimulatedMessage
from sesight_simulator.traffic.campaigns import CampaignCalendar
from sesight_simulator.traffic.event_bodies import PREFIX, Mark
from sesight_simulator.traffic.message_lifecycle import MessageLifecycle
from sesight_simulator.traffic.plan import DAY, Plan, SimulatedEvent, now_ms
from sesight_simulator.traffic.truth import Truth

__all__ = ["LiveTraffic", "Plan", "SimulatedEvent", "Traffic", "Truth", "generate"]


def body(message: SimulatedMessage, mark: int, tail: bytes) -> bytes:
    """Return the event as SES would send it: JSON in UTF-8."""
    args = message.args
    if mark == Mark.SEND:
        # Mostly a delivery is next: keep the head until then, and no longer, to save memory.
        head = message.head = message.batch.templates.full % args
    elif mark == Mark.DELAY:  # has no headers
        head = message.batch.templates.brief % (args[0], args[1], args[2], args[5])
    elif mark == Mark.FAILURE:  # has no tag but the configuration set
        head = message.batch.templates.bare % args[:3]
    elif message.head:
        head = message.head
        message.head = b""
    else:
        head = message.batch.templates.full % args
    return PREFIX[mark] + head + tail


class Traffic:
    """The traffic of a plan: `history()` up to the plan's end, then `live()`."""

    def __init__(self, plan: Plan, truth: Truth | None = None) -> None:
        self.plan = plan
        self.truth = truth
        if truth is not None:
            truth.plan = plan
        self.calendar = CampaignCalendar(plan)
        self.heap: list[Pending] = []
        self._finished = False

    def history(self) -> Iterator[SimulatedEvent]:
        """Yield every event up to the plan's end, in order of arrival. Call it once.

        The truth is complete when the iterator is exhausted.
        """
        heap, truth = self.heap, self.truth
        begin = MessageLifecycle(
            self.plan, random.Random(f"sesight lives {self.plan.seed}"), heap
        ).begin
        end = (self.plan.end + 1, 0, None)
        for sent, number, batch in chain(self.calendar.sends(), (end,)):
            while heap and heap[0][0] < sent:
                at, _, message, mark, recipients, tail = heappop(heap)
                if mark >= REPEAT:
                    mark -= REPEAT
                    if truth is not None:
                        truth.duplicates += 1
                elif truth is not None:
                    truth.record(message, mark, recipients)
                yield SimulatedEvent(at, body(message, mark, tail))
            if batch is not None:
                begin(batch, number, sent)
        if truth is not None:
            # Messages with events to come count as they stand.
            for message in {id(entry[2]): entry[2] for entry in heap}.values():
                if message.left:
                    truth.count(message)
        self._finished = True

    def live(self, rate: float = 1.0, clock: Callable[[], int] = now_ms) -> "LiveTraffic":
        """Return the traffic after the history: pending events and `rate` new messages a second."""
        if not self._finished:
            raise RuntimeError("read history() to its end before asking for what follows it")
        return LiveTraffic(self, rate, clock)


class LiveTraffic:
    """Traffic in real time: call `due()` again and again for the events that have arrived.

    The truth does not count them. New messages are sent at random times, `rate` a second on average.
    """

    def __init__(self, traffic: Traffic, rate: float, clock: Callable[[], int]) -> None:
        plan = traffic.plan
        self.rate = rate
        self.clock = clock
        self.heap = traffic.heap
        self._random = random.Random(f"sesight live {plan.seed}")
        self._lifecycle = MessageLifecycle(plan, self._random, self.heap)
        self._lifecycle.order = 1 << 60  # greater than every tie-break of the history
        self._batches = traffic.calendar.endless()
        self._share = plan.outreach_share
        self._number = 0
        self._next = float(plan.end)
        self._wait()

    def due(self, now: int | None = None) -> list[SimulatedEvent]:
        """Return the events that arrived since the last call, up to `now` (ms, default the clock)."""
        now = self.clock() if now is None else now
        while self._next <= now:
            batch = self._batches[0 if self._random.random() < self._share else 1]
            self._number += 1
            self._lifecycle.begin(batch, self._number, ceil(self._next))
            self._wait()
        events = []
        while self.heap and self.heap[0][0] <= now:
            at, _, message, mark, _, tail = heappop(self.heap)
            events.append(SimulatedEvent(at, body(message, mark & 31, tail)))
        return events

    def _wait(self) -> None:
        """Choose when the next message is sent."""
        self._next += (
            self._random.expovariate(self.rate) * 1000.0 if self.rate > 0 else 36_500.0 * DAY
        )


def generate(plan: Plan, truth: Truth | None = None) -> Iterator[SimulatedEvent]:
    """Return the history of a plan; `truth` counts it."""
    return Traffic(plan, truth).history()
