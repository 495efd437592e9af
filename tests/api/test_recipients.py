"""One person: may each stream mail them, why not, and what happened so far."""

from sesight.domain.ports import Changes
from sesight.domain.suppression.item import Cause, Removal, with_cause, with_removal
from sesight.domain.timestamps import DAY, HOUR
from sesight.services.recipient_id import encode
from tests.builders import NOW, bounce, delivery, fill, opened, sent


def look_up(api, address):
    answer = api.post("/api/recipients/lookup", json={"address": address})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_free(api, store) -> None:
    """Somebody whom nothing speaks against can be mailed by every stream."""
    fill(
        store, [delivery(message="1"), opened(message="1"), delivery(message="2", stream="finance")]
    )
    found = look_up(api, "Ana@Contoso.Example")
    free = {"allowed": True, "reason": None, "scope": None, "since": None, "until": None}
    assert found["mailable"] == [
        {"stream": stream, **free, "source": None} for stream in ("outreach", "finance")
    ]
    assert (found["known"], found["address"]) == (True, "ana@contoso.example")
    assert {record["messageId"] for record in found["data"]} == {"1", "2"}
    counts = {name: found["counts"][name] for name in ("recipients", "delivered", "humanOpened")}
    assert counts == {"recipients": 2, "delivered": 2, "humanOpened": 1}
    assert found["firstSentAt"] == found["lastSentAt"] == "2026-11-23T12:00:00.000Z"


def test_same_by_id(api, store, services) -> None:
    """The id of the look-up, and of every record, gives the same answer without an address in it."""
    fill(store, [delivery()])
    found = look_up(api, "ana@contoso.example")
    rid = found["recipientId"]
    assert (
        rid
        == found["data"][0]["recipientId"]
        == encode("ana@contoso.example", services.recipient_key)
    )
    assert api.get(f"/api/recipients/{rid}").json() == found
    one = api.get(f"/api/recipients/{rid}?stream=outreach").json()
    assert [each["stream"] for each in one["mailable"]] == ["outreach"]


def test_unknown(api) -> None:
    """Somebody never mailed is not known, and free."""
    found = look_up(api, "new@contoso.example")
    assert (found["known"], found["data"], found["suppressions"]) == (False, [], [])
    assert all(each["allowed"] for each in found["mailable"])


def test_blocked_everywhere(api, store) -> None:
    """A permanent bounce blocks in all streams, with where it came from."""
    fill(store, [bounce(message="7")])
    found = look_up(api, "ana@contoso.example")
    source = {
        "stream": "outreach",
        "campaign": "winter-b",
        "messageId": "7",
        "detail": "smtp; 550 5.1.1 no such user",
    }
    blocked = {
        "allowed": False,
        "reason": "bounced",
        "scope": "all",
        "since": "2026-11-23T12:00:02.000Z",
        "until": None,
        "source": source,
    }
    assert found["mailable"] == [
        {"stream": "outreach", **blocked},
        {"stream": "finance", **blocked},
    ]
    assert found["suppressions"][0] == {
        "stream": "outreach",
        "address": "ana@contoso.example",
        "active": True,
        "causes": [
            {
                "id": "bounced:7:1795435202000",
                "at": "2026-11-23T12:00:02.000Z",
                "reason": "bounced",
                "scope": "all",
                "until": None,
                "lifted": False,
                "source": source,
            }
        ],
        "removals": [],
    }


def put(store, *items) -> None:
    known = {(item.stream, item.address): item for item in items}
    assert store.transact(lambda view: Changes({}, known, {}, {}, [], [])) == set()


def test_lifted(api, store) -> None:
    """A removed suppression is history: it is shown, and does not block."""
    cause = Cause(NOW - DAY, "x", "manual", NOW - DAY)
    item = with_cause(None, "outreach", "ana@contoso.example", cause)
    put(store, with_removal(item, Removal(NOW, "r", ("x",), "asked by phone")))
    found = look_up(api, "ana@contoso.example")
    assert found["mailable"][0]["allowed"]
    assert found["suppressions"][0]["removals"] == [
        {
            "at": "2026-11-24T12:00:00.000Z",
            "changeId": "r",
            "lifts": ["x"],
            "note": "asked by phone",
            "restoredAt": None,
        }
    ]
    assert found["suppressions"][0]["causes"][0]["lifted"]


def test_domain(api, store) -> None:
    """A suppressed domain blocks everybody in it, in its stream."""
    cause = Cause(NOW - DAY, "x", "manual", NOW - DAY)
    put(store, with_cause(None, "outreach", "@contoso.example", cause))
    found = look_up(api, "ana@contoso.example")
    assert [each["allowed"] for each in found["mailable"]] == [False, True]
    assert found["suppressions"][0]["address"] == "@contoso.example"


def test_what_the_counts_miss_is_named(api, store) -> None:
    """Counts are over the newest records held: older ones and those past retention are named."""
    fill(
        store,
        [sent("ana@example.org", message=f"m{n}", sent_at=NOW - n * HOUR) for n in range(501)],
    )
    fill(store, [sent("bo@example.org", message="old", sent_at=NOW - 100 * DAY)])
    expired = {
        "part": "messages",
        "reason": "detail-expired",
        "asOf": "2026-08-26T00:00:00.000Z",
        "of": None,
    }
    older = {
        "part": "counts",
        "reason": "older-records",
        "asOf": "2026-11-03T17:00:00.000Z",
        "covered": 500,
        "of": None,
    }
    named = [
        api.post("/api/recipients/lookup", json={"address": address}).json()["meta"]["partial"]
        for address in ("ana@example.org", "bo@example.org")
    ]
    assert named == [[older, expired | {"covered": None}], [expired | {"covered": 0}]]
