"""The campaigns of a plan: their batches, and when each message is sent."""

import random
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import accumulate, islice
from typing import NamedTuple

from sesight_simulator.traffic.event_bodies import MailTemplates, civil, mail_templates, text
from sesight_simulator.traffic.plan import DAY, HOUR, MINUTE, Plan

OUTREACH = "outreach"
FINANCE = "finance"

# Weights by UTC hour and by weekday (Monday first).
_OUTREACH_HOURS = (0, 0, 0, 0, 0, 1, 3, 7, 10, 9, 6, 4, 4, 8, 9, 6, 3, 1, 0, 0, 0, 0, 0, 0)
_OUTREACH_WEEKDAYS = (6, 10, 10, 9, 5, 0.4, 0.3)
_FINANCE_HOURS = (2, 1, 1, 1, 2, 3, 6, 9, 10, 10, 9, 8, 8, 9, 9, 8, 7, 5, 4, 4, 3, 3, 3, 2)
_FINANCE_WEEKDAYS = (10, 10, 10, 10, 9, 5, 4)
_STATEMENT_HOURS = (0, 0, 0, 0, 2, 8, 10, 10, 8, 5, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
_STEPS = (0.6, 0.25, 0.15)
"""Each step's share of its campaign: later steps go to those who did not answer."""

_THEMES = (
    "intro", "partner program", "product update", "webinar invite", "case study", "roadshow",
    "reactivation", "price list", "early access", "survey", "newsletter", "trade fair",
)  # fmt: skip
_SUBJECTS = (
    "A small idea for your {season} – 10 % less work",
    "Can we show you “{theme}” in 15 minutes?",
    "{season}: what's new for partners",
    'Re: "{theme}" – your seat is reserved',
    "Ihre Einladung: {theme} für Verlage & Händler",
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


class SimulatedCampaign(NamedTuple):
    """One campaign."""

    number: int
    """Its index in the list of all campaigns."""
    stream: str
    id: str
    name: str
    tag: str
    """The name as the tag `campaign_name` can hold it."""


class SimulatedBatch(NamedTuple):
    """Messages of a campaign that differ only in the recipient: one step or attempt."""

    campaign: SimulatedCampaign
    marketing: bool
    templates: MailTemplates
    template: bytes
    links: tuple[tuple[bytes, bytes], ...]
    """Each link in the message, with its `linkTags` as JSON."""
    first_person: int
    people: int
    """The audience: person numbers from `first_person` on, modulo `people`."""


class SendWindow(NamedTuple):
    """`size` messages of a batch, evenly over `length` ms from `start`."""

    start: int
    length: int
    size: int
    batch: SimulatedBatch
    skip: int
    """How many messages of the batch are sent before."""


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Split a total by weight into whole numbers that sum to it."""
    whole = sum(weights)
    marks = [round(total * part / whole) for part in accumulate(weights)]
    return [after - before for before, after in zip([0, *marks], marks, strict=False)]


def tag_value(name: str) -> str:
    """Replace the characters that an SES tag does not allow."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)


class CampaignCalendar:
    """Builds the campaigns of a plan and the windows in which their messages leave."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.draw = random.Random(f"sesight campaigns {plan.seed}")
        self.campaigns: list[SimulatedCampaign] = []
        self.windows: list[SendWindow] = []
        outreach = round(plan.messages * plan.outreach_share)
        finance = plan.messages - outreach
        self.audience = {OUTREACH: max(50, outreach // 4), FINANCE: max(50, finance // 5)}
        mailings = self._finance_mailings()
        if plan.campaigns is None:
            share = max(1, finance // 50)
            others = max(min(6, outreach // 100), min(outreach // 1500, 40 + plan.days * 4))
        else:
            share = plan.campaigns if not outreach else max(1, plan.campaigns // 4)
            others = plan.campaigns - min(share, len(mailings), finance)
        self._plan_finance(finance, mailings[: min(share, finance)])
        self._plan_outreach(outreach, max(1, others))
        self.windows.sort(key=lambda window: window.start)

    def sends(self) -> Iterator[tuple[int, int, SimulatedBatch]]:
        """Yield (send time, number of the message in its batch, batch), in order of time."""
        uniform = random.Random(f"sesight sends {self.plan.seed}").random
        # The heap holds the windows being sent: (next send, tie-break, number in window, window).
        heap: list[tuple[int, int, int, SendWindow]] = []
        for place, window in enumerate([*self.windows, None]):
            while heap and (window is None or heap[0][0] < window.start):
                at, order, number, running = heap[0]
                yield at, running.skip + number, running.batch
                number += 1
                if number < running.size:
                    at = running.start + int((number + uniform()) * running.length / running.size)
                    heapreplace(heap, (at, order, number, running))
                else:
                    heappop(heap)
            if window is not None:
                at = window.start + int(uniform() * window.length / window.size)
                heappush(heap, (at, place, 0, window))

    def endless(self) -> list[SimulatedBatch]:
        """Return the batches that go on after the plan's end."""
        audience = self.audience
        receipts = self._campaign(FINANCE, "payout-receipts", "Payout receipts")
        welcome = self._campaign(OUTREACH, "welcome", "Welcome - live")
        return [
            self._outreach_batch(welcome, "welcome", "Your first week", 1, "a", audience[OUTREACH]),
            self._finance_batch(receipts, "receipt", "Payout sent", audience[FINANCE]),
        ]

    def _campaign(self, stream: str, ident: str, name: str) -> SimulatedCampaign:
        """Return the campaign of an id; create it if it is new."""
        for known in self.campaigns:
            if (known.stream, known.id) == (stream, ident):
                return known
        made = SimulatedCampaign(len(self.campaigns), stream, ident, name, tag_value(name))
        self.campaigns.append(made)
        return made

    # -- outreach: series of up to three variants, each a blast with follow-ups --------------------

    def _plan_outreach(self, messages: int, count: int) -> None:
        count = min(count, messages)
        if not count:
            return
        sizes = apportion(messages, [self.draw.lognormvariate(0.0, 0.6) for _ in range(count)])
        self.audience[OUTREACH] = max(self.audience[OUTREACH], *sizes)
        waiting = iter(size for size in sizes if size)
        series = 0
        while variants := list(islice(waiting, self.draw.choice((1, 2, 2, 3)))):
            series += 1
            self._plan_series(series, variants, running=series == 1 and count > 4)

    def _plan_series(self, series: int, sizes: list[int], *, running: bool) -> None:
        """Plan a launch of up to three variants; a running one is still being sent at the end."""
        draw, plan = self.draw, self.plan
        span = min(draw.randint(5, 60) * MINUTE, (plan.end - plan.begin) // 2)
        if running:
            span = min(40 * MINUTE, span * 4)
            start = plan.end - span - 1
        else:
            start = self._launch(span)
        _, month, _ = civil(start // DAY)
        season = ("Winter", "Spring", "Summer", "Autumn")[month % 12 // 3]
        turn, place = divmod(series, len(_THEMES))
        theme = _THEMES[place] + (f" {turn + 1}" if turn else "")
        subject = _SUBJECTS[series % len(_SUBJECTS)].format(season=season, theme=theme)
        first = draw.randrange(self.audience[OUTREACH])
        for variant, size in zip("ABC", sizes, strict=False):
            name = f"{season} {theme}" + (f" - variant {variant}" if len(sizes) > 1 else "")
            ident = f"{tag_value(name.lower().replace(' - ', '-').replace(' ', '-'))}-{series:03d}"
            campaign = self._campaign(OUTREACH, ident, name)
            starts = [start]
            for _ in range(draw.choice((0, 1, 2, 2))):
                starts.append(starts[-1] + draw.choice((3, 4, 4, 5, 7)) * DAY)
            starts = [at for at in starts if at + span < plan.end]
            counts = apportion(size, _STEPS[: len(starts)])
            for step, (at, number) in enumerate(zip(starts, counts, strict=True), start=1):
                kind = theme.replace(" ", "-") if step == 1 else "follow-up"
                again = subject if step == 1 else f"Re: {subject}"
                batch = self._outreach_batch(campaign, kind, again, step, variant.lower(), first)
                if number:
                    self.windows.append(SendWindow(at, span, number, batch, 0))
            first += size

    def _launch(self, span: int) -> int:
        """Choose when a blast begins: on a working day in office hours, if the plan has any."""
        draw, plan = self.draw, self.plan
        for _ in range(30):
            day = draw.randrange(plan.begin // DAY, plan.end // DAY + 1)
            if draw.random() * 10 < _OUTREACH_WEEKDAYS[(day + 3) % 7]:
                hour = draw.choices(range(24), _OUTREACH_HOURS)[0]
                at = day * DAY + hour * HOUR + draw.randrange(60) * MINUTE
                if plan.begin <= at and at + span < plan.end:
                    return at
        return draw.randrange(plan.begin, plan.end - span)

    def _outreach_batch(
        self,
        campaign: SimulatedCampaign,
        kind: str,
        subject: str,
        step: int,
        variant: str,
        first: int,
    ) -> SimulatedBatch:
        tags = {
            "campaign_id": campaign.id,
            "campaign_name": campaign.tag,
            "campaign_type": kind,
            "campaign_step": str(step),
            "campaign_variant": variant,
        }
        query = f"?utm_source=email&utm_campaign={campaign.id}&s={step}"
        links = (
            (f"https://www.example.com/{kind}/{query}", b'{"slot":["hero"]}'),
            (f"https://www.example.com/demo{query}", b'{"slot":["button"],"product":["demo"]}'),
            (f"https://blog.example.com/posts/{len(subject)}{query}&x=%C3%A9", b"null"),
            ("https://www.example.com/imprint", b"null"),
        )
        return SimulatedBatch(
            campaign,
            True,
            mail_templates(
                region=self.plan.region,
                account=self.plan.account,
                domain="news.example.com",
                sender="Partner Team <partners@news.example.com>",
                reply_to="partners@example.com",
                subject=subject,
                configuration_set="outreach-tracking",
                operation="SendEmail",
                tags=tags,
                marketing=True,
            ),
            text(f"{kind}-v{step}"),
            tuple((text(link), link_tags) for link, link_tags in links),
            first,
            self.audience[OUTREACH],
        )

    # -- finance: statements early in the month, receipts and notices every day --------------------

    def _finance_mailings(self) -> list[tuple[str, int]]:
        """Return what is sent, as (kind, first day of a statement run), most important first."""
        plan = self.plan
        first_days = [
            day
            for day in range(plan.begin // DAY, plan.end // DAY + 1)
            if civil(day)[2] == 1 and plan.begin <= day * DAY and day * DAY + 12 * HOUR < plan.end
        ]
        statements = [("statement", day) for day in reversed(first_days)]
        return [("receipt", 0), *statements, ("notice", 0)]

    def _plan_finance(self, messages: int, mailings: list[tuple[str, int]]) -> None:
        if not messages:
            return
        statements = sum(kind == "statement" for kind, _ in mailings)
        weights = {"receipt": 0.35, "notice": 0.08, "statement": 0.57 / max(1, statements)}
        sizes = apportion(messages, [weights[kind] for kind, _ in mailings])
        self.audience[FINANCE] = max(self.audience[FINANCE], *sizes)
        for (kind, day), size in zip(mailings, sizes, strict=True):
            if not size:
                continue
            first = self.draw.randrange(self.audience[FINANCE])
            if kind == "statement":
                self._plan_statements(day, size, first)
                continue
            name, subject = {
                "receipt": ("Payout receipts", "Payout sent"),
                "notice": ("Account notices", "A sign-in from a new device"),
            }[kind]
            campaign = self._campaign(FINANCE, tag_value(name.lower().replace(" ", "-")), name)
            batch = self._finance_batch(campaign, kind, subject, first)
            self._spread(batch, size, self.plan.begin, self.plan.end, _FINANCE_HOURS)

    def _plan_statements(self, day: int, size: int, first: int) -> None:
        """Plan the statements of the month before `day`, and the second attempts days later."""
        year, month, _ = civil(day - 1)
        campaign = self._campaign(
            FINANCE,
            f"statement-{year}-{month:02d}",
            f"Payout statement {_MONTHS[month - 1]} {year}",
        )
        subject = f"Your payout statement for {_MONTHS[month - 1]} {year}"
        begin = day * DAY
        runs = [(1, 0.94, begin, begin + 3 * DAY), (2, 0.06, begin + 5 * DAY, begin + 7 * DAY)]
        runs = [run for run in runs if run[2] + 12 * HOUR < self.plan.end]
        for run, count in zip(runs, apportion(size, [run[1] for run in runs]), strict=True):
            batch = self._finance_batch(
                campaign, "statement", subject, first, f"{year}-{month:02d}", str(run[0])
            )
            self._spread(batch, count, run[2], min(run[3], self.plan.end), _STATEMENT_HOURS)

    def _spread(
        self, batch: SimulatedBatch, count: int, begin: int, end: int, hours: Sequence[float]
    ) -> None:
        """Add `count` messages between two times, weighted by hour and weekday."""
        starts = list(range(begin, end, HOUR))
        weights = [
            hours[at // HOUR % 24] * _FINANCE_WEEKDAYS[(at // DAY + 3) % 7] + 1e-9 for at in starts
        ]
        skip = 0
        for at, number in zip(starts, apportion(count, weights), strict=True):
            if number:
                length = min(HOUR, end - at)
                self.windows.append(SendWindow(at, length, number, batch, skip))
                skip += number

    def _finance_batch(
        self,
        campaign: SimulatedCampaign,
        kind: str,
        subject: str,
        first: int,
        month: str = "",
        attempt: str = "",
    ) -> SimulatedBatch:
        tags = {
            "campaign_id": campaign.id,
            "campaign_name": campaign.tag,
            "campaign_type": kind,
        }
        if month:
            tags |= {"campaign_month": month, "campaign_attempt": attempt}
        links = (
            (f"https://portal.example.com/{kind}s/{month or 'latest'}?ref=mail", b"null"),
            ("https://portal.example.com/login", b'{"slot":["footer"]}'),
        )
        return SimulatedBatch(
            campaign,
            False,
            mail_templates(
                region=self.plan.region,
                account=self.plan.account,
                domain="finance.example.com",
                sender="Example Payouts <statements@finance.example.com>",
                reply_to="payouts@example.com",
                subject=subject,
                configuration_set="finance-tracking",
                operation="SendRawEmail",
                tags=tags,
                marketing=False,
            ),
            text(f"{kind}-v1"),
            tuple((text(link), link_tags) for link, link_tags in links),
            first,
            self.audience[FINANCE],
        )
