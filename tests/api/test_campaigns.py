"""Campaign cards and figures, which outlive the records they are of."""

import csv
from io import StringIO

import pytest

from sesight.domain.timestamps import DAY, HOUR
from tests.builders import NOW, bounce, clicked, complaint, delivery, fill, opened

MAIL = [
    delivery(message="a1", campaign="alpha", sent_at=NOW - HOUR // 2, subject="Zebra"),
    delivery(message="b1", campaign="beta", sent_at=NOW - 2 * DAY, tags={"campaign_name": "Beta!"}),
    bounce("bo@x.example", message="b2", campaign="beta", sent_at=NOW - 2 * DAY),
    delivery(message="c1", campaign="gamma", sent_at=NOW - 70 * DAY, provider="legacy"),
    delivery(message="d1", campaign="delta", sent_at=NOW - 200 * DAY),
    opened(message="d1", campaign="delta", sent_at=NOW - 200 * DAY),
    delivery(message="e1", campaign="epsilon", stream="finance", sent_at=NOW - 100 * DAY),
    delivery(message="e2", campaign="epsilon", stream="finance", sent_at=NOW - 50 * DAY),
]


@pytest.fixture
def ask(api, store):
    fill(store, MAIL)

    def asked(path: str = ""):
        answer = api.get(f"/api/campaigns{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def names(answer) -> list[str]:
    return [card["campaign"] for card in answer["data"]]


def test_states(ask) -> None:
    """A campaign is sending, settled, final or expired by its last send; detail says what is held."""
    assert {
        card["campaign"]: (card["state"], card["detail"]["state"]) for card in ask()["data"]
    } == {
        "alpha": ("sending", "live"),
        "beta": ("settled", "live"),
        "epsilon": ("settled", "partly-expired"),
        "gamma": ("final", "live"),
        "delta": ("expired", "expired"),
    }


def test_card(ask) -> None:
    """A card has a campaign's identity, times, state, totals and rates."""
    (card,) = ask("?q=beta")["data"]
    totals = card.pop("totals")
    rates = card.pop("rates")
    assert card == {
        "stream": "outreach",
        "campaign": "beta",
        "name": "Beta!",
        "provider": "ses",
        "sender": "news@news.example.com",
        "subject": "Winter",
        "template": None,
        "firstSentAt": "2026-11-22T12:00:00.000Z",
        "lastSentAt": "2026-11-22T12:00:00.000Z",
        "lastEventAt": "2026-11-22T12:00:02.000Z",
        "state": "settled",
        "detail": {
            "state": "live",
            "covered": 2,
            "of": 2,
            "from": "2026-11-22T12:00:00.000Z",
            "until": "2027-02-21T00:00:00.000Z",
        },
    }
    assert (totals["recipients"], totals["bounced"]) == (2, 1)
    assert rates["bounce"] == {"value": 0.5, "numerator": 1, "denominator": 2}
    assert "complaintReporting" not in rates


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "alpha beta epsilon gamma delta"),
        ("stream=finance", "epsilon"),
        ("provider=legacy", "gamma"),
        ("state=final,expired", "gamma delta"),
        ("q=ZEB", "alpha"),
        ("q=beta!", "beta"),
        ("q=nothing", ""),
        ("from=2026-11-23", "alpha"),
        ("from=2026-11-22T12:00:59Z", "alpha beta"),  # a card tells the minute of a send
        ("from=2026-11-22T12:01:00Z", "alpha"),
        ("to=2026-08-01", "delta"),
        ("from=2026-08-20&to=2026-09-10", "epsilon"),
        ("sort=campaign", "alpha beta delta epsilon gamma"),
        ("sort=-campaign", "gamma epsilon delta beta alpha"),
        ("sort=name", "beta epsilon alpha delta gamma"),
        ("sort=-recipients&stream=outreach", "beta alpha delta gamma"),
        ("sort=-bounce&stream=outreach", "beta alpha delta gamma"),
        ("sort=firstSentAt", "delta epsilon gamma beta alpha"),
        ("sort=-open&limit=1", "delta"),
    ],
)
def test_selection(ask, query, expected) -> None:
    """Cards are chosen and sorted by any column; nulls come last, equals by stream and id."""
    assert names(ask(f"?{query}")) == expected.split()


