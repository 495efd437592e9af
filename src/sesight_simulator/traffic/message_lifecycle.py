"""MessageLifecycle: what becomes of each message to one recipient, from its send to the last open.

People stay out of the product's machine rules: no open or click of a person falls within 30 s of
the delivery, and no two links are clicked within 10 s. The `ambiguous` ones are the exception.
"""

import random

from sesight_simulator.traffic import event_bodies as bodies
from sesight_simulator.traffic import people
from sesight_simulator.traffic.arrivals import COLLECTED, Pending, SimulatedMessage
from sesight_simulator.traffic.campaigns import CampaignStep
from sesight_simulator.traffic.event_bodies import Mark, date_header, stamp
from sesight_simulator.traffic.multi_recipient import MultiRecipientMessages
from sesight_simulator.traffic.people import SimulatedPerson
from sesight_simulator.traffic.plan import HOUR, MINUTE, SECOND, Plan


class Probabilities:
    """What may become of a message, as bounds for one uniform draw, rarest first."""

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
        """Above this, the message is delivered at once."""
        # Of delivered messages:
        self.opens = (0.24 if marketing else 0.46) * plan.engagement
        self.clicks = 0.13 if marketing else 0.22
        self.complaint = (0.0016 if marketing else 0.0002) * plan.complaints
        self.not_spam = self.complaint + 0.00004 * plan.complaints
        self.unsubscribe = self.not_spam + (0.0028 * plan.complaints if marketing else 0.0)
        self.auto_reply = self.unsubscribe + (0.009 if marketing else 0.002) * plan.bounces
        self.bounced_later = self.auto_reply + 0.0006 * cold


