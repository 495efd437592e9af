"""What a record counts as."""

from typing import Any

import pytest
from msgspec.structs import replace

from sesight.domain.counting import tally_of
from sesight.domain.event import UNATTRIBUTED, Bounce, Click, Complaint, Open
from sesight.domain.record import Record
from sesight.domain.rollup import Deltas, Rollups
from sesight.domain.tally import (
    COUNTERS,
    EVENTS,
    FACTS,
    OUTCOMES,
    LinkTally,
    Tally,
    TallyDimensions,
    counter_values,
)
from sesight.domain.timestamps import DAY, HOUR, month_number
from tests.builders import (
    APPLE_MPP,
    COUNTING,
    NOW,
    OUTLOOK,
    Told,
    bounce,
    clicked,
    complaint,
    delay,
    delivery,
    event,
    folded,
    not_rendered,
    opened,
    record,
    rejected,
    sent,
    unsubscribed,
)

SENT_AT = NOW - DAY
SEND_DAY = SENT_AT // DAY
Said = dict[str, int]


def named(counters: Any) -> Said:
    """Return the counters that are not zero, by name."""
    return {name: n for name, n in zip(COUNTERS, counters, strict=True) if n}


def counted(*told: Told) -> Said:
    """Return what the only record of the events counts as."""
    tally = record(*told).tally
    assert tally is not None
    return named(counter_values(tally))


def deltas(*changes: tuple[Tally | None, Tally]) -> Rollups:
    """Return the rows that changes of tallies make."""
    sums = Deltas()
    for before, after in changes:
        sums.add(before, after)
    return sums.rows()


def of(*told: Told) -> Tally:
    """Return the tally of the only record of the events."""
    tally = record(*told).tally
    assert tally is not None
    return tally


def rows(*told: Told) -> dict[tuple[str, ...], Said]:
    """Return the rows of events alone in the world: (family, campaign, bucket, dimension, value)."""
    found = deltas(*[(None, each.tally) for each in folded(told).values() if each.tally])
    return {
        (key.family, key.campaign, key.bucket, key.dimension, key.value): named(row)
        for key, row in found.items()
    }


PENDING = {"recipients": 1, "pending": 1, "sent": 1, "attempted": 1}
DELIVERED = {"recipients": 1, "delivered": 1, "sent": 1, "attempted": 1, "reached": 1}
HUMAN_OPEN = {"opened": 1, "humanOpened": 1}
HUMAN_CLICK = {**HUMAN_OPEN, "clicked": 1, "humanClicked": 1}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([sent()], PENDING),
        ([sent(), delay()], {**PENDING, "everDelayed": 1}),
        ([sent(), delivery()], DELIVERED),
        ([delivery()], DELIVERED),
        ([delay(), delivery()], {**DELIVERED, "everDelayed": 1}),
        ([bounce()], {"recipients": 1, "bounced": 1, "sent": 1, "attempted": 1}),
        (
            [delivery(), bounce()],
            {"recipients": 1, "bounced": 1, "sent": 1, "attempted": 1, "reached": 1},
        ),
        (
            [bounce(kind="Transient", sub_type="MailboxFull")],
            {"recipients": 1, "softBounced": 1, "sent": 1, "attempted": 1},
        ),
        (
            [bounce(sub_type="OnAccountSuppressionList")],
            {"recipients": 1, "suppressed": 1, "sent": 1},
        ),
        ([rejected()], {"recipients": 1, "rejected": 1, "sent": 1}),
        ([not_rendered()], {"recipients": 1, "failed": 1, "sent": 1}),
        (
            [delivery(), event(Bounce(NOW, kind="Transient", sub_type="General"))],
            {**DELIVERED, "autoReplied": 1},
        ),
        ([complaint()], {**DELIVERED, "complained": 1}),
        ([sent(), event(Complaint(NOW, kind="not-spam"))], PENDING),
        ([unsubscribed()], {**DELIVERED, "unsubscribed": 1}),
    ],
)
def test_outcomes_and_facts(told: list[Told], said: Said) -> None:
    """A record counts one recipient, one outcome, and the facts beside it."""
    assert counted(*told) == said


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([delivery(), opened()], {**DELIVERED, **HUMAN_OPEN, "opens": 1}),
        ([opened()], {**DELIVERED, **HUMAN_OPEN, "opens": 1}),
        (
            [delivery(), opened(agent=None)],
            {**DELIVERED, "opened": 1, "unknownOpened": 1, "opens": 1},
        ),
        (
            [delivery(), opened(agent=APPLE_MPP)],
            {**DELIVERED, "opened": 1, "machineOnlyOpened": 1, "opens": 1, "machineOpens": 1},
        ),
        (
            [delivery(), opened(agent=APPLE_MPP), opened(agent=None), opened()],
            {**DELIVERED, **HUMAN_OPEN, "opens": 3, "machineOpens": 1},
        ),
        ([delivery(), clicked()], {**DELIVERED, **HUMAN_CLICK, "clicks": 1}),
        (
            [delivery(), clicked(agent="unheard of")],
            {
                **DELIVERED,
                "opened": 1,
                "unknownOpened": 1,
                "clicked": 1,
                "unknownClicked": 1,
                "clicks": 1,
            },
        ),
        (
            [delivery(), clicked(agent="curl/8.7.1")],
            {
                **DELIVERED,
                "opened": 1,
                "machineOnlyOpened": 1,
                "clicked": 1,
                "machineOnlyClicked": 1,
                "clicks": 1,
                "machineClicks": 1,
            },
        ),
        (
            [delivery(), opened(), clicked(agent="curl/8.7.1")],
            {
                **DELIVERED,
                **HUMAN_OPEN,
                "clicked": 1,
                "machineOnlyClicked": 1,
                "opens": 1,
                "clicks": 1,
                "machineClicks": 1,
            },
        ),
        ([sent(), opened(agent=APPLE_MPP)], PENDING),
        (
            [bounce(), clicked(agent="curl/8.7.1")],
            {"recipients": 1, "bounced": 1, "sent": 1, "attempted": 1},
        ),
        (
            [bounce(), opened()],
            {
                "recipients": 1,
                "bounced": 1,
                "sent": 1,
                "attempted": 1,
                "reached": 1,
                **HUMAN_OPEN,
                "opens": 1,
            },
        ),
    ],
)
def test_engagement(told: list[Told], said: Said) -> None:
    """Engagement counts once by its best verdict, a click implies an open of its own class, and only
    what reached somebody counts at all.
    """
    assert counted(*told) == said


