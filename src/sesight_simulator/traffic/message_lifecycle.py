"""What happens to each message to one recipient, from the send to the last open.

People stay clear of the product's machine rules: they open and click at least 30 s after the delivery, and
click two links at least 10 s apart. The `ambiguous` opens and clicks are the exception.
"""

import random

from sesight_simulator.traffic import event_bodies as bodies
from sesight_simulator.traffic import people
from sesight_simulator.traffic.arrivals import COLLECTED, Pending, SimulatedMessage
from sesight_simulator.traffic.campaigns import SimulatedBatch
from sesight_simulator.traffic.event_bodies import Mark, date_header, stamp
from sesight_simulator.traffic.multi_recipient import MultiRecipientMessages
from sesight_simulator.traffic.people import SimulatedPerson
from sesight_simulator.traffic.plan import HOUR, MINUTE, SECOND, Plan


class Probabilities:
    """Cumulative probabilities of what can happen, for one uniform draw; the rarest first."""

    def __init__(self, plan: Plan, *, marketing: bool) -> None:
        cold = (1.0 if marketing else 0.35) * plan.bounces
        self.reject = 0.0002 * plan.bounces
        self.failure = self.reject + 0.0005 * plan.bounces
        self.silent = self.failure + 0.0008 * plan.bounces
        self.suppressed = self.silent + 0.005 * cold
        self.hard = self.suppressed + 0.014 * cold
        self.soft = self.hard + 0.007 * cold
        self.undetermined = self.soft + 0.0003 * cold
        self.refused_after_scan = self.undetermined + 0.0006 * cold * plan.machines
        self.delayed = self.refused_after_scan + 0.012 * plan.bounces
        self.troubled = self.delayed
        """A draw from here on: the message is delivered at once."""
        # Of delivered messages:
        self.opens = (0.24 if marketing else 0.46) * plan.engagement
        self.clicks = 0.13 if marketing else 0.22
        self.complaint = (0.0016 if marketing else 0.0002) * plan.complaints
        self.not_spam = self.complaint + 0.00004 * plan.complaints
        self.unsubscribe = self.not_spam + (0.0028 * plan.complaints if marketing else 0.0)
        self.auto_reply = self.unsubscribe + (0.009 if marketing else 0.002) * plan.bounces
        self.bounced_later = self.auto_reply + 0.0006 * cold


