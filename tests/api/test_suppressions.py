"""The suppression list over HTTP: look, check, add, remove, take back, import and export."""

import csv
import io
from dataclasses import replace

import pytest

from sesight.domain.timestamps import DAY
from sesight.services.recipient_id import encode
from sesight.store import open_store
from tests.api.test_error_shape import held_to_shape
from tests.builders import NOW, bounce, complaint, fill
from tests.services.conftest import suppressions_of

ANA, BO = "ana@contoso.example", "bo@contoso.example"


def post(api, path, status=200, **body):
    answer = api.post(f"/api/suppressions{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def listed(api, query=""):
    answer = api.get(f"/api/suppressions?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def addresses(api, query=""):
    return [row["address"] for row in listed(api, query)["data"]]


def test_add(api) -> None:
    """Several addresses and domains are suppressed at once, each with its result, in order."""
    done = post(
        api,
        "",
        addresses=["Ana@contoso.example", "@Fabrikam.example", "nobody"],
        scope="marketing",
        note="by phone",
        changeId="change-1",
    )
    assert done == {
        "changeId": "change-1",
        "counts": {"added": 2, "invalid": 1},
        "results": [
            {"address": ANA, "state": "added", "streams": ["outreach"], "detail": None},
            {
                "address": "@fabrikam.example",
                "state": "added",
                "streams": ["outreach"],
                "detail": None,
            },
            {
                "address": "nobody",
                "state": "invalid",
                "streams": [],
                "detail": "This is not an address: write name@domain, or @domain for a whole domain.",
            },
        ],
    }
    assert post(api, "", addresses=[ANA], scope="marketing", changeId="change-1")["counts"] == {
        "known": 1
    }


def test_list(api, store, services) -> None:
    """A row says who is suppressed where and why, since when, with the whole history."""
    post(api, "", addresses=["Ana@contoso.example"], note="by phone", changeId="change-1")
    row = listed(api)["data"][0]
    source = {"stream": None, "campaign": None, "messageId": None, "detail": "by phone"}
    at = "2026-11-24T12:00:00.000Z"
    cause = {
        "id": "manual:change-1",
        "at": at,
        "reason": "manual",
        "scope": "all",
        "until": None,
        "lifted": False,
        "source": source,
    }
    held = {"address": ANA, "active": True, "causes": [cause], "removals": []}
    assert row == {
        "address": ANA,
        "recipientId": encode(ANA, services.recipient_key),
        "active": True,
        "streams": ["outreach", "finance"],
        "reason": "manual",
        "scope": "all",
        "since": at,
        "until": None,
        "note": "by phone",
        "source": source,
        "suppressions": [{"stream": name, **held} for name in ("outreach", "finance")],
    }
    person = api.get(f"/api/recipients/{row['recipientId']}").json()
    assert person["suppressions"] == row["suppressions"]


def test_filters(api, store) -> None:
    """The list is cut by stream, reason, prefix and whether it blocks."""
    fill(store, [bounce(), complaint(BO, message="m-2")])
    post(api, "", addresses=["@contoso.example", "cy@x.example"], stream="finance")
    post(api, "", addresses=["dee@x.example"], until="2026-11-25")
    post(api, "/remove", addresses=["cy@x.example"], note="a mistake")
    everyone = ["@contoso.example", ANA, BO, "dee@x.example"]
    assert addresses(api) == everyone
    assert addresses(api, "active=false") == ["cy@x.example"]
    assert addresses(api, "active=all") == sorted([*everyone, "cy@x.example"])
    assert addresses(api, "stream=outreach") == [ANA, BO, "dee@x.example"]
    assert addresses(api, "reason=bounced") == [ANA]
    assert addresses(api, "prefix=AN") == [ANA]
    assert addresses(api, "prefix=@") == ["@contoso.example"]
    [domain] = listed(api, "prefix=@")["data"]
    assert domain["recipientId"] is None


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("", (5, True)),
        ("stream=finance", (4, True)),
        ("reason=manual", (3, True)),
        ("active=false", (1, True)),
        ("active=all", (6, True)),
        ("prefix=an", (1, True)),
        ("limit=2", (4, False)),
        ("limit=2&stream=outreach", (3, True)),
        ("limit=1&reason=manual", (3, False)),
        ("limit=1&reason=bounced", (1, False)),
        ("limit=1&prefix=a", None),
        ("limit=2&active=all", None),
    ],
)
def test_a_total_counts_what_is_listed(api, query, total) -> None:
    """An address that several streams must not send to is listed once, so it counts once; where several
    streams have some, the total of a part of the list is only what there is at least.
    """
    post(api, "", addresses=[ANA], reason="bounced", stream="outreach")
    post(api, "", addresses=[BO], reason="complaint", stream="outreach")
    post(api, "", addresses=["@contoso.example", "cy@x.example"], stream="finance")
    post(api, "", addresses=["dee@x.example"])
    post(api, "", addresses=["eve@x.example"], stream="finance")
    post(api, "/remove", addresses=["cy@x.example"], note="a mistake")
    found = listed(api, query)["total"]
    assert found == (None if total is None else {"value": total[0], "exact": total[1]})


