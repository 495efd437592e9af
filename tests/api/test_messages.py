"""The message log: what each parameter selects, in pages that meet, with totals that are true."""

import csv
from contextlib import closing
from dataclasses import replace
from io import StringIO

import pytest

from sesight.domain.event import UNATTRIBUTED
from sesight.domain.timestamps import DAY, HOUR
from sesight.services.recipient_id import encode
from sesight.store import open_store
from tests.builders import (
    NOW,
    bounce,
    clicked,
    complaint,
    delay,
    delivery,
    fill,
    opened,
    sent,
    unsubscribed,
)

MAIL = [
    delivery("ana@contoso.example", message="1", sent_at=NOW - 5 * DAY),
    opened("ana@contoso.example", message="1", sent_at=NOW - 5 * DAY),
    bounce("bo@gmail.com", message="2", sent_at=NOW - 4 * DAY, campaign="winter-a"),
    complaint("cy@yahoo.com", message="3", sent_at=NOW - 3 * DAY),
    unsubscribed("di@yahoo.com", message="4", sent_at=NOW - 2 * DAY, provider="legacy"),
    delay("ed@contoso.example", message="5", sent_at=NOW - DAY),
    delivery(
        "ana@contoso.example",
        message="6",
        sent_at=NOW - HOUR,
        stream="finance",
        campaign="statement",
        tags={"campaign_month": "2026-10"},
    ),
]


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [record["messageId"] for record in answer.json()["data"]]


@pytest.fixture
def log(api, store):
    fill(store, MAIL)
    return lambda query="": api.get(f"/api/messages?{query}")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "654321"),
        ("stream=finance", "6"),
        ("stream=outreach,finance", "654321"),
        ("provider=legacy", "4"),
        ("campaign=winter-a", "2"),
        ("month=2026-10", "6"),
        ("event=Open", "1"),
        ("event=Bounce", "2"),
        ("outcome=delivered", "6431"),
        ("outcome=bounced,delayed", "52"),
        ("outcome=not_delivered", "2"),
        ("outcome=pending", "5"),
        ("outcome=complained", "3"),
        ("outcome=unsubscribed", "4"),
        ("from=2026-11-22", "654"),
        ("to=2026-11-20", "21"),
        ("from=2026-11-20&to=2026-11-21", "32"),
        ("from=2026-11-21T12:00:00Z&to=2026-11-22T12:00:00.000Z", "3"),
        ("from=2026-11-22T13:00:00%2B01:00", "654"),
        ("stream=outreach&outcome=delivered&from=2026-11-21&event=Complaint", "3"),
        ("limit=2", "65"),
    ],
)
def test_selection(log, query, expected) -> None:
    """Each parameter selects what it says, and several select what all of them do."""
    assert ids(log(query)) == list(expected)


def test_by_recipient(log, services) -> None:
    """A recipient id selects one person's records in every stream."""
    rid = encode("ana@contoso.example", services.recipient_key)
    assert ids(log(f"recipient={rid}")) == ["6", "1"]


def test_tracking_data(api, store) -> None:
    """Tracking data is the log with stream and provider fixed; it alone takes an address."""
    fill(store, MAIL)
    assert ids(api.get("/api/outreach/tracking-data-ses")) == ["5", "3", "2", "1"]
    assert ids(api.get("/api/outreach/tracking-data")) == ["4"]
    assert ids(api.get("/api/financial/tracking-data")) == ["6"]
    found = api.get("/api/outreach/tracking-data-ses?email=%20Ana@Contoso.example")
    assert ids(found) == ["1"]
    assert found.json()["meta"]["provider"] == "ses"
    assert api.get("/api/outreach/tracking-data").json()["meta"]["provider"] == "legacy"
    assert api.get("/api/outreach/tracking-data?provider=ses").status_code == 422