def test_capped() -> None:
    """Events past the cap are not counted, and the record says so."""
    told = [opened(after=2 * HOUR + n * 60_000) for n in range(40)]
    assert counted(delivery(), *told) == {**DELIVERED, **HUMAN_OPEN, "opens": 32, "capped": 1}


def test_nobody() -> None:
    """The record of `*` counts as no recipient: opens and clicks unattributed, a complaint as one."""
    assert counted(
        opened("*"),
        opened("*", agent=APPLE_MPP),
        clicked("*"),
        complaint("*"),
        complaint("*", after=2 * HOUR),
    ) == {"complained": 1, "unattributedOpens": 2, "unattributedClicks": 1}


@pytest.mark.parametrize(
    "address", ["bounce+x@simulator.amazonses.com", "qa@example.org", "any@test.example"]
)
def test_test_recipients(address: str) -> None:
    """SES's simulator and configured test recipients, by address or domain, count nowhere."""
    counting = replace(
        COUNTING,
        test_recipients=COUNTING.test_recipients | {"qa@example.org", "@test.example"},
    )
    assert tally_of(record(delivery(address), opened(address)), counting) == Tally(1)
    assert tally_of(record(delivery(f"x{address}x")), counting).dimensions is not None


def test_whole() -> None:
    """A tally holds its place, hour, outcome, facts, events, ages and links."""
    held = of(
        delivery("ana@gmail.com", after=5_000, campaign="w", tags={"campaign_step": "2"}),
        opened("ana@gmail.com", campaign="w", agent=APPLE_MPP, after=60_000),
        opened("ana@gmail.com", campaign="w", after=2 * HOUR),
        clicked("ana@gmail.com", campaign="w", after=3 * HOUR, link="b"),
        clicked("ana@gmail.com", campaign="w", after=4 * HOUR, link="a"),
        clicked("ana@gmail.com", campaign="w", after=5 * HOUR, link="a", agent="curl/8.7.1"),
    )
    bits = ("sent", "attempted", "reached", "opened", "humanOpened", "clicked", "humanClicked")
    assert held == Tally(
        1,
        TallyDimensions(
            "outreach",
            "w",
            SEND_DAY,
            "gmail",
            "news.example.com",
            None,
            None,
            None,
            None,
            (("campaign_step", "2"),),
        ),
        12,
        3,
        sum(1 << FACTS.index(name) for name in bits),
        (2, 3, 1, 1, 0, 0),
        (0, 2, None, 3),
        (LinkTally("a", 1, 2, 1), LinkTally("b", 1, 1, 0)),
    )