def test_pages(api) -> None:
    """The list is read page by page, and no cursor shows an address."""
    post(api, "", addresses=[f"{n:02d}@x.example" for n in range(23)])
    found, cursor = [], ""
    while True:
        page = listed(api, f"limit=5{cursor}")
        found += [row["address"] for row in page["data"]]
        if page["nextCursor"] is None:
            break
        assert "x.example" not in page["nextCursor"]
        cursor = f"&cursor={page['nextCursor']}"
    assert found == [f"{n:02d}@x.example" for n in range(23)]
    for wrong in (f"limit=5{cursor}&reason=manual", "cursor=c_AAAA", "cursor=o.1"):
        body = held_to_shape(api.get(f"/api/suppressions?{wrong}"), "invalid-request")
        assert body["parameter"] == "cursor"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("prefix=ana@contoso.example", "prefix"),
        ("prefix=ana@", "prefix"),
        ("reason=nonsense", "reason"),
        ("active=yes", "active"),
        ("active=false&format=csv", "active"),
        ("stream=nowhere", "stream"),
    ],
)
def test_wrong_questions(api, query, parameter) -> None:
    """No address belongs into a URL, and a word that is none is refused."""
    body = held_to_shape(api.get(f"/api/suppressions?{query}"), "invalid-request")
    assert body["parameter"] == parameter
    assert "ana" not in body["detail"]


def test_until_over(api, services, serve, store) -> None:
    """One whose time is over is not told as suppressed, though nobody has counted it out yet."""
    post(api, "", addresses=[ANA], until="2026-11-24T12:00:01Z")
    later = serve(replace(services, clock=lambda: NOW + DAY))
    assert (addresses(api), addresses(later)) == ([ANA], [])


def test_check(api, store) -> None:
    """Many addresses are looked up at once: may they be sent to, and if not, why and since when."""
    fill(store, [bounce()])
    post(api, "", addresses=["@contoso.example"], stream="finance", note="merged")
    asked = [" ANA@contoso.example", BO, "new@x.example", "nobody"]
    found = post(api, "/check", addresses=asked)["data"]
    assert [(each["address"], each["allowed"]) for each in found] == [
        (ANA, False),
        (BO, False),
        ("new@x.example", True),
        ("nobody", False),
    ]
    assert [(m["stream"], m["allowed"], m["reason"], m["scope"]) for m in found[1]["mailable"]] == [
        ("outreach", True, None, None),
        ("finance", False, "manual", "stream"),
    ]
    assert [m["reason"] for m in found[0]["mailable"]] == ["bounced", "bounced"]
    assert found[0]["mailable"][0]["since"] == "2026-11-23T12:00:02.000Z"
    assert (found[3]["mailable"], found[3]["detail"] is None) == ([], False)
    [one] = post(api, "/check", addresses=[BO], streams=["outreach"])["data"]
    assert one["allowed"]


