"""Messages to several recipients: each has an outcome, and opens and clicks cannot be attributed."""

from sesight_simulator.traffic import event_bodies as bodies
from sesight_simulator.traffic import people
from sesight_simulator.traffic.arrivals import COLLECTED, Arrivals, SimulatedMessage
from sesight_simulator.traffic.campaigns import SimulatedBatch
from sesight_simulator.traffic.event_bodies import Mark, stamp
from sesight_simulator.traffic.plan import SECOND


class MultiRecipientMessages(Arrivals):
    """Adds messages to several recipients."""

    def send_to_group(
        self,
        batch: SimulatedBatch,
        number: int,
        sent: int,
        common: tuple[bytes, bytes, bytes, bytes],
    ) -> None:
        """Send a message to two to four colleagues in one company."""
        uniform = self.uniform
        iso, ident, date, send_id = common
        domain = people.COMPANIES[self.bits(12) % len(people.COMPANIES)]
        names = (b"accounts", b"office", b"sales", b"it")[: 2 + int(uniform() * 3)]
        addresses = [b"%b.%x@%b" % (name, number, domain) for name in names]
        quoted = [b'"%b"' % address for address in addresses]
        destination = b",".join(quoted)
        to = b", ".join(addresses)
        message = SimulatedMessage(
            batch,
            sent,
            (iso, ident, destination, to, date, send_id, date, destination, ident, send_id),
        )
        message.parts = [0] * len(names)
        all_recipients = (1 << len(names)) - 1
        self.add(message, sent, Mark.SEND, bodies.SEND, all_recipients)
        at = sent + self.pick(people.HANDOVER)
        message.network = bodies.DELIVERED_TAGS % people.MTAS[self.bits(7)]
        places_by_mark: dict[Mark, list[int]] = {}
        for place in range(len(names)):
            draw = uniform() / self.plan.bounces if self.plan.bounces else 1.0
            if draw < 0.07:
                places_by_mark.setdefault(Mark.BOUNCE, []).append(place)
            elif draw < 0.11:
                places_by_mark.setdefault(Mark.SOFT_BOUNCE, []).append(place)
            else:
                places_by_mark.setdefault(Mark.DELIVERY, []).append(place)
        for mark, places in places_by_mark.items():
            # SES may report all of them in one event or each in its own.
            for group in [places] if uniform() < 0.5 else [[place] for place in places]:
                at += 7
                bits = sum(1 << place for place in group)
                self.add(message, at, mark, self._group(message, mark, at, group, quoted), bits)
        delivered = places_by_mark.get(Mark.DELIVERY, [])
        if delivered:
            self._unattributed(message, at, delivered, quoted)

    def _group(
        self, message: SimulatedMessage, mark: Mark, at: int, group: list[int], quoted: list[bytes]
    ) -> bytes:
        """Return the tail of a delivery or bounce that names some of the recipients."""
        if mark == Mark.DELIVERY:
            names = b",".join(quoted[place] for place in group)
            response = people.COMPANY.smtp % message.args[5]
            return bodies.DELIVERY % (
                message.network, stamp(at), at - message.sent, names, response,
                people.MTAS[self.bits(7)], self.bits(7),
            )  # fmt: skip
        kind, sub_kind, status, diagnostic, mta = (
            self.hard() if mark == Mark.BOUNCE else self.soft()
        )
        bounced = b",".join(
            bodies.BOUNCED % (quoted[place][1:-1], status, diagnostic) for place in group
        )
        return bodies.BOUNCE % (
            message.network, self.feedback_id(at), kind, sub_kind, bounced, stamp(at), mta
        )  # fmt: skip

    def _unattributed(
        self, message: SimulatedMessage, at: int, delivered: list[int], quoted: list[bytes]
    ) -> None:
        uniform = self.uniform
        ip = people.IPS[self.bits(9)]
        client = people.CLIENTS[self.bits(4)]
        read = at
        for _ in range(int(uniform() * 4)):
            read += self.pick(people.FIRST_OPEN)
            if read > message.sent + COLLECTED:
                break
            self.open(message, read, Mark.HUMAN_OPEN, client.mail, ip)
            if uniform() < 0.3:
                link = message.batch.links[0]
                self.click(message, read + 5 * SECOND, Mark.HUMAN_CLICK, client.browser, ip, link)
        if uniform() < 0.03 * self.plan.complaints:
            at += self.pick(people.COMPLAIN)
            names = b",".join(b'{"emailAddress":%b}' % quoted[place] for place in delivered)
            tail = bodies.COMPLAINT % (
                message.network, self.feedback_id(at), b"null", names, stamp(at), b""
            )  # fmt: skip
            mark = Mark.CANDIDATES if len(delivered) > 1 else Mark.COMPLAINT
            self.add(message, at, mark, tail, 1 << delivered[0])