def test_list(log) -> None:
    """A list carries its total, its cursors and what is known of its truth."""
    answer = log("stream=finance").json()
    newer = answer.pop("newerCursor")
    assert newer.startswith("n.")
    assert answer.pop("data")[0]["messageId"] == "6"
    assert answer == {
        "total": {"value": 1, "exact": True},
        "nextCursor": None,
        "searchedTo": None,
        "meta": {
            "provider": "ses",
            "streams": ["finance"],
            "generatedAt": "2026-11-24T12:00:00.000Z",
            "newestEventAt": "2026-11-24T12:00:00.000Z",
            "intake": "ok",
            "retentionDays": 90,
            "detailFrom": "2026-08-26T00:00:00.000Z",
            "simulated": False,
            "partial": [],
        },
    }


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", 6),
        ("stream=outreach", 5),
        ("campaign=winter-a", 1),
        ("outcome=delivered", 4),
        ("outcome=not_delivered,pending", 2),
        ("from=2026-11-20&to=2026-11-21", 2),
        ("campaign=winter-b&outcome=delivered&from=2026-11-21", 2),
        ("campaign=winter-a&provider=ses", 1),
        ("provider=ses", None),
        ("event=Open", None),
        ("month=2026-10", None),
        ("outcome=complained", None),
        ("outcome=delayed", None),
        ("from=2026-11-20T06:00:00Z", None),
    ],
)
def test_total(log, query, value) -> None:
    """The total is exact where totals tell, over whole days; elsewhere it is not guessed."""
    answer = log(query).json()
    assert answer["total"] == (None if value is None else {"value": value, "exact": True})
    assert value is None or len(answer["data"]) == value


