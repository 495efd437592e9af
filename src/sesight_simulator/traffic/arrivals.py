"""Messages and their events, in a heap of the events that are still to come."""

import random
from collections.abc import Callable
from heapq import heappush

import msgspec

from sesight_simulator.traffic import event_bodies as bodies
from sesight_simulator.traffic import people
from sesight_simulator.traffic.campaigns import SimulatedBatch
from sesight_simulator.traffic.event_bodies import Mark, stamp
from sesight_simulator.traffic.plan import DAY, Plan

COLLECTED = 60 * DAY
"""SES collects opens and clicks for this long after the send, in ms."""
REPEAT = 32
"""Added to the mark of an arrival that repeats another one."""


class SimulatedMessage(msgspec.Struct, eq=False, gc=False):
    """One message, while some of its events have not arrived."""

    batch: SimulatedBatch
    sent: int
    """When SES accepted it, epoch ms."""
    args: tuple[bytes, ...]
    """The arguments of `MailTemplates.full`."""
    network: bytes = b""
    """The tags that SES adds after the delivery."""
    head: bytes = b""
    """`MailTemplates.full` filled in, kept from the send to the next event."""
    left: int = 0
    """Events that have not arrived, without their repetitions."""
    seen: int = 0
    """What `Truth` has seen of a message to one recipient, or of unattributed events."""
    parts: list[int] | None = None
    """What `Truth` has seen of each recipient; None for a message to one."""


Pending = tuple[int, int, SimulatedMessage, int, int, bytes]
"""An arrival: (epoch ms, tie-break, message, mark [+ REPEAT], recipients as bits, tail of the body)."""


class Arrivals:
    """Puts the events of messages into a heap, some late or twice, as the plan says."""

    def __init__(self, plan: Plan, rng: random.Random, heap: list[Pending]) -> None:
        self.plan = plan
        self.heap = heap
        self.order = 0
        self.uniform: Callable[[], float] = rng.random
        self.bits: Callable[[int], int] = rng.getrandbits
        self.noisy = 1 - (1 - plan.disorder) * (1 - plan.duplicates)
        self.late = plan.disorder / self.noisy if self.noisy else 0.0

    def pick(self, durations: tuple[int, ...]) -> int:
        """Return one of 4,096 durations, varied by up to a tenth."""
        return int(durations[self.bits(12)] * (0.9 + 0.2 * self.uniform()))

    def add(
        self,
        message: SimulatedMessage,
        at: int,
        mark: int,
        tail: bytes,
        recipients: int = 1,
        *,
        prompt: bool = False,
    ) -> None:
        """Add an event that happens at `at`: it arrives then or late, and perhaps twice.

        A `prompt` event arrives on time and once.
        """
        self.order += 2
        message.left += 1
        if not prompt and self.uniform() < self.noisy:
            # The first draw decides that the event is late or repeated, the next ones which of the two.
            if self.uniform() < self.late:
                at += 1 + int(self.uniform() * self.plan.disorder_ms)
                twice = self.uniform() < self.plan.duplicates
            else:
                twice = True
            if twice:
                again = at + int(self.uniform() ** 3 * self.plan.duplicate_ms)
                entry = (again, self.order + 1, message, mark + REPEAT, recipients, tail)
                heappush(self.heap, entry)
        heappush(self.heap, (at, self.order, message, mark, recipients, tail))

    def feedback_id(self, at: int) -> bytes:
        """Return the feedback id of a bounce or complaint at `at` (ms)."""
        return b"0102%012x-%08x-0000-4000-8000-%012x-000000" % (at, self.bits(32), self.bits(48))

    def hard(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """Return a permanent bounce: type, subtype, status, diagnostic code, reporting MTA."""
        draw = self.uniform()
        kind = b"NoEmail" if draw < 0.6 else b"General"
        if draw > 0.92:
            status, diagnostic = b"5.4.4", b"smtp; 550 5.4.4 Invalid domain"
        else:
            status, diagnostic = b"5.1.1", b"smtp; 550 5.1.1 user unknown"
        return b"Permanent", kind, status, diagnostic, self.remote()

    def soft(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """Return a transient bounce, in the same form."""
        draw = self.uniform()
        if draw < 0.45:
            diagnostic = b"smtp; 452 4.2.2 The email account that you tried to reach is over quota"
            return b"Transient", b"MailboxFull", b"4.2.2", diagnostic, self.remote()
        if draw < 0.8:
            diagnostic = b"smtp; 451 4.3.0 Temporary server error, try again later"
            return b"Transient", b"General", b"4.3.0", diagnostic, self.remote()
        diagnostic = b"smtp; 451 4.4.7 Message expired: unable to deliver in 840 seconds."
        return b"Transient", b"CustomTimeoutExceeded", b"4.4.7", diagnostic, bodies.OWN_MTA

    def remote(self) -> bytes:
        """Return the reporting MTA of a bounce that the receiving server reported."""
        number = self.bits(7)
        return bodies.REMOTE_MTA % (people.MTAS[number], number)

    def bounce(
        self, message: SimulatedMessage, mark: Mark, address: bytes, at: int,
        kind: bytes, sub_kind: bytes, status: bytes, diagnostic: bytes, mta: bytes,
    ) -> None:  # fmt: skip
        """Add a bounce with a delivery report for one address."""
        bounced = bodies.BOUNCED % (address, status, diagnostic)
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
        """Add an open; `wrong` is how often `isBotEvent` says the opposite of the truth."""
        bot = b""
        if at >= bodies.BOT_EVENT_FROM:
            likely = mark == Mark.MACHINE_OPEN and (not wrong or self.uniform() >= wrong)
            bot = bodies.LIKELY if likely else bodies.UNLIKELY
        self.add(message, at, mark, bodies.OPEN % (message.network, stamp(at), agent, ip, bot))

    def click(
        self, message: SimulatedMessage, at: int, mark: Mark, agent: bytes, ip: bytes,
        link: tuple[bytes, bytes],
    ) -> None:  # fmt: skip
        """Add a click; `link` is the URL and its link tags."""
        bot = b""
        if at >= bodies.BOT_EVENT_FROM:
            bot = bodies.LIKELY if mark == Mark.MACHINE_CLICK else bodies.UNLIKELY
        tail = bodies.CLICK % (message.network, stamp(at), ip, agent, *link, bot)
        self.add(message, at, mark, tail)
