"""What keeps the service running: who sends, is it alive, what was not understood."""

from sesight.domain.ports import Changes
from sesight.domain.quarantine import QUARANTINE_REASONS, Quarantined
from tests.builders import NOW


def test_provider(api) -> None:
    """The first question of a page: who sends, over which streams."""
    found = api.get("/api/provider").json()
    del found["meta"]
    assert found == {
        "provider": "ses",
        "region": "eu-west-1",
        "providers": ["ses", "legacy"],
        "streams": [
            {
                "id": "outreach",
                "label": "Outreach",
                "kind": "marketing",
                "months": False,
                "tracked": True,
                "trackingPath": "/outreach/tracking-data-ses",
            },
            {
                "id": "finance",
                "label": "Finance",
                "kind": "transactional",
                "months": True,
                "tracked": True,
                "trackingPath": "/financial/tracking-data",
            },
        ],
        "retentionDays": 90,
        "version": "0.1.0",
    }


def test_metrics(api) -> None:
    """Metrics are Prometheus's text."""
    answer = api.get("/api/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == "# HELP sesight_up Up.\n"


def body(number: int, reason: str) -> Quarantined:
    return Quarantined(f"q{number}", reason, "No stream has it.", b"{}", NOW - number, f"m{number}")


def test_quarantine(api, store) -> None:
    """Quarantine shows why and when, never the body."""
    held = [body(1, "unrouted"), body(2, "unknown-set"), body(3, "unrouted")]
    store.transact(lambda view: Changes({}, {}, {}, {}, held, []))
    found = api.get("/api/quarantine?reason=unrouted&limit=1").json()
    assert found["total"] == {"value": 2, "exact": True}
    assert found["meta"]["partial"] == [
        {
            "part": "quarantine",
            "reason": "older-bodies",
            "asOf": "2026-11-24T11:59:59.999Z",
            "covered": 1,
            "of": 2,
        }
    ]
    assert found["data"] == [
        {
            "id": "q1",
            "reason": "unrouted",
            "detail": "No stream has it.",
            "at": "2026-11-24T11:59:59.999Z",
            "bytes": 2,
            "messageId": "m1",
            "name": None,
        }
    ]
    whole = api.get("/api/quarantine").json()
    assert (whole["total"]["value"], whole["meta"]["partial"]) == (3, [])


def test_quarantine_by_a_reason_that_there_is_not(api) -> None:
    """A reason that there is not is told from one that nothing has."""
    problem = api.get("/api/quarantine?reason=unruoted")
    assert (problem.status_code, problem.json()["parameter"]) == (422, "reason")
    assert problem.json()["allowed"] == list(QUARANTINE_REASONS)
    assert api.get("/api/quarantine?reason=too-deep").json()["data"] == []


def test_intake(api, store) -> None:
    """Intake says in words how it is, and how much is quarantined."""
    store.transact(lambda view: Changes({}, {}, {}, {}, [body(1, "unrouted")], []))
    found = api.get("/api/health/intake").json()
    del found["meta"]
    assert found == {
        "state": "ok",
        "sentences": ["Intake is working."],
        "newestEventAt": None,
        "dispositions": {},
        "refusals": {},
        "waiting": None,
        "quarantined": {"unrouted": 1},
        "store": "",
    }