def test_remove_and_restore(api, store) -> None:
    """A removal answers the id under which it can be taken back; both are told for each address."""
    fill(store, [bounce()])
    done = post(api, "/remove", addresses=[ANA, BO], note="wrote to us")
    assert done["counts"] == {"removed": 1, "absent": 1}
    assert post(api, "/check", addresses=[ANA])["data"][0]["allowed"]
    back = post(api, "/remove", addresses=[ANA], restores=done["changeId"])
    assert (back["changeId"], back["counts"]) == (done["changeId"], {"restored": 1})
    assert not post(api, "/check", addresses=[ANA])["data"][0]["allowed"]
    [row] = listed(api)["data"]
    [removal] = row["suppressions"][0]["removals"]
    assert (removal["note"], removal["restoredAt"]) == ("wrote to us", "2026-11-24T12:00:00.000Z")


def test_stats(api, store) -> None:
    """Figures say how many are suppressed by reason and since which day, a stream's each."""
    fill(store, [bounce()])
    post(api, "", addresses=[ANA, BO, "cy@x.example"], stream="finance")
    post(api, "/remove", addresses=["cy@x.example"], note="a mistake")
    post(api, "", addresses=["@x.example"], scope="all")
    found = api.get("/api/suppressions/stats").json()
    count = {"reason": "manual", "day": None}
    assert found["byReason"] == [
        {"stream": "finance", **count, "active": 2},
        {"stream": "outreach", **count, "active": 1},
    ]
    assert {row["day"] for row in found["byDay"]} == {"2026-11-24"}
    assert found["active"] == 3
    assert api.get("/api/suppressions/stats?from=2026-11-25").json()["active"] == 0
    assert api.get("/api/suppressions/stats?to=2026-11-24").json()["active"] == 3
    assert api.get("/api/suppressions/stats?stream=outreach").json()["active"] == 1


FILE = (
    "email,reason,scope,until,odd\n"
    f"{ANA},unsubscribed,,,x\n"
    "@fabrikam.example,,all,,\n"
    "nobody,,,,\n"
    f"{BO},,,someday,\n"
)


def send_file(api, text, query="", content_type="text/csv"):
    return api.post(
        f"/api/suppressions/import?{query}", content=text, headers={"content-type": content_type}
    )


def test_import(api) -> None:
    """A file is tried first and then taken; its bad rows are told by line, with what is wrong."""
    dry = send_file(api, FILE, "dryRun=true&stream=outreach").json()
    assert addresses(api) == []
    done = send_file(api, FILE.encode(), "stream=outreach").json()
    assert done | {"changeId": "", "dryRun": True} == dry | {"changeId": ""}
    assert done["rows"] == 4
    assert done["counts"] == {"added": 2, "invalid": 2}
    assert done["ignoredColumns"] == ["odd"]
    assert done["bad"] == [
        {
            "line": 4,
            "reason": "This is not an address: write name@domain, or @domain for a whole domain.",
        },
        {
            "line": 5,
            "reason": "until: this is not a time. Write a date (2026-11-24) or an instant "
            "(2026-11-24T09:00:00Z), or leave it empty.",
        },
    ]
    assert addresses(api) == ["@fabrikam.example", ANA]
    assert send_file(api, FILE, "stream=outreach").json()["counts"] == {"known": 2, "invalid": 2}


