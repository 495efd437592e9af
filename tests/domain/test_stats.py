"""What figures must say: whole values for a small campaign, and laws for any traffic."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from sesight.domain.event import UNATTRIBUTED
from sesight.domain.rollup import RollupRow
from sesight.domain.stats import (
    RATES,
    Axis,
    Rate,
    Series,
    StatsSource,
    Totals,
    ages,
    breakdown,
    bucket_name,
    counts_of,
    divide,
    interval,
    monday,
    period,
    rates_of,
    series,
    stats,
    totals_of,
)
from sesight.domain.tally import COUNTERS, OUTCOMES
from sesight.domain.timestamps import DAY, HOUR
from tests.builders import (
    APPLE_MPP,
    NOW,
    bounce,
    clicked,
    complaint,
    delay,
    delivery,
    not_rendered,
    opened,
    rejected,
    rows_of,
    sent,
    unsubscribed,
)

TODAY = NOW // DAY

CAMPAIGN = [
    delivery("ana@contoso.example", message="1"),
    opened("ana@contoso.example", message="1"),
    clicked("ana@contoso.example", message="1"),
    delivery("bo@gmail.com", message="2"),
    opened("bo@gmail.com", message="2", agent=APPLE_MPP),
    complaint("cy@yahoo.com", message="3"),
    bounce("di@yahoo.com", message="4"),
    bounce("ed@contoso.example", "Transient", "MailboxFull", "4.2.2", message="5"),
    delay("fy@contoso.example", message="6"),
    rejected("gil@contoso.example", message="7"),
    not_rendered("hal@contoso.example", message="8"),
]


def of_stream(rows: list[RollupRow], family: str = "day", campaign: str = "") -> StatsSource:
    """Return the rows a store answers with for one family and scope."""
    return StatsSource([row for row in rows if row.key[0] == family and row.key[2] == campaign])


def rows_by(dimension: str, **by_value: dict[str, int]) -> StatsSource:
    """Return made-up day rows of one dimension."""
    template = rows_of([sent()])[0].key
    return StatsSource(
        [
            RollupRow(
                template._replace(campaign="", dimension=dimension, value=value),
                [counts.get(name, 0) for name in COUNTERS],
            )
            for value, counts in by_value.items()
        ]
    )


def test_totals_have_every_counter() -> None:
    """Totals have every counter by its name but the internal one, and say what is a lower bound."""
    counts = list(range(1, len(COUNTERS) + 1))
    named = dict(zip(COUNTERS, counts, strict=True))
    del named["capped"]
    bounded = ["opens", "machineOpens", "clicks", "machineClicks"]
    bounded += ["unattributedOpens", "unattributedClicks"]
    assert to_builtins(totals_of(counts)) == {**named, "atLeast": bounded}


def test_totals_without_cap_are_exact() -> None:
    """Without a record that was capped no total is a lower bound."""
    assert totals_of([0] * len(COUNTERS)).at_least == []


def test_a_campaign() -> None:
    """A campaign with one of everything has these totals and these rates."""
    found = period([of_stream(rows_of(CAMPAIGN))])
    assert found.totals == Totals(
        recipients=8,
        delivered=3,
        soft_bounced=1,
        bounced=1,
        suppressed=0,
        rejected=1,
        failed=1,
        pending=1,
        sent=8,
        attempted=6,
        reached=3,
        ever_delayed=1,
        auto_replied=0,
        complained=1,
        unsubscribed=0,
        opened=2,
        human_opened=1,
        unknown_opened=0,
        machine_only_opened=1,
        clicked=1,
        human_clicked=1,
        unknown_clicked=0,
        machine_only_clicked=0,
        opens=2,
        clicks=1,
        machine_opens=1,
        machine_clicks=0,
        unattributed_opens=0,
        unattributed_clicks=0,
        at_least=[],
    )
    assert found.rates == {
        "delivery": Rate(3 / 6, 3, 6),
        "bounce": Rate(1 / 6, 1, 6),
        "softBounce": Rate(1 / 6, 1, 6),
        "delay": Rate(1 / 8, 1, 8),
        "complaint": Rate(1 / 3, 1, 3),
        "complaintReporting": Rate(1 / 2, 1, 2),
        "unsubscribe": Rate(0.0, 0, 3),
        "open": Rate(1 / 3, 1, 3),
        "machineOpen": Rate(1 / 3, 1, 3),
        "click": Rate(1 / 3, 1, 3),
        "clickToOpen": Rate(1.0, 1, 1),
    }


def test_nothing_has_no_rates() -> None:
    """Over nothing every rate is null, and none is NaN or zero."""
    found = period([])
    assert {name: rate.value for name, rate in found.rates.items()} == {
        name: None for name in RATES if name != "complaintReporting"
    }


def test_a_stream_that_does_not_track_has_no_engagement() -> None:
    """A stream without tracking has no open or click rates, and does not thin out another's."""
    tracked = of_stream(rows_of(CAMPAIGN))
    blind = StatsSource(of_stream(rows_of([delivery(message="9")])).rows, tracked=False)
    both = period([tracked, blind]).rates
    assert period([blind]).rates["open"] == Rate(None, 0, 0)
    assert both["open"] == period([tracked]).rates["open"]
    assert both["delivery"] == Rate(4 / 7, 4, 7)