def test_pages_meet(ask) -> None:
    """Pages followed down and up again have every card once."""
    first = ask("?limit=2&sort=campaign")
    second = ask(f"?limit=2&sort=campaign&cursor={first['nextCursor']}")
    third = ask(f"?limit=2&sort=campaign&cursor={second['nextCursor']}")
    assert [names(page) for page in (first, second, third)] == [
        ["alpha", "beta"],
        ["delta", "epsilon"],
        ["gamma"],
    ]
    assert (first["newerCursor"], third["nextCursor"]) == (None, None)
    assert first["total"] == {"value": 5, "exact": True}
    back = ask(f"?limit=2&sort=campaign&cursor={third['newerCursor']}")
    assert names(back) == ["delta", "epsilon"]
    assert names(ask(f"?limit=2&sort=campaign&cursor={back['newerCursor']}")) == ["alpha", "beta"]


def test_cursor_of_another_list(api, ask) -> None:
    """A cursor of a card that the filter leaves out is refused."""
    cursor = ask("?limit=1&sort=campaign")["nextCursor"]
    answer = api.get(f"/api/campaigns?stream=finance&cursor={cursor}")
    assert (answer.status_code, answer.json()["parameter"]) == (422, "cursor")


def test_partly_expired(ask) -> None:
    """Of a campaign that began before what is held, detail says how much is left."""
    found = ask("/finance/epsilon")
    assert found["detail"] == {
        "state": "partly-expired",
        "covered": 1,
        "of": 2,
        "from": "2026-08-26T00:00:00.000Z",
        "until": "2027-01-04T00:00:00.000Z",
    }
    assert found["meta"]["partial"] == [
        {
            "part": "messages",
            "reason": "detail-expired",
            "asOf": "2026-08-26T00:00:00.000Z",
            "covered": 1,
            "of": 2,
        }
    ]


def test_expired_figures_stay(ask, store) -> None:
    """An expired campaign answers with all its figures, also when its records have been removed."""
    before = ask("/outreach/delta")
    assert before["state"] == before["detail"]["state"] == "expired"
    assert before["detail"]["covered"] == 0
    assert (before["totals"]["delivered"], before["totals"]["humanOpened"]) == (1, 1)
    assert store.sweep(NOW, 1_000).records == 2
    assert ask("/outreach/delta") == before


def test_figures(api, store) -> None:
    """A campaign's figures are by age and by mailbox, reason, link and tag."""
    about = {"campaign": "steps", "sent_at": NOW - 3 * DAY}
    fill(
        store,
        [
            delivery("ana@contoso.example", message="1", tags={"campaign_step": "1"}, **about),
            clicked("ana@contoso.example", message="1", tags={"campaign_step": "1"}, **about),
            complaint("bo@yahoo.com", message="2", tags={"campaign_step": "2"}, **about),
            bounce("cy@gmail.com", message="3", tags={"campaign_step": "2"}, **about),
        ],
    )
    found = api.get("/api/campaigns/outreach/steps").json()
    assert {
        by: [(row["key"], row["label"]) for row in rows] for by, rows in found["breakdowns"].items()
    } == {
        "mailbox": [("gmail", "Gmail"), ("other", "Other mailboxes"), ("yahoo", "Yahoo and AOL")],
        "reason": [("no-such-mailbox", "The mailbox does not exist")],
        "tag:campaign_step": [("2", "2"), ("1", "1")],
        "link": [("https://example.com/pricing", "https://example.com/pricing")],
    }
    assert found["rates"]["complaintReporting"] == {"value": 0.5, "numerator": 1, "denominator": 2}
    series = found["series"]
    assert (series["by"], series["counts"]["humanClicked"][3], series["partialFrom"]) == (
        "age",
        1,
        "72",
    )
    days = api.get("/api/campaigns/outreach/steps?step=day").json()["series"]
    assert (days["buckets"], days["counts"]["recipients"]) == (["2026-11-21"], [3])


def test_any_id(api, store) -> None:
    """An id may hold what an address cannot: slashes, spaces, other scripts."""
    for campaign in ("a/b", "spring 2026", "été", "~untagged"):
        fill(store, [delivery(campaign=campaign, message=campaign)])
        found = api.get(f"/api/campaigns/outreach/{campaign}")
        assert found.json()["campaign"] == campaign


def test_csv(api, store) -> None:
    """The CSV form has all cards with totals and rates as columns."""
    fill(store, MAIL)
    answer = api.get("/api/campaigns?format=csv&sort=campaign")
    assert (
        answer.headers["content-disposition"] == 'attachment; filename="sesight-campaigns_all.csv"'
    )
    rows = list(csv.DictReader(StringIO(answer.text, newline="")))
    assert [row["campaign"] for row in rows] == ["alpha", "beta", "delta", "epsilon", "gamma"]
    assert (rows[1]["totals.bounced"], rows[1]["rates.bounce"], rows[1]["detail.state"]) == (
        "1",
        "0.5",
        "live",
    )