def test_round_trip(api, services, serve, store, tmp_path) -> None:
    """The file that the list gives can be read again, elsewhere, and gives the same file there."""
    fill(store, [bounce(), complaint(BO, message="m-2")])
    post(api, "", addresses=["=cy@x.example", "@x.example"], until="2026-12-24", note="+1")
    answer = api.get("/api/suppressions?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    name = answer.headers["content-disposition"]
    assert name == 'attachment; filename="sesight-suppressions_all.csv"'
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert [row[0] for row in rows] == ["email", "'=cy@x.example", "'@x.example", ANA, BO]
    other = open_store(f"sqlite:///{tmp_path}/other.db", clock=lambda: NOW)
    moved = serve(replace(services, store=other, suppressions=suppressions_of(other)))
    assert send_file(moved, answer.content).json()["counts"] == {"added": 4}
    assert moved.get("/api/suppressions?format=csv").text == answer.text
    other.close()
    assert len(api.get("/api/suppressions?format=csv&limit=1").text.splitlines()) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"addresses": []}),
        ("", {"addresses": [ANA] * 1_001}),
        ("", {"addresses": [ANA], "reason": "nonsense"}),
        ("", {"addresses": [ANA], "scope": "everywhere"}),
        ("", {"addresses": [ANA], "stream": "nowhere"}),
        ("", {"addresses": [ANA], "until": "soon"}),
        ("", {"addresses": [ANA], "changeId": "x"}),
        ("", {"addresses": [ANA], "changeId": "import:12345678"}),
        ("", {"addresses": [ANA], "odd": 1}),
        ("", {"addresses": ANA}),
        ("/remove", {"addresses": [ANA]}),
        ("/remove", {"addresses": [ANA], "note": " "}),
        ("/remove", {"addresses": [ANA], "note": "x" * 513}),
        ("/remove", {"addresses": [ANA], "note": "x", "streams": ["nowhere"]}),
        ("/remove", {"addresses": [ANA], "note": "x", "streams": []}),
        ("/remove", {"addresses": [ANA], "restores": "remove-1", "causes": ["x"]}),
        ("/remove", {"addresses": [ANA], "restores": "remove-1", "changeId": "change-1"}),
        ("/check", {"addresses": [ANA], "streams": ["nowhere"]}),
        ("/check", {"addresses": []}),
    ],
)
def test_refused(api, path, body) -> None:
    """A request that makes no sense changes nothing and says why, without the address."""
    answer = api.post(f"/api/suppressions{path}", json=body)
    said = held_to_shape(answer, "invalid-request" if answer.status_code == 422 else "bad-request")
    assert ANA not in said["detail"]
    assert addresses(api, "active=all") == []


@pytest.mark.parametrize("path", ["", "/remove", "/check", "/import"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_pages_cannot_write(api, path, kind) -> None:
    """What a page of somebody else's can make a browser post is refused before it is read."""
    answer = send_file(api, '{"addresses": ["ana@contoso.example"]}', content_type=kind)
    held_to_shape(answer, "unsupported-media-type")
    answer = api.post(
        f"/api/suppressions{path}",
        content='{"addresses": ["ana@contoso.example"], "note": "x"}',
        headers={"content-type": kind},
    )
    held_to_shape(answer, "unsupported-media-type")
    assert addresses(api, "active=all") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"name\nana\n", "no column with addresses"),
        (b"email\n\xff\xfe@x.example\n", "Line 2 of the file is not UTF-8"),
        (b"", "no column with addresses"),
    ],
)
def test_no_file(api, text, sentence) -> None:
    """What is no such file is refused with what is wrong with it."""
    assert sentence in held_to_shape(send_file(api, text), "invalid-request")["detail"]


def test_a_stray_quote(api) -> None:
    """Of a file with a stray quote nothing is imported, and the line where it opened is told; asked
    for, every row but that one is.
    """
    people = [f"p{n}@x.example,a" for n in range(600)]
    people[4] = '"p4@x.example,a'
    text = "email,note\n" + "\n".join(people)
    said = held_to_shape(send_file(api, text), "invalid-request")["detail"]
    assert said.startswith("Line 6: A quote opens in this line")
    assert said.endswith("Nothing was imported.")
    assert addresses(api, "active=all") == []
    done = send_file(api, text, "partial=true").json()
    assert done["counts"] == {"added": 599, "invalid": 1}
    assert [each["line"] for each in done["bad"]] == [6]


def test_large_file(api) -> None:
    """A file beyond a megabyte is refused, whole."""
    held_to_shape(send_file(api, "email\n" + "a@x.example\n" * 90_000), "too-large")
    assert addresses(api) == []