def test_more_complaints_than_reached_are_not_over_one() -> None:
    """Complaints of nobody in particular never make a rate pass 100 %: each shows that somebody was
    reached.
    """
    told = [complaint(UNATTRIBUTED, message="1"), complaint(UNATTRIBUTED, message="2")]
    for more, expected in (([], Rate(1.0, 2, 2)), ([delivery(message="3")], Rate(1.0, 2, 2))):
        found = rates_of(counts_of(of_stream(rows_of([*told, *more])).rows))
        assert found["complaint"] == expected


def test_a_series_of_days() -> None:
    """Days are contiguous, empty ones included, and today's is unfinished."""
    told = [delivery(message="1", sent_at=NOW - 2 * DAY), bounce(message="2", sent_at=NOW - HOUR)]
    found = series([of_stream(rows_of(told))], Axis("day", TODAY - 3, TODAY + 1, TODAY))
    assert found.buckets == ["2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"]
    assert found.partial_from == "2026-11-24"
    assert found.counts["delivered"] == [0, 1, 0, 0]
    assert found.counts["bounced"] == [0, 0, 0, 1]
    assert found.rates["delivery"] == [None, 1.0, None, 0.0]
    assert found.rates["complaintReporting"] == [None, 0.0, None, None]


def test_a_series_of_weeks() -> None:
    """Weeks begin on Mondays; a range that ends in last week has no unfinished one."""
    told = [delivery(message=str(n), sent_at=NOW - n * DAY) for n in range(10)]
    source = of_stream(rows_of(told))
    found = series([source], Axis("week", TODAY - 9, TODAY + 1, TODAY))
    assert (found.buckets, found.counts["delivered"], found.partial_from) == (
        ["2026-11-09", "2026-11-16", "2026-11-23"],
        [1, 7, 2],
        "2026-11-23",
    )
    assert series([source], Axis("week", TODAY - 9, TODAY - 1, None)).partial_from is None


def test_a_series_of_hours() -> None:
    """Hours keep outcomes only; what was attempted follows from them."""
    hour = NOW // HOUR
    rows = rows_of([bounce(message="1", sent_at=NOW), rejected(message="2", sent_at=NOW)])
    found = series([of_stream(rows, "hour")], Axis("hour", hour - 1, hour + 1, hour))
    assert found.buckets == ["2026-11-24T11:00:00.000Z", "2026-11-24T12:00:00.000Z"]
    assert found.counts["attempted"] == [0, 1]
    assert found.rates == {
        "delivery": [None, 0.0],
        "bounce": [None, 1.0],
        "softBounce": [None, 0.0],
    }


