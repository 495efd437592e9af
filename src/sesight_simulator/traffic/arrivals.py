"""Arrivals: a message and its events, as they go into the heap of what is still to come."""

import random
from collections.abc import Callable
from heapq import heappush

import msgspec

from sesight_simulator.traffic import event_bodies as bodies
from sesight_simulator.traffic import people
from sesight_simulator.traffic.campaigns import CampaignStep
from sesight_simulator.traffic.event_bodies import Mark, stamp
from sesight_simulator.traffic.plan import DAY, Plan

COLLECTED = 60 * DAY
"""SES collects opens and clicks for this long after the send, in ms."""
REPEAT = 32
"""Added to a mark in the heap: this arrival repeats another one."""


class SimulatedMessage(msgspec.Struct, eq=False, gc=False):
    """One message, while events of it are still to come."""

    batch: CampaignStep
    sent: int
    """When SES accepted it, epoch ms."""
    args: tuple[bytes, ...]
    """The arguments of `Heads.full`."""
    network: bytes = b""
    """The tags SES adds after delivery."""
    head: bytes = b""
    """`Heads.full` filled in, between the send and the next event."""
    left: int = 0
    """Events (not their repetitions) that have not arrived."""
    seen: int = 0
    """Truth's notes on a message to one recipient, or on what no recipient can be named for."""
    parts: list[int] | None = None
    """Truth's notes on each recipient of several; None: there is one."""


Pending = tuple[int, int, SimulatedMessage, int, int, bytes]
"""An arrival: (epoch ms, tie-break, message, mark [+ REPEAT], recipients as bits, tail)."""


class Arrivals:
    """Puts events of messages into a heap, late or twice where the plan says so."""

    def __init__(self, plan: Plan, rng: random.Random, heap: list[Pending]) -> None:
        self.plan = plan
        self.heap = heap
        self.order = 0
        self.uniform: Callable[[], float] = rng.random
        self.bits: Callable[[int], int] = rng.getrandbits
        self.noisy = 1 - (1 - plan.disorder) * (1 - plan.duplicates)
        self.late = plan.disorder / self.noisy if self.noisy else 0.0

    def pick(self, durations: tuple[int, ...]) -> int:
        """One of 4,096 durations, give or take a tenth."""
        return int(durations[self.bits(12)] * (0.9 + 0.2 * self.uniform()))

    def add(
        self,
        message: SimulatedMessage,
        at: int,
        mark: int,
        tail: bytes,
        who: int = 1,
        *,
        prompt: bool = False,
    ) -> None:
        """Let an event arrive at its own time `at`, or late, and perhaps twice."""
        self.order += 2
        message.left += 1
        if not prompt and self.uniform() < self.noisy:
            # One draw says that something happens; whether late, twice or both, the next ones.
            if self.uniform() < self.late:
                at += 1 + int(self.uniform() * self.plan.disorder_ms)
                twice = self.uniform() < self.plan.duplicates
            else:
                twice = True
            if twice:
                again = at + int(self.uniform() ** 3 * self.plan.duplicate_ms)
                entry = (again, self.order + 1, message, mark + REPEAT, who, tail)
                heappush(self.heap, entry)
        heappush(self.heap, (at, self.order, message, mark, who, tail))

    def feedback_id(self, at: int) -> bytes:
        """The id of a bounce or complaint at `at` (ms)."""
        return b"0102%012x-%08x-0000-4000-8000-%012x-000000" % (at, self.bits(32), self.bits(48))

    def hard(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """A permanent bounce, as (type, subtype, status, diagnostic code, reporting MTA)."""
        draw = self.uniform()
        kind = b"NoEmail" if draw < 0.6 else b"General"
        if draw > 0.92:
            status, words = b"5.4.4", b"smtp; 550 5.4.4 Invalid domain"
        else:
            status, words = b"5.1.1", b"smtp; 550 5.1.1 user unknown"
        return b"Permanent", kind, status, words, self.remote()

    def soft(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """A transient bounce, likewise."""
        draw = self.uniform()
        if draw < 0.45:
            words = b"smtp; 452 4.2.2 The email account that you tried to reach is over quota"
            return b"Transient", b"MailboxFull", b"4.2.2", words, self.remote()
        if draw < 0.8:
            words = b"smtp; 451 4.3.0 Temporary server error, try again later"
            return b"Transient", b"General", b"4.3.0", words, self.remote()
        words = b"smtp; 451 4.4.7 Message expired: unable to deliver in 840 seconds."
        return b"Transient", b"CustomTimeoutExceeded", b"4.4.7", words, bodies.OWN_MTA

    def remote(self) -> bytes:
        """The end of a bounce that the receiving server reported."""
        number = self.bits(7)
        return bodies.REMOTE_MTA % (people.MTAS[number], number)

    def bounce(
        self, message: SimulatedMessage, mark: Mark, address: bytes, at: int,
        kind: bytes, sub_kind: bytes, status: bytes, words: bytes, mta: bytes,
    ) -> None:  # fmt: skip
        """A bounce with a delivery report on one address."""
        bounced = bodies.BOUNCED % (address, status, words)
        tail = bodies.BOUNCE % (
            message.network, self.feedback_id(at), kind, sub_kind, bounced, stamp(at), mta
        )  # fmt: skip
        self.add(message, at, mark, tail)

    def open(
        self,
        message: SimulatedMessage,
        at: int,
        mark: Mark,
        agent: bytes,
        ip: bytes,
        *,
        wrong: float = 0.0,
    ) -> None:
        """An open; `wrong` is how often SES calls it the opposite of what it is."""
        bot = b""
        if at >= bodies.BOT_EVENT_FROM:
            likely = mark == Mark.MACHINE_OPEN and (not wrong or self.uniform() >= wrong)
            bot = bodies.LIKELY if likely else bodies.UNLIKELY
        self.add(message, at, mark, bodies.OPEN % (message.network, stamp(at), agent, ip, bot))

    def click(
        self, message: SimulatedMessage, at: int, mark: Mark, agent: bytes, ip: bytes,
        link: tuple[bytes, bytes],
    ) -> None:  # fmt: skip
        """A click on `link`, which comes with its tags."""
        bot = b""
        if at >= bodies.BOT_EVENT_FROM:
            bot = bodies.LIKELY if mark == Mark.MACHINE_CLICK else bodies.UNLIKELY
        tail = bodies.CLICK % (message.network, stamp(at), ip, agent, *link, bot)
        self.add(message, at, mark, tail)