@pytest.mark.parametrize(
    ("after", "age"),
    [
        (-HOUR, 0),
        (0, 0),
        (HOUR - 1, 0),
        (HOUR, 1),
        (71 * HOUR, 71),
        (72 * HOUR - 1, 71),
        (72 * HOUR, 72),
        (900 * HOUR, 72),
    ],
)
def test_ages(after: int, age: int) -> None:
    """Ages are whole hours from the message's own send: 0 to 71, and 72 for everything later."""
    assert of(delivery(after=after)).ages == (age, None, None, None)


@pytest.mark.parametrize(
    ("told", "ages"),
    [
        ([sent()], ()),
        ([opened(after=3 * HOUR), opened(after=2 * HOUR)], (None, 2, None, None)),
        ([delivery(), opened(agent=APPLE_MPP, after=5 * HOUR)], (0, None, 5, None)),
        ([delivery(), clicked(after=6 * HOUR)], (0, 6, None, 6)),
        (
            [delivery(), opened(agent=APPLE_MPP, after=5 * HOUR), opened(after=9 * HOUR)],
            (0, 9, None, None),
        ),
        (
            [delivery(), opened(agent=APPLE_MPP, after=5 * HOUR), opened(agent=None)],
            (0, None, None, None),
        ),
        ([sent(), opened(agent=APPLE_MPP)], ()),
    ],
)
def test_first_ages(told: list[Told], ages: tuple[int | None, ...]) -> None:
    """The first delivery, human open, machine-only open and human click have ages; of a recipient
    whom a person's or an unknown open makes known, the machine's open has none.
    """
    assert of(*told).ages == ages


@pytest.mark.parametrize(
    ("tags", "month", "attempt"),
    [
        ({"campaign_month": "2026-10"}, "2026-10", "first"),
        ({"campaign_month": "2026-10", "campaign_attempt": "1"}, "2026-10", "first"),
        ({"campaign_month": "2026-10", "campaign_attempt": "2"}, "2026-10", "resend"),
        ({"campaign_month": "October"}, "2026-11", "first"),
        ({}, "2026-11", "first"),
    ],
)
def test_months(tags: dict[str, str], month: str, attempt: str) -> None:
    """A stream with months counts under the statement month, else the month of the send, and under
    the attempt.
    """
    found = rows(delivery(stream="finance", tags=tags))
    bucket = month_number(month)
    assert {key: said for key, said in found.items() if key[0] == "month"} == {
        ("month", "", bucket, "", ""): DELIVERED,
        ("month", "", bucket, "attempt", attempt): {"recipients": 1, "sent": 1, "delivered": 1},
    }


def test_no_months() -> None:
    """A stream without months has no month rows, whatever its tags."""
    assert {key[0] for key in rows(sent(tags={"campaign_month": "2026-10"}))} == {"day", "hour"}


def test_links() -> None:
    """A link counts its clicks, its machines' clicks, and each person who clicked once."""
    told = [
        delivery(),
        clicked(link="a"),
        clicked(link="a", after=5 * HOUR),
        clicked(link="a", agent="curl/8.7.1"),
        clicked(link=None, agent="unheard of"),
        delivery("bo@contoso.example"),
        clicked("bo@contoso.example", link="a"),
    ]
    found = {key[4]: said for key, said in rows(*told).items() if key[0] == "link"}
    assert found == {
        "a": {"humanClicked": 2, "clicks": 4, "machineClicks": 1},
        "~unreadable": {"clicks": 1},
    }


def test_counters() -> None:
    """Outcomes, facts and events are all the counters there are."""
    assert ("recipients", *OUTCOMES, *FACTS, *EVENTS) == COUNTERS
    assert len(set(COUNTERS)) == 30


def test_a_record_of_an_unknown_stream_counts() -> None:
    """A stream that the settings no longer name keeps counting under its name, without months."""
    held = record(delivery())
    gone: Record = replace(held, stream="gone", tally=None)
    dimensions = tally_of(gone, COUNTING).dimensions
    assert dimensions is not None
    assert (dimensions.stream, dimensions.month) == ("gone", None)


def test_soon_is_not_human() -> None:
    """A click within seconds of delivery makes the recipient's engagement unknown."""
    held = of(delivery(after=1_000), event(Click(SENT_AT + 2_000, agent=OUTLOOK, link="a")))
    assert named(counter_values(held)) == {
        **DELIVERED,
        "opened": 1,
        "unknownOpened": 1,
        "clicked": 1,
        "unknownClicked": 1,
        "clicks": 1,
    }


def test_everybody_is_a_star() -> None:
    """`*` stands for nobody in particular."""
    assert (UNATTRIBUTED, record(event(Open(NOW), "*")).is_unattributed) == ("*", True)
