"""The overview: figures of all streams and of each, over whole days, with a verdict."""

import pytest

from sesight.domain.timestamps import DAY, HOUR
from tests.builders import NOW, bounce, delivery, fill, opened

TOTALS = ("recipients", "delivered", "bounced")


def mail(count: int, build=delivery, day: int = 1, **about):
    return [
        build(
            f"p{n}@contoso.example",
            message=f"{build.__name__}{day}-{n}",
            sent_at=NOW - day * DAY,
            **about,
        )
        for n in range(count)
    ]


@pytest.fixture
def ask(api):
    def asked(query: str = ""):
        answer = api.get(f"/api/overview?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def totals(scope):
    return [scope["totals"][name] for name in TOTALS]


def test_scopes(ask, store) -> None:
    """There are figures of all streams together, and of each; the parts add up to the whole."""
    fill(store, [*mail(3), *mail(1, bounce), *mail(2, stream="finance", campaign="x", day=2)])
    found = ask()
    assert [(each["scope"], totals(each)) for each in found["scopes"]] == [
        ("all", [6, 5, 1]),
        ("outreach", [4, 3, 1]),
        ("finance", [2, 2, 0]),
    ]
    assert (found["from"], found["to"]) == ("2026-10-26T00:00:00.000Z", "2026-11-25T00:00:00.000Z")
    series = found["scopes"][0]["series"]
    assert (series["by"], len(series["buckets"]), series["partialFrom"]) == (
        "day",
        30,
        "2026-11-24",
    )
    assert sum(series["counts"]["recipients"]) == 6
    assert list(found["scopes"][0]["breakdowns"]) == ["mailbox", "senderDomain", "template"]
    assert found["scopes"][0]["rates"]["delivery"] == {
        "value": 5 / 6,
        "numerator": 5,
        "denominator": 6,
    }


def test_one_stream(ask, store) -> None:
    """A stream asked for is the only one there."""
    fill(store, [*mail(3), *mail(2, stream="finance", campaign="x", day=2)])
    found = ask("stream=finance")
    assert [(each["scope"], totals(each)) for each in found["scopes"]] == [
        ("all", [2, 2, 0]),
        ("finance", [2, 2, 0]),
    ]
    assert found["meta"]["streams"] == ["finance"]


@pytest.mark.parametrize(
    ("query", "by", "first", "last", "count"),
    [
        ("from=2026-11-24", "hour", "2026-11-24T00:00:00.000Z", "2026-11-24T23:00:00.000Z", 24),
        ("from=2026-11-20", "hour", "2026-11-20T00:00:00.000Z", "2026-11-24T23:00:00.000Z", 120),
        ("from=2026-11-19", "day", "2026-11-19", "2026-11-24", 6),
        ("from=2026-10-01&to=2026-10-02", "day", "2026-10-01", "2026-10-02", 2),
        ("from=2026-01-01", "week", "2025-12-29", "2026-11-23", 48),
        ("from=2026-11-23&step=day", "day", "2026-11-23", "2026-11-24", 2),
        ("from=2026-11-01&step=week", "week", "2026-10-26", "2026-11-23", 5),
        ("from=2026-11-20&to=2026-11-24&step=hour", "hour", "2026-11-20T00:00:00.000Z", None, 120),
        ("to=2026-11-10&step=day", "day", "2026-10-12", "2026-11-10", 30),
        (
            "from=2026-11-23T09:00:00Z&to=2026-11-24T01:00:00Z&step=day",
            "day",
            "2026-11-23",
            None,
            2,
        ),
    ],
)
def test_steps(ask, query, by, first, last, count) -> None:
    """The step is what was asked for; `auto` gives at most 120 buckets while it can."""
    series = ask(query)["scopes"][0]["series"]
    assert (series["by"], series["buckets"][0], len(series["buckets"])) == (by, first, count)
    assert last is None or series["buckets"][-1] == last


def test_hours(ask, store) -> None:
    """By hour the buckets have what the day has."""
    fill(store, [*mail(3, day=0), *mail(2, bounce, day=0)])
    found = ask("from=2026-11-24")["scopes"][0]
    assert found["totals"]["delivered"] == sum(found["series"]["counts"]["delivered"]) == 3
    assert found["series"]["counts"]["attempted"][12] == 5
    assert found["series"]["partialFrom"] == "2026-11-24T12:00:00.000Z"


def test_previous(ask, store) -> None:
    """The period before is of equal length, and is null when the store does not go back that far."""
    fill(store, [*mail(2, day=1), *mail(5, day=3), *mail(1, opened, day=9)])
    found = ask("from=2026-11-22")["scopes"][0]
    assert totals(found) == [2, 2, 0]
    assert totals(found["previous"]) == [5, 5, 0]
    assert found["breakdowns"]["mailbox"][0]["previous"]["totals"]["sent"] == 5
    assert ask("from=2026-11-16")["scopes"][0]["previous"] is None
    assert ask("from=2026-11-22&compare=none")["scopes"][0]["previous"] is None


def test_empty(ask) -> None:
    """A new store is quiet, with zeros and no rates."""
    found = ask()
    assert found["verdict"]["level"] == "quiet"
    assert totals(found["scopes"][0]) == [0, 0, 0]
    assert found["scopes"][0]["rates"]["delivery"]["value"] is None


def test_verdict(ask, store) -> None:
    """The verdict is over the last week and day, whatever the range of the figures."""
    fill(store, [*mail(950), *mail(120, bounce)])
    fill(store, [delivery(message="old", sent_at=NOW - 40 * DAY + HOUR)])
    verdict = ask("from=2026-10-15&to=2026-10-16")["verdict"]
    assert verdict["level"] == "danger"
    assert verdict["findings"][0] == {
        "code": "bounce-pause",
        "level": "danger",
        "sentence": (
            "Of all mail, 11.21 % (120 of 1,070 attempted) bounced permanently in the last 7 days; "
            "Amazon SES may pause sending at 10.0 %."
        ),
        "window": "7d",
        "stream": None,
        "mailbox": None,
        "value": 120 / 1070,
        "numerator": 120,
        "denominator": 1070,
        "limit": 0.1,
    }