def test_a_series_of_ages() -> None:
    """Ages are hours since each message's own send, each person once, in the hour of the first."""
    told = [
        delivery(message="1"),
        opened(message="1", after=2 * HOUR),
        opened(message="1", after=5 * HOUR),
        delivery(message="2", sent_at=NOW - 2 * DAY),
        opened(message="2", sent_at=NOW - 2 * DAY, after=100 * HOUR),
    ]
    rows = rows_of(told)
    found = series([of_stream(rows, "age", "winter-b")], ages(NOW - DAY, NOW))
    assert (found.by, found.partial_from, found.rates) == ("age", "24", {})
    assert found.buckets == [str(hour) for hour in range(73)]
    assert sum(found.counts["delivered"]) == found.counts["delivered"][0] == 2
    assert {n: seen for n, seen in enumerate(found.counts["humanOpened"]) if seen} == {2: 1, 72: 1}


def test_a_series_outside_the_present_is_finished() -> None:
    """What ended before today is finished; what lies in the future is not."""
    assert series([], Axis("day", TODAY - 3, TODAY, TODAY)).partial_from is None
    assert series([], Axis("day", TODAY + 1, TODAY + 3, TODAY)).partial_from == "2026-11-25"


def test_a_breakdown_by_mailbox() -> None:
    """A breakdown names its values for people, the largest first, with the counters it keeps."""
    found = breakdown([of_stream(rows_of(CAMPAIGN))], None, "mailbox")
    assert [(row.key, row.label, row.totals["sent"]) for row in found] == [
        ("other", "Other mailboxes", 5),
        ("yahoo", "Yahoo and AOL", 2),
        ("gmail", "Gmail", 1),
    ]
    assert to_builtins(found[1]) == {
        "key": "yahoo",
        "label": "Yahoo and AOL",
        "totals": {
            "delivered": 1,
            "softBounced": 0,
            "bounced": 1,
            "sent": 2,
            "attempted": 2,
            "reached": 1,
            "everDelayed": 0,
            "complained": 1,
            "humanOpened": 0,
            "humanClicked": 0,
        },
        "rates": {
            "delivery": {"value": 0.5, "numerator": 1, "denominator": 2},
            "bounce": {"value": 0.5, "numerator": 1, "denominator": 2},
            "softBounce": {"value": 0.0, "numerator": 0, "denominator": 2},
            "delay": {"value": 0.0, "numerator": 0, "denominator": 2},
            "complaint": {"value": 1.0, "numerator": 1, "denominator": 1},
            "open": {"value": 0.0, "numerator": 0, "denominator": 1},
            "click": {"value": 0.0, "numerator": 0, "denominator": 1},
            "clickToOpen": {"value": None, "numerator": 0, "denominator": 0},
        },
        "previous": None,
    }


def test_a_breakdown_by_reason() -> None:
    """Reasons are sentences and count recipients."""
    rows = rows_of(CAMPAIGN)
    found = breakdown([of_stream(rows, campaign="winter-b")], None, "reason")
    assert [(row.key, row.label, row.totals) for row in found] == [
        ("mailbox-full", "The mailbox is full", {"recipients": 1}),
        ("no-such-mailbox", "The mailbox does not exist", {"recipients": 1}),
        ("rendering", "The template could not be rendered", {"recipients": 1}),
        ("virus", "Amazon SES found a virus", {"recipients": 1}),
    ]


def test_a_breakdown_by_link() -> None:
    """Links count people and clicks, and have no rates of their own."""
    found = breakdown([of_stream(rows_of(CAMPAIGN), "link", "winter-b")], None, "link")
    assert to_builtins(found) == [
        {
            "key": "https://example.com/pricing",
            "label": "https://example.com/pricing",
            "totals": {"humanClicked": 1, "clicks": 1, "machineClicks": 0},
            "rates": {},
            "previous": None,
        }
    ]


def test_the_rest_of_a_breakdown() -> None:
    """Values beyond the top are added up in `~other`, with those the store had put there."""
    now = rows_by(
        "template", a={"sent": 9}, b={"sent": 5}, c={"sent": 2}, **{"~other": {"sent": 7}}
    )
    before = rows_by("template", a={"sent": 1}, c={"sent": 3}, gone={"sent": 4})
    found = breakdown([now], [before], "template", top=2)
    assert [
        (row.key, row.label, row.totals["sent"], row.previous and row.previous.totals["sent"])
        for row in found
    ] == [("a", "a", 9, 1), ("b", "b", 5, 0), ("~other", "Other", 9, 7)]


