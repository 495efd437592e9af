"""Laws 8 and 9: a machine is not a person, and no rate is more than all of what it is of."""

from hypothesis import given
from hypothesis import strategies as st

from sesight.domain.engagement import GMAIL_PREFETCH, Actor, classify, classify_all
from sesight.domain.event import Click, Event, Open
from sesight.domain.outcome import derive_facts
from sesight.domain.rollup import RollupRow
from sesight.domain.stats import RATES, StatsSource, period
from sesight.domain.tally import COUNTERS, FACTS
from tests.builders import NOW, OUTLOOK
from tests.laws.happenings import BOTS, histories
from tests.laws.ledger import told_one_by_one

MACHINES = ("Mozilla/5.0", GMAIL_PREFETCH, "", "curl/8.7.1", "Barracuda Sentinel (EE)")
agents = st.sampled_from([*MACHINES, OUTLOOK, None, "unheard of"]) | st.text(max_size=40)
bots = st.sampled_from(BOTS)
times = st.none() | st.integers(NOW - 20_000, NOW + 20_000)
clicks = st.lists(
    st.builds(
        Click,
        at=st.integers(NOW - 3_000, NOW + 3_000),
        agent=agents,
        bot=bots,
        link=st.sampled_from("ab"),
    ),
    max_size=4,
).map(tuple)


@given(agents, bots, times, clicks)
def test_machine_beats_unlikely(
    agent: str | None, bot: str | None, delivered_at: int | None, others: tuple[Click, ...]
) -> None:
    """What the user agent shows to be a machine is one whatever SES, timing and other clicks say;
    Likely makes a machine of anybody; nothing else does, and nothing makes a person of a stranger.
    """
    alone = classify(Open(NOW, agent=agent), None)
    for engagement in (Open(NOW, agent=agent, bot=bot), Click(NOW, agent=agent, bot=bot, link="a")):
        said = classify(engagement, delivered_at, others)
        if alone.actor is Actor.MACHINE:
            assert said == alone
        elif bot == "Likely":
            assert said == (Actor.MACHINE, "ses-bot", alone.client)
        else:
            assert said.actor is not Actor.MACHINE
            assert said.actor is not Actor.HUMAN or alone.actor is Actor.HUMAN


@given(histories())
def test_engagement_of_the_reached(told: list[Event]) -> None:
    """Only the reached have engagement, machines never make them so, and each recipient is in one
    class of openers: a person's, nobody knows whose, or a machine's alone.
    """
    for record in told_one_by_one(told).held.values():
        tally = record.tally
        assert tally is not None
        if record.is_unattributed or tally.dimensions is None:
            continue
        has = {name for n, name in enumerate(FACTS) if tally.facts >> n & 1}
        opened = has & {"humanOpened", "unknownOpened", "machineOnlyOpened"}
        clicked = has & {"humanClicked", "unknownClicked", "machineOnlyClicked"}
        assert (len(opened), len(clicked)) == ("opened" in has, "clicked" in has)
        assert "reached" in has or not has & {"opened", "clicked"}
        assert "clicked" not in has or "opened" in has
        assert "humanClicked" not in has or "humanOpened" in has
        people = any(said.actor is not Actor.MACHINE for _, said in classify_all(record.timeline))
        assert derive_facts(record.timeline).reached == ("reached" in has)
        assert "reached" in has or not people


@given(histories())
def test_no_rate_passes_one(told: list[Event]) -> None:
    """Every rate is its numerator over its denominator, none where there is nothing to divide by, and
    never more than all: a complaint that only candidates are known of shows that one was reached.
    """
    ledger = told_one_by_one(told)
    streams = ("outreach", "finance")
    sources = [
        StatsSource(
            [
                RollupRow(key, row)
                for key, row in ledger.rows.items()
                if key.family == "day" and key.stream == stream and not key.campaign
            ]
        )
        for stream in streams
    ]
    found = period(sources)
    counts = dict.fromkeys(COUNTERS, 0)
    for key, row in ledger.rows.items():
        if key.family == "day" and not key.campaign and not key.dimension:
            for name, n in zip(COUNTERS, row, strict=True):
                counts[name] += n
    assert {*RATES} - {*found.rates} <= {"complaintReporting"}  # nobody to report complaints
    for name, rate in found.rates.items():
        numerator, denominator = RATES[name]
        if name == "complaint":
            assert (rate.numerator, rate.denominator) == (
                counts[numerator],
                max(counts[numerator], counts[denominator]),
            )
        elif name != "complaintReporting":
            assert (rate.numerator, rate.denominator) == (counts[numerator], counts[denominator])
        assert rate.numerator <= rate.denominator
        assert rate.value == (rate.numerator / rate.denominator if rate.denominator else None)
