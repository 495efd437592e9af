"""When the verdict on sending is ok, attention, danger or quiet, and what it says."""

from sesight.domain.reputation import Finding, Reputation, assess_reputation
from sesight.domain.rollup import Family, RollupKey, RollupRow
from sesight.domain.stats import StatsSource
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR
from tests.builders import NOW

NAMES = {"outreach": "Outreach", "finance": "Finance"}


def row(dimension: str = "", value: str = "", family: str = "day", **counts: int) -> RollupRow:
    bucket = NOW // (HOUR if family == "hour" else DAY)
    key = RollupKey(Family(family), "outreach", "", bucket, dimension, value)
    return RollupRow(key, [counts.get(name, 0) for name in COUNTERS])


def mail(attempted: int, family: str = "day", **counts: int) -> StatsSource:
    base = {"sent": attempted, "attempted": attempted, "reached": attempted, "delivered": attempted}
    return StatsSource([row(family=family, **(base | counts))])


def judged(
    week: StatsSource, hours: StatsSource | None = None, **others: StatsSource
) -> Reputation:
    return assess_reputation(
        {"outreach": week, **others}, {"outreach": hours or StatsSource([])}, NAMES
    )


def codes(found: Reputation) -> list[tuple[str, str, str | None]]:
    return [(finding.code, finding.level, finding.stream) for finding in found.findings]


def test_healthy() -> None:
    """Below every limit there is nothing to say."""
    assert judged(mail(2_000, bounced=20, complained=1)) == Reputation("ok", [])


def test_quiet() -> None:
    """Without mail in 7 days the verdict is that it is quiet."""
    found = judged(StatsSource([]))
    sentence = "Nothing was sent in the last 7 days."
    assert found == Reputation("quiet", [Finding("nothing-sent", "quiet", sentence, "7d")])


def test_review() -> None:
    """At SES's review limit it is attention, with the sentence, the numbers and the limit."""
    found = judged(mail(2_000, bounced=104))
    assert found.findings == [
        Finding(
            "bounce-review",
            "attention",
            "Of all mail, 5.20 % (104 of 2,000 attempted) bounced permanently in the last 7 days; "
            "Amazon SES reviews an account at 5.0 %.",
            "7d",
            None,
            None,
            0.052,
            104,
            2_000,
            0.05,
        )
    ]
    assert found.level == "attention"


def test_pause() -> None:
    """At SES's pause limit it is danger, for complaints as for bounces."""
    found = judged(mail(2_000, bounced=200, complained=10))
    assert (found.level, codes(found)) == (
        "danger",
        [("bounce-pause", "danger", None), ("complaint-pause", "danger", None)],
    )


def test_few() -> None:
    """Below 1,000 attempted there are counts in words, never a rate or an alarm."""
    found = judged(mail(41, bounced=20))
    sentence = (
        "20 of 41 messages bounced permanently in the last 7 days: "
        "too few messages for a reliable rate."
    )
    assert found == Reputation(
        "ok",
        [Finding("bounced-few", "ok", sentence, "7d", None, None, None, 20, 41)],
    )


def test_few_complaints_of_nobody() -> None:
    """A complaint of which only candidates are known is one of the messages that reached somebody."""
    [found] = judged(mail(3, reached=0, complained=1)).findings
    assert (found.code, found.numerator, found.denominator) == ("complained-few", 1, 1)


def test_one_stream() -> None:
    """SES measures the account: a stream above the limit on its own is something to look at."""
    found = judged(mail(8_000, bounced=8), finance=mail(1_000, bounced=150))
    assert (found.level, codes(found)) == (
        "attention",
        [("bounce-pause", "attention", "finance")],
    )


def test_last_day() -> None:
    """A bad day shows before it has spoiled the week."""
    found = judged(mail(50_000, bounced=200), mail(1_200, "hour", bounced=120))
    assert [(f.code, f.level, f.window) for f in found.findings] == [
        ("bounce-pause", "danger", "24h")
    ]


def test_mailbox_standing_out() -> None:
    """A mailbox whose delivery is surely behind all others is worth a look."""
    sources = StatsSource(
        [
            *mail(3_000).rows,
            row("mailbox", "gmail", sent=2_000, attempted=2_000, delivered=1_980),
            row("mailbox", "yahoo", sent=1_000, attempted=1_000, delivered=900, everDelayed=200),
        ]
    )
    found = judged(sources)
    assert [(f.code, f.mailbox, f.sentence) for f in found.findings] == [
        (
            "mailbox-delivery",
            "yahoo",
            (
                "Of mail to Yahoo and AOL, 90.0 % (900 of 1,000) was delivered in the last 7 days; "
                "of all other mail 99.0 %."
            ),
        ),
        (
            "mailbox-delay",
            "yahoo",
            (
                "Of mail to Yahoo and AOL, 20.0 % (200 of 1,000) was delayed in the last 7 days; "
                "of all other mail 0.0 %."
            ),
        ),
    ]