def test_stats_with_a_previous_period() -> None:
    """Figures carry those of the period before, and a breakdown by each dimension asked for."""
    rows = of_stream(rows_of(CAMPAIGN))
    earlier = of_stream(rows_of([delivery(sent_at=NOW - 40 * DAY)]))
    found = stats([rows], [earlier], None, ("mailbox", "template"))
    assert found.previous == period([earlier])
    assert list(found.breakdowns) == ["mailbox", "template"]
    assert found.breakdowns["template"] == []


def test_the_interval_of_small_numbers() -> None:
    """Three of 41 may truly be anything from 2.5 to 19.4 %."""
    assert [round(bound, 3) for bound in interval(3, 41)] == [0.025, 0.194]
    assert interval(0, 0) == (0.0, 1.0)


def test_names_of_buckets() -> None:
    """Buckets are called what answers call them."""
    assert [bucket_name(by, 20_781) for by in ("day", "week", "age", "hour")] == [
        "2026-11-24",
        "2026-11-23",
        "20781",
        "1972-05-15T21:00:00.000Z",
    ]
    assert monday(20_780) == monday(20_786) == 20_780


BUILDERS = st.sampled_from(
    [
        sent,
        delivery,
        bounce,
        complaint,
        delay,
        opened,
        clicked,
        unsubscribed,
        rejected,
        not_rendered,
    ]
)
TRAFFIC = st.lists(
    st.tuples(
        BUILDERS,
        st.sampled_from(["ana@contoso.example", "bo@gmail.com", "cy@yahoo.com", UNATTRIBUTED]),
        st.integers(0, 5).map(lambda n: (str(n), NOW - n * DAY)),
    ),
    max_size=40,
).map(lambda chosen: [build(to, message=m, sent_at=at) for build, to, (m, at) in chosen])
AXES = st.sampled_from([Axis("day", TODAY - 6, TODAY + 1), Axis("week", TODAY - 6, TODAY + 1)])


@given(TRAFFIC, AXES)
def test_totals_are_the_sum_of_the_series(told, axis) -> None:
    """Of any traffic, each total is the sum of its buckets."""
    source = of_stream(rows_of(told))
    found: Series = series([source], axis)
    totals = to_builtins(period([source]).totals)
    del totals["atLeast"]
    assert {name: sum(counts) for name, counts in found.counts.items()} == totals


@given(TRAFFIC)
def test_outcomes_sum_to_recipients(told) -> None:
    """Of any traffic, every recipient has exactly one outcome."""
    totals = to_builtins(period([of_stream(rows_of(told))]).totals)
    assert sum(totals[name] for name in OUTCOMES) == totals["recipients"]


@given(TRAFFIC)
def test_no_rate_passes_one(told) -> None:
    """Of any traffic, every rate is its numerator over its denominator, which is not less."""
    source = of_stream(rows_of(told))
    parts = [row.rates for row in breakdown([source], None, "mailbox")]
    for rates in (period([source]).rates, *parts):
        for rate in rates.values():
            of = rate.denominator
            assert 0 <= rate.numerator <= of
            assert rate.value == (rate.numerator / of if of else None)


@given(TRAFFIC)
def test_a_breakdown_sums_to_the_totals(told) -> None:
    """Of any traffic, the mailboxes together have sent what the stream has."""
    source = of_stream(rows_of(told))
    rows = breakdown([source], None, "mailbox")
    totals = to_builtins(period([source]).totals)
    for name in ("sent", "delivered", "complained", "humanClicked"):
        assert sum(row.totals[name] for row in rows) == totals[name]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_interval_holds_the_rate(numerator, denominator) -> None:
    """A rate lies in its interval."""
    rate = divide(min(numerator, denominator), denominator)
    low, high = interval(rate.numerator, rate.denominator)
    assert rate.value is None or low - 1e-12 <= rate.value <= high + 1e-12