class MessageLifecycle(MultiRecipientMessages):
    """Sends messages and adds everything that happens to them as pending events."""

    def __init__(self, plan: Plan, rng: random.Random, heap: list[Pending]) -> None:
        super().__init__(plan, rng, heap)
        self.salt = random.Random(f"sesight people {plan.seed}").getrandbits(60)
        self.probabilities = (
            Probabilities(plan, marketing=False),
            Probabilities(plan, marketing=True),
        )

    def begin(self, batch: SimulatedBatch, number: int, sent: int) -> None:
        """Send message `number` of a batch at `sent` (ms), and add all its events."""
        person = people.person((batch.first_person + number) % batch.people, self.salt)
        bits = self.bits(176)
        ident = b"0102%012x-%08x-%04x-%04x-%04x-%012x-000000" % (
            sent,
            bits & 0xFFFFFFFF,
            bits >> 32 & 0xFFFF,
            bits >> 48 & 0xFFFF,
            bits >> 64 & 0xFFFF,
            bits >> 80 & 0xFFFFFFFFFFFF,
        )
        send_id = b"%012x" % (bits >> 128)
        iso = stamp(sent)
        date = date_header(sent)
        draw = self.uniform()
        if draw < self.plan.multi_recipient:
            self.send_to_group(batch, number, sent, (iso, ident, date, send_id))
            return
        to = person.address
        quoted = b'"%b"' % to
        message = SimulatedMessage(
            batch, sent, (iso, ident, quoted, to, date, send_id, date, quoted, ident, send_id)
        )
        self.add(message, sent, Mark.SEND, bodies.SEND)
        probabilities = self.probabilities[batch.marketing]
        draw = self.uniform()
        if draw < probabilities.troubled:
            self._troubled(message, person, draw, probabilities)
        else:
            self._delivered(message, person, sent + self.pick(people.HANDOVER), probabilities)

    # -- not delivered, or late ------------------------------------------------------------------

    def _troubled(
        self,
        message: SimulatedMessage,
        person: SimulatedPerson,
        draw: float,
        probabilities: Probabilities,
    ) -> None:
        sent = message.sent
        if draw < probabilities.reject:
            self.add(message, sent, Mark.REJECT, bodies.REJECT)
        elif draw < probabilities.failure:
            self.add(message, sent, Mark.FAILURE, bodies.FAILURE % message.batch.template)
        elif draw < probabilities.silent:
            pass  # no event ever follows the Send
        elif draw < probabilities.suppressed:
            self._suppressed(message, person.address, sent + self.pick(people.HANDOVER))
        elif draw < probabilities.hard:
            at = sent + self.pick(people.HANDOVER)
            self.bounce(message, Mark.BOUNCE, person.address, at, *self.hard())
        elif draw < probabilities.soft:
            at = sent + self.pick(people.RETRIES)
            self.bounce(message, Mark.SOFT_BOUNCE, person.address, at, *self.soft())
        elif draw < probabilities.undetermined:
            at = sent + self.pick(people.HANDOVER)
            self.bounce(
                message, Mark.SOFT_BOUNCE, person.address, at, b"Undetermined", b"Undetermined",
                b"5.0.0", b"smtp; 554 5.0.0 transaction failed", bodies.OWN_MTA,
            )  # fmt: skip
        elif draw < probabilities.refused_after_scan:
            # A gateway scans the message, then refuses it: machine events without a delivery.
            at = sent + self.pick(people.HANDOVER)
            self._scan(message, person, at)
            self.bounce(
                message, Mark.BOUNCE, person.address, at + 2 * SECOND, b"Permanent", b"General",
                b"5.7.1", b"smtp; 550 5.7.1 message content rejected", self.remote(),
            )  # fmt: skip
        else:
            self._delayed(message, person, probabilities)

    def _delayed(
        self, message: SimulatedMessage, person: SimulatedPerson, probabilities: Probabilities
    ) -> None:
        """Add one to three delays, then a delivery, or a bounce when the retries are over."""
        full, kind, status, diagnostic = (
            (b"MailboxFull", b"MailboxFull", b"4.2.2", b"smtp; 452 4.2.2 mailbox full"),
            (
                b"RecipientServerError", b"General", b"4.4.1",
                b"smtp; 421 4.4.1 Unable to connect to remote host",
            ),
            (
                b"TransientCommunicationFailure", b"General", b"4.4.2",
                b"smtp; 421 4.4.2 connection dropped",
            ),
        )[int(self.uniform() * 3)]  # fmt: skip
        at = message.sent + self.pick(people.HANDOVER) + MINUTE
        expires = stamp(message.sent + 14 * HOUR)
        for _ in range(1 + int(self.uniform() * 3)):
            at += self.pick(people.RETRIES) // 3
            mta = people.MTAS[int(self.uniform() * 254)]
            self.add(
                message, at, Mark.DELAY,
                bodies.DELAY % (stamp(at), full, expires, mta, person.address, status, diagnostic),
            )  # fmt: skip
        at += self.pick(people.RETRIES) // 3
        if self.uniform() < 0.8:
            self._delivered(message, person, at, probabilities)
        else:
            at = max(at, message.sent + 14 * HOUR)
            self.bounce(
                message, Mark.SOFT_BOUNCE, person.address, at, b"Transient", kind, status, diagnostic,
                self.remote(),
            )  # fmt: skip

    def _suppressed(self, message: SimulatedMessage, address: bytes, at: int) -> None:
        """Add the event of a suppressed address: one in five is a Complaint, as for complainers."""
        if self.uniform() < 0.2:
            recipient = b'{"emailAddress":"%b"}' % address
            tail = bodies.COMPLAINT % (
                b"", self.feedback_id(at), b'"OnAccountSuppressionList"', recipient, stamp(at), b""
            )  # fmt: skip
            self.add(message, at, Mark.SUPPRESSED_COMPLAINT, tail)
            return
        diagnostic = (
            b"Amazon SES did not send the message to this address because it is on the "
            b"suppression list for your account."
        )
        self.bounce(
            message, Mark.SUPPRESSED, address, at, b"Permanent", b"OnAccountSuppressionList",
            b"5.1.1", diagnostic, bodies.OWN_MTA,
        )  # fmt: skip

    # -- delivered -------------------------------------------------------------------------------

    def _delivered(
        self,
        message: SimulatedMessage,
        person: SimulatedPerson,
        at: int,
        probabilities: Probabilities,
    ) -> None:
        uniform = self.uniform
        mailbox = person.mailbox
        number = self.bits(8)
        ip = people.MTAS[number % 254]
        message.network = bodies.DELIVERED_TAGS % ip
        if mailbox.isp:
            message.network += bodies.ISP_TAG % mailbox.isp
        ambiguous = False
        opens = uniform() < probabilities.opens * person.keen
        if opens:
            ambiguous = uniform() < self.plan.ambiguous
        self.add(
            message,
            at,
            Mark.DELIVERY,
            bodies.DELIVERY
            % (
                message.network,
                stamp(at),
                at - message.sent,
                message.args[2],
                mailbox.smtp % message.args[5],
                ip,
                number,
            ),
            # An open is ambiguous only if the time of the delivery is known.
            prompt=ambiguous,
        )
        if ambiguous:
            self._ambiguous(message, person, at)
            return
        machines = self.plan.machines
        private = person.private and machines > 0
        if private and uniform() < 0.93 * machines:
            self.open(
                message, at + self.pick(people.PRIVACY_OPEN), Mark.MACHINE_OPEN,
                people.APPLE_PRIVACY, person.ip, wrong=0.15,
            )  # fmt: skip
        elif mailbox.prefetched and self.bits(8) < mailbox.prefetched * machines:
            self.open(
                message, at + 1 + int(uniform() * 5 * SECOND), Mark.MACHINE_OPEN,
                people.GMAIL_PREFETCH, person.ip, wrong=0.3,
            )  # fmt: skip
        if person.scanned and uniform() < 0.9 * machines:
            self._scan(message, person, at)
        if opens:
            self._read(message, person, at, probabilities, private=private)
        draw = uniform()
        if draw < probabilities.bounced_later:
            self._later(message, person, at, draw, probabilities)

    def _later(
        self,
        message: SimulatedMessage,
        person: SimulatedPerson,
        at: int,
        draw: float,
        probabilities: Probabilities,
    ) -> None:
        """Add a complaint, an unsubscribe, an auto-reply or a late bounce."""
        recipient = b'{"emailAddress":"%b"}' % person.address
        if draw < probabilities.not_spam:
            if not person.mailbox.complains:
                return
            at += self.pick(people.COMPLAIN)
            mark, kind = (
                (Mark.COMPLAINT, b"abuse")
                if draw < probabilities.complaint
                else (Mark.NOT_SPAM, b"not-spam")
            )
            report = bodies.REPORT % (kind, stamp(at - 90 * SECOND))
            tail = bodies.COMPLAINT % (
                message.network, self.feedback_id(at), b"null", recipient, stamp(at), report
            )  # fmt: skip
            self.add(message, at, mark, tail)
        elif draw < probabilities.unsubscribe:
            at += self.pick(people.UNSUBSCRIBE)
            source = b"UnsubscribeHeader" if self.uniform() < 0.6 else b"UnsubscribeFooter"
            leaves_all = b"true" if self.uniform() < 0.3 else b"false"
            tail = bodies.UNSUBSCRIBE % (message.network, stamp(at), source, leaves_all)
            self.add(message, at, Mark.UNSUBSCRIBE, tail)
        elif draw < probabilities.auto_reply:
            at += SECOND + int(self.uniform() * 20 * SECOND)
            tail = bodies.BOUNCE % (
                message.network, self.feedback_id(at), b"Transient", b"General", recipient,
                stamp(at), b"",
            )  # fmt: skip
            self.add(message, at, Mark.AUTO_REPLY, tail)
        else:
            at += self.pick(people.RETRIES)
            self.bounce(message, Mark.BOUNCE, person.address, at, *self.hard())

    # -- opens and clicks ------------------------------------------------------------------------

    def _read(
        self,
        message: SimulatedMessage,
        person: SimulatedPerson,
        at: int,
        probabilities: Probabilities,
        *,
        private: bool,
    ) -> None:
        """Add the opens and clicks of a person."""
        uniform = self.uniform
        agent = person.mailbox.proxy or person.client.mail
        at = self._awake(at + self.pick(people.FIRST_OPEN))
        limit = message.sent + COLLECTED
        links = message.batch.links
        opened = 0
        while at < limit and opened < 7:
            opened += 1
            if not private:  # with privacy protection, Apple's proxy fetched the image before
                self.open(message, at, Mark.HUMAN_OPEN, agent, person.ip)
            if uniform() < probabilities.clicks:
                at += self.pick(people.CLICK_AFTER_OPEN)
                clicked = int(uniform() * len(links))
                while at < limit:
                    link = links[clicked]
                    self.click(
                        message, at, Mark.HUMAN_CLICK, person.client.browser, person.ip, link
                    )
                    clicked += 1
                    if clicked >= len(links) or uniform() > 0.3:
                        break
                    at += self.pick(people.CLICK_AGAIN)
            if uniform() > 0.3:
                break
            at = self._awake(at + self.pick(people.OPEN_AGAIN))

    def _awake(self, at: int) -> int:
        """Return the time; at night, mostly six hours later."""
        if at // HOUR % 24 < 6 and self.uniform() < 0.7:
            return at + 6 * HOUR
        return at

    def _scan(self, message: SimulatedMessage, person: SimulatedPerson, at: int) -> None:
        """Add a scanner that follows every link within two seconds of `at`."""
        agent = people.SCANNERS[self.bits(3)]
        at += 150 + self.bits(8)
        if self.bits(1):
            self.open(message, at, Mark.MACHINE_OPEN, agent, person.ip)
        links = message.batch.links
        if message.batch.marketing:
            links = (*links, (b"https://u.example.com/o/" + message.args[5], b"null"))
        for link in links:
            at += 20 + self.bits(8)
            self.click(message, at, Mark.MACHINE_CLICK, agent, person.ip, link)

    def _ambiguous(self, message: SimulatedMessage, person: SimulatedPerson, at: int) -> None:
        """Add an open by an ordinary browser 1 to 4 s after the delivery at `at`."""
        agent = people.BROWSERS[self.bits(2)]
        at += SECOND + int(self.uniform() * 2 * SECOND)
        self.open(message, at, Mark.UNKNOWN_OPEN, agent, person.ip)
        if self.uniform() < 0.25:
            at += 100 + self.bits(9)
            self.click(message, at, Mark.UNKNOWN_CLICK, agent, person.ip, message.batch.links[0])