def test_total_with_nobody(api, store) -> None:
    """Rows that are no recipient's are in the list, not in the total, which then is not exact."""
    fill(store, [*MAIL, opened(UNATTRIBUTED, message="1", sent_at=NOW - 5 * DAY)])
    answer = api.get("/api/messages").json()
    assert (len(answer["data"]), answer["total"]) == (7, {"value": 6, "exact": False})


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_pages_meet(api, store, limit) -> None:
    """Pages followed to the end, and back up again, have every record once, in order."""
    fill(store, [sent(message=f"m{n:02}", sent_at=NOW - n // 3 * HOUR) for n in range(23)])
    whole = ids(api.get("/api/messages?limit=500"))
    pages = [api.get(f"/api/messages?limit={limit}").json()]
    while pages[-1]["nextCursor"] is not None:
        cursor = pages[-1]["nextCursor"]
        pages.append(api.get(f"/api/messages?limit={limit}&cursor={cursor}").json())
    down = [record["messageId"] for page in pages for record in page["data"]]
    assert down == whole
    assert len(set(whole)) == 23
    up: list[str] = []
    page = pages[-1]
    while True:
        page = api.get(f"/api/messages?limit={limit}&cursor={page['newerCursor']}").json()
        if not page["data"]:
            break
        up = [record["messageId"] for record in page["data"]] + up
    assert up == whole[: len(whole) - len(pages[-1]["data"])]


def test_newer_gives_what_came_in_since(api, store) -> None:
    """`newerCursor` of the first page gives only what was sent after it."""
    fill(store, [sent(message="old", sent_at=NOW - DAY)])
    newer = api.get("/api/messages").json()["newerCursor"]
    assert ids(api.get(f"/api/messages?cursor={newer}")) == []
    fill(store, [sent(message="new", sent_at=NOW - HOUR)])
    assert ids(api.get(f"/api/messages?cursor={newer}")) == ["new"]


def test_cursor_of_another_list(log) -> None:
    """A cursor holds for its own filters only."""
    cursor = log("limit=1").json()["nextCursor"]
    answer = log(f"cursor={cursor}&stream=outreach")
    assert (answer.status_code, answer.json()["parameter"]) == (422, "cursor")


def test_search_that_stops_early(api, store) -> None:
    """A search that finds little says how far back it got, and goes on from there."""
    fill(store, [sent(message=f"m{n:03}", sent_at=NOW - n * HOUR) for n in range(60)])
    fill(store, [opened(message="rare", sent_at=NOW - 70 * HOUR)])
    answer = api.get("/api/messages?event=Open&limit=2").json()
    assert (answer["data"], answer["searchedTo"]) == ([], "2026-11-23T17:00:00.000Z")
    found = []
    while answer["nextCursor"] is not None:
        cursor = answer["nextCursor"]
        answer = api.get(f"/api/messages?event=Open&limit=2&cursor={cursor}").json()
        found += [record["messageId"] for record in answer["data"]]
    assert found == ["rare"]


OLD = [
    bounce("gone@example.org", message="7", sent_at=NOW - 100 * DAY, campaign="winter-b"),
    delivery("gone@example.org", message="8", sent_at=NOW - 110 * DAY, campaign="winter-b"),
    delivery(
        "gone@example.org",
        message="9",
        sent_at=NOW - 110 * DAY,
        stream="finance",
        campaign="statement",
        tags={"campaign_month": "2026-07"},
    ),
]
"""What is past retention, beside `MAIL`."""


@pytest.mark.parametrize(
    ("query", "total", "covered", "of"),
    [
        ("", 6, 6, 9),
        ("limit=1", 6, 6, 9),
        ("stream=outreach", 5, 5, 7),
        ("from=2026-08-01", 6, 6, 9),
        ("from=2026-08-01&campaign=winter-b", 4, 4, 6),
        ("campaign=winter-b", 4, 4, 6),
        ("to=2026-08-25", 0, 0, 3),
        ("from=2026-08-10&to=2026-08-20", 0, 0, 1),
        ("from=2026-08-10&to=2026-08-20&limit=1", 0, 0, 1),
        ("outcome=bounced", 1, 1, 2),
        ("outcome=not_delivered&to=2026-08-25", 0, 0, 1),
        ("outcome=delivered&stream=finance", 1, 1, 2),
        ("outcome=complained", None, 1, None),
        ("outcome=complained,delayed&limit=1", None, None, None),
        ("event=Bounce", None, 1, None),
        ("month=2026-07", None, 0, 1),
        ("month=2026-07&stream=finance", None, 0, 1),
        ("month=2026-07&outcome=delivered", None, 0, None),
        ("provider=legacy", None, 1, None),
        ("from=2026-08-10T12:00:00Z", None, 6, None),
    ],
)
def test_what_is_past_retention_is_named(api, store, query, total, covered, of) -> None:
    """Whenever part of what was asked for is past retention, a list says so, with how much of it there
    is where that is known, and its total is none that is exact.
    """
    fill(store, [*MAIL, *OLD])
    answer = api.get(f"/api/messages?{query}").json()
    assert answer["total"] == (None if total is None else {"value": total, "exact": False})
    assert answer["meta"]["partial"] == [
        {
            "part": "messages",
            "reason": "detail-expired",
            "asOf": "2026-08-26T00:00:00.000Z",
            "covered": covered,
            "of": of,
        }
    ]


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-08-26",
        "campaign=winter-a",
        "outcome=suppressed",
        "month=2026-10",
        "month=2026-06",
        "month=2026-11",
        "month=2026-10&limit=1",
        "to=2026-08-05",
    ],
)
def test_nothing_is_named_where_nothing_is_missing(api, store, query) -> None:
    """A list of which nothing is past retention says nothing of it, however early its span begins."""
    fill(store, [*MAIL, *OLD])
    answer = api.get(f"/api/messages?{query}").json()
    assert answer["meta"]["partial"] == []
    assert answer["total"] is None or answer["total"]["exact"]


@pytest.mark.parametrize(
    ("path", "covered", "of"),
    [
        ("/api/outreach/tracking-data-ses?", 4, None),
        ("/api/financial/tracking-data?to=2026-08-25", 0, None),
        ("/api/outreach/tracking-data-ses?email=gone@example.org", 0, None),
    ],
)
def test_tracking_data_past_retention(api, store, path, covered, of) -> None:
    """Tracking data says it as the log does."""
    fill(store, [*MAIL, *OLD])
    [part] = api.get(path).json()["meta"]["partial"]
    assert (part["reason"], part["covered"], part["of"]) == ("detail-expired", covered, of)


def test_a_file_names_what_is_past_retention(api, store) -> None:
    """A file says it in a header, since it has no `meta`."""
    fill(store, [*MAIL, *OLD])
    answer = api.get("/api/messages?format=csv&to=2026-08-25")
    assert answer.headers["sesight-partial"] == (
        "messages; reason=detail-expired; asOf=2026-08-26T00:00:00.000Z; covered=0; of=3"
    )
    assert "sesight-partial" not in api.get("/api/messages?format=csv&from=2026-08-26").headers


def test_total_with_a_test_recipient(api, store) -> None:
    """A test recipient counts nowhere: a total beside one is exact only where the rows were counted."""
    fill(store, [*MAIL, sent("success@simulator.amazonses.com", message="7", sent_at=NOW - HOUR)])
    assert api.get("/api/messages").json()["total"] == {"value": 7, "exact": True}
    assert api.get("/api/messages?limit=2").json()["total"] == {"value": 6, "exact": False}


def test_total_counts_what_is_sent_in_the_future(api, store) -> None:
    """A clock ahead of ours sends what is in the list, and in its total."""
    fill(store, [*MAIL, sent(message="7", sent_at=NOW + 9 * DAY)])
    assert api.get("/api/messages?limit=1").json()["total"] == {"value": 7, "exact": True}


def test_kept_for_ever(services, serve, tmp_path) -> None:
    """In a store that keeps records for ever nothing is past retention."""
    with closing(open_store(f"sqlite:///{tmp_path}/for-ever.db", retention_days=0)) as store:
        client = serve(replace(services, store=store, retention_days=lambda: 0))
        meta = client.get("/api/messages?from=1970-01-01").json()["meta"]
    assert (meta["detailFrom"], meta["retentionDays"]) == (None, 0)


def test_one_message(api, store) -> None:
    """One message has all its recipients, nobody last."""
    fill(
        store,
        [
            delivery("bo@gmail.com", message="1"),
            opened(UNATTRIBUTED, message="1"),
            delivery("ana@contoso.example", message="1"),
        ],
    )
    answer = api.get("/api/messages/1").json()
    assert answer["messageId"] == "1"
    assert [record["recipient"] for record in answer["data"]] == [
        "ana@contoso.example",
        "bo@gmail.com",
        "*",
    ]
    assert answer["meta"]["streams"] == ["outreach"]


def test_csv(log) -> None:
    """The CSV form has the same rows, under a name that says what they are of."""
    answer = log("format=csv&stream=outreach&from=2026-11-19&to=2026-11-24")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="sesight-messages_outreach_2026-11-19_2026-11-24.csv"'
    )
    rows = list(csv.DictReader(StringIO(answer.text, newline="")))
    assert [row["messageId"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert rows[3]["diagnostic"] == "smtp; 550 5.1.1 no such user"
    assert rows[4]["tags"] == "campaign_id=winter-b"
    assert rows[4]["deliveryMillis"] == "1300"
    assert rows[4]["clickedAt"] == ""
    assert answer.text.count("\r\n") == answer.text.count("\n") == 6


def test_csv_limit(api, store) -> None:
    """A limit gives that page; without one a file has every row."""
    fill(store, [sent(message=f"m{n:02}", sent_at=NOW - n * HOUR) for n in range(12)])
    lengths = [
        len(api.get(f"/api/messages?format=csv{more}").text.splitlines()) - 1
        for more in ("", "&limit=3", "&limit=500")
    ]
    assert lengths == [12, 3, 12]


def test_csv_goes_on_downwards(api, store) -> None:
    """A file without a limit goes on from a `nextCursor` only: above a page there is no end of one."""
    fill(store, [sent(message=f"m{n:02}", sent_at=NOW - n * HOUR) for n in range(12)])
    newer = api.get("/api/messages?limit=3").json()["newerCursor"]
    answer = api.get(f"/api/messages?format=csv&cursor={newer}")
    assert (answer.status_code, answer.json()["parameter"]) == (422, "cursor")


def test_csv_guard(api, store) -> None:
    """A cell that a spreadsheet would run gets an apostrophe in front."""
    fill(store, [clicked(campaign="@sum", subject='=HYPERLINK("http://x")', template="-1+1")])
    (row,) = csv.DictReader(StringIO(api.get("/api/messages?format=csv").text, newline=""))
    assert row["subject"] == '\'=HYPERLINK("http://x")'
    assert row["template"] == "'-1+1"
    assert row["campaign"] == "'@sum"
