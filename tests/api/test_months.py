"""Statement months: sent, delivered at which attempt, outstanding, and how much detail is left."""

import pytest

from sesight.domain.timestamps import DAY
from tests.builders import NOW, bounce, delivery, fill


def statement(build, message, month, ago, attempt=None, **about):
    tags = {"campaign_month": month, **({"campaign_attempt": attempt} if attempt else {})}
    return build(
        message=message,
        stream="finance",
        campaign="statement",
        sent_at=NOW - ago * DAY,
        tags=tags,
        **about,
    )


@pytest.fixture
def ask(api, store):
    fill(
        store,
        [
            statement(delivery, "1", "2026-10", 20, "1"),
            statement(bounce, "2", "2026-10", 20, status="4.2.2", kind="Transient"),
            statement(delivery, "3", "2026-10", 18, "2"),
            statement(bounce, "4", "2026-10", 20),
            statement(delivery, "5", "2026-07", 110),
            statement(delivery, "6", "2026-08", 95),
            statement(delivery, "7", "2026-08", 85),
        ],
    )

    def asked(query=""):
        answer = api.get(f"/api/financial/months?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def test_months(ask) -> None:
    """Each month has what was outstanding after both attempts, and the detail that is left."""
    assert [
        (row["month"], row["totals"]["sent"], row["outstanding"], row["detail"]["state"])
        for row in ask()["data"]
    ] == [
        ("2026-10", 4, 1, "live"),
        ("2026-08", 2, 0, "partly-expired"),
        ("2026-07", 1, 0, "expired"),
    ]


def test_attempts(ask) -> None:
    """First sends and resends are apart."""
    (row, *_) = ask()["data"]
    assert [
        (each["key"], each["label"], each["totals"]) for each in row["breakdowns"]["attempt"]
    ] == [
        ("first", "First attempt", {"recipients": 3, "delivered": 1, "sent": 3}),
        ("resend", "Resent", {"recipients": 1, "delivered": 1, "sent": 1}),
    ]
    assert row["detail"] == {
        "state": "live",
        "covered": 4,
        "of": 4,
        "from": "2026-10-01T00:00:00.000Z",
        "until": "2027-02-05T00:00:00.000Z",
    }


def test_previous(ask) -> None:
    """The month before is beside a month, null where there was none."""
    previous = [row["previous"] and row["previous"]["totals"]["sent"] for row in ask()["data"]]
    assert previous == [None, 1, None]


@pytest.mark.parametrize(
    ("query", "months"),
    [
        ("from=2026-08-15", ["2026-10", "2026-08"]),
        ("to=2026-08-01", ["2026-08", "2026-07"]),
        ("from=2026-08-01&to=2026-08-31", ["2026-08"]),
    ],
)
def test_range(ask, query, months) -> None:
    """A range selects the months that it touches."""
    assert [row["month"] for row in ask(query)["data"]] == months


def test_csv(api, ask) -> None:
    """The CSV form has a line a month."""
    lines = api.get("/api/financial/months?format=csv").text.splitlines()
    assert lines[1].startswith("2026-10,finance,4,4,2,1,1,")