class MessageLifecycle(MultiRecipientMessages):
    """Makes messages and puts what happens to them into a heap of pending events."""

    def __init__(self, plan: Plan, rng: random.Random, heap: list[Pending]) -> None:
        super().__init__(plan, rng, heap)
        self.salt = random.Random(f"sesight people {plan.seed}").getrandbits(60)
        self.odds = Probabilities(plan, marketing=False), Probabilities(plan, marketing=True)

    def begin(self, batch: CampaignStep, number: int, sent: int) -> None:
        """Send message `number` of a batch at `sent` (ms): put all its events into the heap."""
        who = people.person((batch.first_person + number) % batch.people, self.salt)
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
            self.several(batch, number, sent, (iso, ident, date, send_id))
            return
        to = who.address
        quoted = b'"%b"' % to
        message = SimulatedMessage(
            batch, sent, (iso, ident, quoted, to, date, send_id, date, quoted, ident, send_id)
        )
        self.add(message, sent, Mark.SEND, bodies.SEND)
        odds = self.odds[batch.marketing]
        draw = self.uniform()
        if draw < odds.troubled:
            self._troubled(message, who, draw, odds)
        else:
            self._delivered(message, who, sent + self.pick(people.HANDOVER), odds)

    # What goes wrong

    def _troubled(
        self, message: SimulatedMessage, who: SimulatedPerson, draw: float, odds: Probabilities
    ) -> None:
        sent = message.sent
        if draw < odds.reject:
            self.add(message, sent, Mark.REJECT, bodies.REJECT)
        elif draw < odds.failure:
            self.add(message, sent, Mark.FAILURE, bodies.FAILURE % message.batch.template)
        elif draw < odds.silent:
            pass  # nothing is ever heard of it
        elif draw < odds.suppressed:
            self._suppressed(message, who.address, sent + self.pick(people.HANDOVER))
        elif draw < odds.hard:
            at = sent + self.pick(people.HANDOVER)
            self.bounce(message, Mark.BOUNCE, who.address, at, *self.hard())
        elif draw < odds.soft:
            at = sent + self.pick(people.RETRIES)
            self.bounce(message, Mark.SOFT_BOUNCE, who.address, at, *self.soft())
        elif draw < odds.undetermined:
            at = sent + self.pick(people.HANDOVER)
            self.bounce(
                message, Mark.SOFT_BOUNCE, who.address, at, b"Undetermined", b"Undetermined",
                b"5.0.0", b"smtp; 554 5.0.0 transaction failed", bodies.OWN_MTA,
            )  # fmt: skip
        elif draw < odds.refused_after_scan:
            # A gateway that fetches before it refuses: machine events, and no delivery.
            at = sent + self.pick(people.HANDOVER)
            self._scan(message, who, at)
            self.bounce(
                message, Mark.BOUNCE, who.address, at + 2 * SECOND, b"Permanent", b"General",
                b"5.7.1", b"smtp; 550 5.7.1 message content rejected", self.remote(),
            )  # fmt: skip
        else:
            self._delayed(message, who, odds)

    def _delayed(
        self, message: SimulatedMessage, who: SimulatedPerson, odds: Probabilities
    ) -> None:
        """One to three delays; then a delivery, or a bounce when the retries are over."""
        full, kind, status, words = (
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
                bodies.DELAY % (stamp(at), full, expires, mta, who.address, status, words),
            )  # fmt: skip
        at += self.pick(people.RETRIES) // 3
        if self.uniform() < 0.8:
            self._delivered(message, who, at, odds)
        else:
            at = max(at, message.sent + 14 * HOUR)
            self.bounce(
                message, Mark.SOFT_BOUNCE, who.address, at, b"Transient", kind, status, words,
                self.remote(),
            )  # fmt: skip

    def _suppressed(self, message: SimulatedMessage, address: bytes, at: int) -> None:
        """SES did not try: one time in five told as a complaint, as it does for complainers."""
        if self.uniform() < 0.2:
            recipient = b'{"emailAddress":"%b"}' % address
            tail = bodies.COMPLAINT % (
                b"", self.feedback_id(at), b'"OnAccountSuppressionList"', recipient, stamp(at), b""
            )  # fmt: skip
            self.add(message, at, Mark.SUPPRESSED_COMPLAINT, tail)
            return
        words = (
            b"Amazon SES did not send the message to this address because it is on the "
            b"suppression list for your account."
        )
        self.bounce(
            message, Mark.SUPPRESSED, address, at, b"Permanent", b"OnAccountSuppressionList",
            b"5.1.1", words, bodies.OWN_MTA,
        )  # fmt: skip

    # What goes well

    def _delivered(
        self, message: SimulatedMessage, who: SimulatedPerson, at: int, odds: Probabilities
    ) -> None:
        uniform = self.uniform
        mailbox = who.mailbox
        number = self.bits(8)
        ip = people.MTAS[number % 254]
        message.network = bodies.DELIVERED_TAGS % ip
        if mailbox.isp:
            message.network += bodies.ISP_TAG % mailbox.isp
        ambiguous = False
        opens = uniform() < odds.opens * who.keen
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
            # An open is only ambiguous to who knows when the delivery was.
            prompt=ambiguous,
        )
        if ambiguous:
            self._ambiguous(message, who, at)
            return
        machines = self.plan.machines
        private = who.private and machines > 0
        if private and uniform() < 0.93 * machines:
            self.open(
                message, at + self.pick(people.PRIVACY_OPEN), Mark.MACHINE_OPEN,
                people.APPLE_PRIVACY, who.ip, wrong=0.15,
            )  # fmt: skip
        elif mailbox.prefetched and self.bits(8) < mailbox.prefetched * machines:
            self.open(
                message, at + 1 + int(uniform() * 5 * SECOND), Mark.MACHINE_OPEN,
                people.GMAIL_PREFETCH, who.ip, wrong=0.3,
            )  # fmt: skip
        if who.scanned and uniform() < 0.9 * machines:
            self._scan(message, who, at)
        if opens:
            self._read(message, who, at, odds, private=private)
        draw = uniform()
        if draw < odds.bounced_later:
            self._later(message, who, at, draw, odds)

    def _later(
        self,
        message: SimulatedMessage,
        who: SimulatedPerson,
        at: int,
        draw: float,
        odds: Probabilities,
    ) -> None:
        """What people and servers say after the delivery."""
        recipient = b'{"emailAddress":"%b"}' % who.address
        if draw < odds.not_spam:
            if not who.mailbox.complains:
                return
            at += self.pick(people.COMPLAIN)
            mark, kind = (
                (Mark.COMPLAINT, b"abuse")
                if draw < odds.complaint
                else (Mark.NOT_SPAM, b"not-spam")
            )
            report = bodies.REPORT % (kind, stamp(at - 90 * SECOND))
            tail = bodies.COMPLAINT % (
                message.network, self.feedback_id(at), b"null", recipient, stamp(at), report
            )  # fmt: skip
            self.add(message, at, mark, tail)
        elif draw < odds.unsubscribe:
            at += self.pick(people.UNSUBSCRIBE)
            source = b"UnsubscribeHeader" if self.uniform() < 0.6 else b"UnsubscribeFooter"
            every = b"true" if self.uniform() < 0.3 else b"false"
            tail = bodies.UNSUBSCRIBE % (message.network, stamp(at), source, every)
            self.add(message, at, Mark.UNSUBSCRIBE, tail)
        elif draw < odds.auto_reply:
            at += SECOND + int(self.uniform() * 20 * SECOND)
            tail = bodies.BOUNCE % (
                message.network, self.feedback_id(at), b"Transient", b"General", recipient,
                stamp(at), b"",
            )  # fmt: skip
            self.add(message, at, Mark.AUTO_REPLY, tail)
        else:
            at += self.pick(people.RETRIES)
            self.bounce(message, Mark.BOUNCE, who.address, at, *self.hard())

    # Opens and clicks

    def _read(
        self,
        message: SimulatedMessage,
        who: SimulatedPerson,
        at: int,
        odds: Probabilities,
        *,
        private: bool,
    ) -> None:
        """A person reads the mail, perhaps again, perhaps clicks."""
        uniform = self.uniform
        agent = who.mailbox.proxy or who.client.mail
        at = self._awake(at + self.pick(people.FIRST_OPEN))
        limit = message.sent + COLLECTED
        links = message.batch.links
        opened = 0
        while at < limit and opened < 7:
            opened += 1
            if not private:  # else the image was fetched long ago, and not by this person
                self.open(message, at, Mark.HUMAN_OPEN, agent, who.ip)
            if uniform() < odds.clicks:
                at += self.pick(people.CLICK_AFTER_OPEN)
                clicked = int(uniform() * len(links))
                while at < limit:
                    link = links[clicked]
                    self.click(message, at, Mark.HUMAN_CLICK, who.client.browser, who.ip, link)
                    clicked += 1
                    if clicked >= len(links) or uniform() > 0.3:
                        break
                    at += self.pick(people.CLICK_AGAIN)
            if uniform() > 0.3:
                break
            at = self._awake(at + self.pick(people.OPEN_AGAIN))

    def _awake(self, at: int) -> int:
        """That time, or more often than not six hours later if it is night."""
        if at // HOUR % 24 < 6 and self.uniform() < 0.7:
            return at + 6 * HOUR
        return at

    def _scan(self, message: SimulatedMessage, who: SimulatedPerson, at: int) -> None:
        """A scanner follows every link within two seconds of `at`."""
        agent = people.SCANNERS[self.bits(3)]
        at += 150 + self.bits(8)
        if self.bits(1):
            self.open(message, at, Mark.MACHINE_OPEN, agent, who.ip)
        links = message.batch.links
        if message.batch.marketing:
            links = (*links, (b"https://u.example.com/o/" + message.args[5], b"null"))
        for link in links:
            at += 20 + self.bits(8)
            self.click(message, at, Mark.MACHINE_CLICK, agent, who.ip, link)

    def _ambiguous(self, message: SimulatedMessage, who: SimulatedPerson, at: int) -> None:
        """An ordinary browser that opens too soon: 1 to 4 s after the delivery at `at`."""
        agent = people.BROWSERS[self.bits(2)]
        at += SECOND + int(self.uniform() * 2 * SECOND)
        self.open(message, at, Mark.UNKNOWN_OPEN, agent, who.ip)
        if self.uniform() < 0.25:
            at += 100 + self.bits(9)
            self.click(message, at, Mark.UNKNOWN_CLICK, agent, who.ip, message.batch.links[0])
