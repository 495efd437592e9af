"""Mail sent over HTTP: statuses, idempotency, and what is refused before anything is sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from sesight.api.application import create_api
from sesight.domain.sending import TemplateMail
from sesight.services.sending import batch_id
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.cli.conftest import eventually
from tests.mailing import simulated_ses
from tests.send.office import EXAMPLES, Office, office

Client = TestClient[Any]
SAMPLE = json.loads((EXAMPLES / "spring-launch" / "sample.json").read_text())
PATH = "/api/outreach/send"


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, ses: SimulatedSes) -> Iterator[Office]:
    with office(tmp_path, ses, templates=str(EXAMPLES)) as opened:
        yield opened


@pytest.fixture
def api(here: Office) -> Iterator[Client]:
    made = create_api(here.app.services())
    with TestClient(made, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def mail(*addresses: str, **changes: Any) -> dict[str, Any]:
    """Return a request to send the example to addresses."""
    return {
        "template": "spring-launch",
        "campaign": {"id": "spring", "name": "Spring is here"},
        "recipients": [{"email": each} for each in addresses],
        "context": SAMPLE,
        **changes,
    }


def states(answer: Any) -> list[str]:
    """Return the state of each recipient of an answer."""
    return [each["state"] for each in answer.json()["results"]]


def test_all_were_sent(api: Client, ses: SimulatedSes) -> None:
    """200 when SES took a message to each, told in the order of the request."""
    answer = api.post(PATH, json=mail("ben@example.org", "ana@example.org"))
    assert answer.status_code == 200
    body = answer.json()
    assert [each["recipient"] for each in body["results"]] == ["ben@example.org", "ana@example.org"]
    assert body["counts"] == {"sent": 2}
    assert {each["messageId"] for each in body["results"]} == {
        each.message_id for each in ses.messages()
    }


def test_some_were_not(api: Client, ses: SimulatedSes) -> None:
    """207 when any was not, each for its own reason with a code and a sentence."""
    answer = api.post(PATH, json=mail("ana@example.org", "nobody", "ana@example.org"))
    assert (answer.status_code, states(answer)) == (207, ["sent", "invalid", "invalid"])
    wrong = answer.json()["results"][1]
    assert (wrong["code"], wrong["messageId"]) == ("no-at", None)
    assert wrong["detail"].endswith(".")
    assert answer.json()["results"][2]["code"] == "duplicate"


def test_none_could_be_tried(api: Client, ses: SimulatedSes) -> None:
    """503 with every recipient's result when SES takes nothing now."""
    ses.account.max_24_hour_send = 0
    answer = api.post(PATH, json=mail("ana@example.org", "ben@example.org"))
    assert (answer.status_code, states(answer)) == (503, ["throttled", "throttled"])
    assert answer.headers["retry-after"] == "60"


def test_a_paused_stream(api: Client, here: Office, ses: SimulatedSes) -> None:
    """503 with the reason while the stream is paused, and no time after which that would be over."""
    from sesight.domain.sending import Pause

    here.app.log.pause(Pause(stream="outreach", at=1, by="operator", detail="The price was wrong."))
    answer = api.post(PATH, json=mail("ana@example.org"))
    assert answer.status_code == 503
    assert "The price was wrong." in answer.json()["detail"]
    assert "retry-after" not in answer.headers
    assert ses.messages() == []


def test_a_key(api: Client, ses: SimulatedSes) -> None:
    """A request repeated under its key sends nothing and gets the first answer; another request under
    it is a conflict; without a key, or under another, it is sent again.
    """
    key = {"Idempotency-Key": "order-1"}
    first = api.post(PATH, json=mail("ana@example.org", "nobody"), headers=key)
    again = api.post(PATH, json=mail("ana@example.org", "nobody"), headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert len(ses.messages()) == 1
    other = api.post(PATH, json=mail("ben@example.org"), headers=key)
    assert (other.status_code, other.json()["type"]) == (409, "conflict")
    api.post(PATH, json=mail("ana@example.org"), headers={"Idempotency-Key": "order-2"})
    api.post(PATH, json=mail("ana@example.org"))
    assert len(ses.messages()) == 3


def test_an_answer_that_was_lost(api: Client, here: Office, ses: SimulatedSes) -> None:
    """What SES did not answer is unknown, and the Send event settles it for who asks again."""
    ses.fail(Fault.DROPPED)
    key = {"Idempotency-Key": "order-1"}
    answer = api.post(PATH, json=mail("ana@example.org"), headers=key)
    assert (answer.status_code, states(answer)) == (207, ["unknown"])
    here.take_events()
    answer = api.post(PATH, json=mail("ana@example.org"), headers=key)
    assert (answer.status_code, states(answer)) == (200, ["sent"])
    assert len(ses.messages()) == 1


def test_seen_in_tracking_data(api: Client, here: Office) -> None:
    """What was sent is in the stream's tracking data with its campaign, and its outcome after it."""
    api.post(PATH, json=mail("Ana <ana@example.org>"))
    here.take_events()
    (row,) = api.get("/api/outreach/tracking-data-ses?campaign=spring").json()["data"]
    assert (row["recipient"], row["outcome"]) == ("ana@example.org", "delivered")
    assert row["subject"]
    assert [each["event"] for each in row["timeline"]] == ["Accepted", "Send", "Delivery"]
    (card,) = api.get("/api/campaigns").json()["data"]
    assert card["name"] == "Spring is here"


def test_withheld(api: Client, here: Office) -> None:
    """Who got nothing from our own sender is counted with the campaign, apart from its totals."""
    api.post(PATH, json=mail("ana@example.org", "nobody", "no one"))
    found = api.get("/api/campaigns/outreach/spring").json()
    assert found["withheld"] == {"suppressed": 0, "invalid": 2, "refused": 0}
    assert found["totals"]["recipients"] == 1


def test_pages_of_others(api: Client, ses: SimulatedSes) -> None:
    """A page of another site cannot have a browser send mail; one of ours can."""
    others = (
        *("https://evil.example", "null", "http://127.0.0.1.evil.example", "http://127.0.0.1:3000"),
        *("http://localhost", "https://127.0.0.1:80", "http://127.0.0.1@evil.example", ""),
    )
    for origin in others:
        answer = api.post(PATH, json=mail("ana@example.org"), headers={"Origin": origin})
        assert (answer.status_code, answer.json()["type"]) == (403, "forbidden")
    assert ses.messages() == []
    own = api.post(PATH, json=mail("a@example.org"), headers={"Origin": "http://127.0.0.1"})
    assert own.status_code == 200
    there = {"Host": "localhost:8025", "Origin": "http://localhost:8025"}
    assert api.post(PATH, json=mail("b@example.org"), headers=there).status_code == 200


@pytest.mark.parametrize("kind", ["request", "job"])
def test_a_key_of_an_earlier_version(
    here: Office, api: Client, ses: SimulatedSes, kind: str
) -> None:
    """What was begun under a key when requests and jobs had keys of their own is gone on with: nobody gets
    a second message.
    """
    asked = mail("ana@example.org", "ben@example.org")
    service = here.app.sending.service
    mailing = service.mailing(
        "outreach",
        msgspec.convert(asked, TemplateMail),
        batch_id("", "outreach", "spring-1", kind),
        kind,
    )
    service.send(mailing)
    where = PATH if kind == "request" else f"{PATH}/jobs"
    answer = api.post(where, json=asked, headers={"Idempotency-Key": "spring-1"})
    assert answer.status_code == (200 if kind == "request" else 202)
    assert sorted(each.to[0] for each in ses.messages()) == ["ana@example.org", "ben@example.org"]


@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 950])
def test_a_deep_context(api: Client, depth: int) -> None:
    """However deep what a template is told may be, it is rendered or refused: never a fault of ours."""
    # as text: Python's own encoder of JSON gives up before the API does
    deep = '{"headline": ' * depth + '"Hello"' + "}" * depth

    def body(value: dict[str, Any]) -> str:
        return json.dumps(value).replace('"DEEP"', deep)

    context = {**SAMPLE, "headline": "DEEP"}
    about = {"campaign": {"id": f"deep-{depth}", "name": "Deep"}, "context": context}
    headers = {"Content-Type": "application/json"}
    mailed = body(mail("ana@example.org", **about))
    answers = [
        api.post(PATH, content=mailed, headers=headers),
        api.post(f"{PATH}/jobs", content=mailed, headers={**headers, "Idempotency-Key": "deep"}),
        api.post(
            "/api/templates/spring-launch/preview",
            content=body({"context": context}),
            headers=headers,
        ),
    ]
    assert 500 not in [each.status_code for each in answers]


def test_more_than_a_request_takes(api: Client, ses: SimulatedSes) -> None:
    """Over 100 recipients, or more than the rate lets go in 20 s, are refused with what to do."""
    answer = api.post(PATH, json=mail(*(f"a{n}@example.org" for n in range(101))))
    assert answer.status_code == 422
    assert "job" in answer.json()["detail"]
    assert ses.messages() == []


def test_a_low_rate(tmp_path: Path) -> None:
    """At one message a second a request takes twenty."""
    with (
        simulated_ses(max_send_rate=1) as ses,
        office(tmp_path, ses, templates=str(EXAMPLES)) as here,
        TestClient(create_api(here.app.services()), base_url="http://127.0.0.1") as api,
    ):
        answer = api.post(PATH, json=mail(*(f"a{n}@example.org" for n in range(21))))
        assert answer.status_code == 422
        assert "at most 20 recipients" in answer.json()["detail"]


def test_a_job(api: Client, here: Office, ses: SimulatedSes) -> None:
    """A job answers at once, is told how far it is, and has a result for each recipient at its end;
    the same again is the same job.
    """
    addresses = [f"a{n}@example.org" for n in range(250)]
    key = {"Idempotency-Key": "job-1"}
    begun = api.post(f"{PATH}/jobs", json=mail(*addresses, "nobody"), headers=key)
    assert (begun.status_code, begun.json()["total"]) == (202, 251)
    path = f"{PATH}/jobs/{begun.json()['id']}"
    done = eventually(lambda: (job := api.get(path).json())["state"] == "finished" and job)
    assert done["counts"] == {"sent": 250, "invalid": 1}
    told, cursor = [], ""
    while cursor is not None:
        page = api.get(f"{path}/results?limit=100{cursor and f'&cursor={cursor}'}").json()
        told += page["data"]
        cursor = page["nextCursor"]
    assert sorted(each["recipient"] for each in told if each["state"] == "sent") == sorted(
        addresses
    )
    again = api.post(f"{PATH}/jobs", json=mail(*addresses, "nobody"), headers=key)
    assert (again.json()["id"], again.json()["state"]) == (begun.json()["id"], "finished")
    assert len(ses.messages()) == 250


def test_results_of_a_job(api: Client, ses: SimulatedSes) -> None:
    """A job's results come in the order of its request, name the place of who cannot be sent to, and go
    on by a cursor that shows no address and is good for that job alone.
    """
    addresses = [f"z{n % 7}-{n}@example.org" if n % 5 else f"nobody {n}" for n in range(1, 41)]
    key = {"Idempotency-Key": "job-1"}
    begun = api.post(f"{PATH}/jobs", json=mail(*addresses), headers=key).json()
    path = f"{PATH}/jobs/{begun['id']}"
    eventually(lambda: api.get(path).json()["state"] == "finished")
    told, cursor = [], ""
    while cursor is not None:
        page = api.get(f"{path}/results?limit=7{cursor and f'&cursor={cursor}'}").json()
        told += page["data"]
        cursor = page["nextCursor"]
        assert cursor is None or cursor.startswith("c_")
    assert [each["number"] for each in told] == list(range(1, 41))
    assert [each["recipient"] for each in told] == [
        address if n % 5 else f"number {n}" for n, address in enumerate(addresses, 1)
    ]
    assert {each["state"] for each in told if each["number"] % 5 == 0} == {"invalid"}
    first = api.get(f"{path}/results?limit=7").json()["nextCursor"]
    other = api.post(
        f"{PATH}/jobs", json=mail("ana@example.org"), headers={"Idempotency-Key": "job-2"}
    ).json()
    for wrong in (f"{PATH}/jobs/{other['id']}/results?cursor={first}", f"{path}/results?cursor=7"):
        answer = api.get(wrong)
        assert (answer.status_code, answer.json()["parameter"]) == (422, "cursor")


def test_the_template_is_told(api: Client, here: Office) -> None:
    """Records and cards name the template of mail that is rendered here, before and after its events."""
    api.post(PATH, json=mail("ana@example.org"))
    for _ in range(2):
        (row,) = api.get("/api/outreach/tracking-data-ses?campaign=spring").json()["data"]
        (card,) = api.get("/api/campaigns").json()["data"]
        assert (row["template"], card["template"]) == ("spring-launch", "spring-launch")
        here.take_events()


def test_a_job_cut_off(tmp_path: Path, ses: SimulatedSes) -> None:
    """A job that its server stopped is told as interrupted; asked for again, it goes on with the rest."""
    addresses = [f"a{n}@example.org" for n in range(300)]
    key = {"Idempotency-Key": "job-1"}
    ses.account.max_send_rate = 100
    with (
        office(tmp_path, ses, templates=str(EXAMPLES)) as here,
        TestClient(create_api(here.app.services()), base_url="http://127.0.0.1") as api,
    ):
        begun = api.post(f"{PATH}/jobs", json=mail(*addresses), headers=key).json()
        eventually(lambda: len(ses.messages()) > 20)
    before = len(ses.messages())
    assert 20 < before < 300
    ses.account.max_send_rate = 10_000
    with (
        office(tmp_path, ses, templates=str(EXAMPLES)) as here,
        TestClient(create_api(here.app.services()), base_url="http://127.0.0.1") as api,
    ):
        path = f"{PATH}/jobs/{begun['id']}"
        found = api.get(path).json()
        assert found["state"] == "interrupted"
        assert found["counts"] == {"sent": before}
        assert api.post(f"{PATH}/jobs", json=mail(*addresses), headers=key).status_code == 202
        done = eventually(lambda: (job := api.get(path).json())["state"] == "finished" and job)
        assert done["counts"] == {"sent": 300}
    assert sorted(each.to[0] for each in ses.messages()) == sorted(addresses)


def test_another_job_under_a_used_key(api: Client, ses: SimulatedSes) -> None:
    """Another list under a job's key is a conflict, at once and after the job has finished, and
    nobody on it gets a message.
    """
    key = {"Idempotency-Key": "job-1"}
    first = mail(*(f"a{n}@example.org" for n in range(30)))
    begun = api.post(f"{PATH}/jobs", json=first, headers=key)
    other = api.post(f"{PATH}/jobs", json=mail("ben@example.org"), headers=key)
    assert (other.status_code, other.json()["type"]) == (409, "conflict")
    path = f"{PATH}/jobs/{begun.json()['id']}"
    eventually(lambda: api.get(path).json()["state"] == "finished")
    other = api.post(f"{PATH}/jobs", json=mail("ben@example.org"), headers=key)
    assert (other.status_code, other.json()["type"]) == (409, "conflict")
    assert api.post(f"{PATH}/jobs", json=first, headers=key).status_code == 202
    assert ses.messages("ben@example.org") == []
    assert len(ses.messages()) == 30


def test_two_jobs_at_once_under_one_key(tmp_path: Path, ses: SimulatedSes) -> None:
    """Of two servers over one store that are asked for different jobs under one key at once, one
    takes it and the other answers 409; nobody on the refused list gets a message.
    """
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(2):
            here = stack.enter_context(office(tmp_path, ses, templates=str(EXAMPLES)))
            made = create_api(here.app.services())
            clients.append(stack.enter_context(TestClient(made, base_url="http://127.0.0.1")))

        def begin(key: int, n: int) -> int:
            asked = mail(f"p{n}-{key}@example.org")
            headers = {"Idempotency-Key": f"job-{key}"}
            return int(clients[n].post(f"{PATH}/jobs", json=asked, headers=headers).status_code)

        with ThreadPoolExecutor(2) as pool:
            for key in range(8):
                answers = list(pool.map(begin, [key] * 2, range(2)))
                assert sorted(answers) == [202, 409]
                (taken,) = (n for n in range(2) if answers[n] == 202)
                eventually(lambda: len(ses.messages()) == key + 1)  # noqa: B023
                assert ses.messages()[-1].to == [f"p{taken}-{key}@example.org"]


def test_one_key_for_a_request_and_a_job(api: Client, ses: SimulatedSes) -> None:
    """A key that a request used is used for a job too, and the other way round: the same mail under
    it does not go out a second time by the other route.
    """
    for first, second in (("", "/jobs"), ("/jobs", "")):
        key = {"Idempotency-Key": f"order{first}"}
        asked = mail("ana@example.org", campaign={"id": f"spring{first}"})
        assert api.post(f"{PATH}{first}", json=asked, headers=key).status_code < 300
        answer = api.post(f"{PATH}{second}", json=asked, headers=key)
        assert (answer.status_code, answer.json()["type"]) == (409, "conflict")
    eventually(lambda: len(ses.messages()) == 2)


def test_a_key_after_a_throttled_request(api: Client, ses: SimulatedSes) -> None:
    """The same request under the same key sends to exactly those who were not tried; what was decided
    of the others stays, and whoever has a message gets no second one.
    """
    addresses = [f"a{n}@example.org" for n in range(8)] + [f"slow{n}@example.org" for n in range(4)]
    ses.fail(Fault.THROTTLED, 10_000, matches=lambda call: "slow" in of(call))
    asked, key = mail(*addresses, "nobody"), {"Idempotency-Key": "order-1"}
    first = api.post(PATH, json=asked, headers=key)
    assert (first.status_code, states(first)) == (
        207,
        ["sent"] * 8 + ["throttled"] * 4 + ["invalid"],
    )
    assert int(first.headers["retry-after"]) > 0
    other = api.post(PATH, json=mail(*addresses), headers=key)
    assert other.status_code == 409, "it is still another request"
    ses.recover()
    second = api.post(PATH, json=asked, headers=key)
    assert states(second) == ["sent"] * 12 + ["invalid"]
    assert second.json()["results"][:8] == first.json()["results"][:8]
    assert "retry-after" not in second.headers
    third = api.post(PATH, json=asked, headers=key)
    assert (third.status_code, third.json()) == (second.status_code, second.json())
    assert sorted(each.to[0] for each in ses.messages()) == sorted(addresses)


def test_a_key_after_the_quota(tmp_path: Path, ses: SimulatedSes) -> None:
    """Of 40 recipients with room for 20 in the day's quota, the same key sends the other 20 once there
    is room, and each of the 40 gets one message.
    """
    addresses = [f"a{n}@example.org" for n in range(40)]
    asked, key = mail(*addresses), {"Idempotency-Key": "order-1"}
    used_up = {"sent": 20, "throttled": 20}
    for quota, expected in ((20, used_up), (20, used_up), (1_000, {"sent": 40})):
        ses.account.max_24_hour_send = quota
        with (
            office(tmp_path, ses, templates=str(EXAMPLES)) as here,
            TestClient(create_api(here.app.services()), base_url="http://127.0.0.1") as api,
        ):
            answer = api.post(PATH, json=asked, headers=key)
            assert answer.json()["counts"] == expected
            # once more in the same process, which knows nothing new of the quota
            assert api.post(PATH, json=asked, headers=key).json()["counts"] == expected
    assert sorted(each.to[0] for each in ses.messages()) == sorted(addresses)


def test_a_throttled_job(api: Client, ses: SimulatedSes) -> None:
    """A job of which some were throttled is interrupted, not finished: asked for again under its key,
    it sends to those, and to nobody twice.
    """
    addresses = [f"a{n}@example.org" for n in range(150)]
    ses.fail(Fault.THROTTLED, 10_000, matches=lambda call: of(call).startswith("a9"))
    key = {"Idempotency-Key": "job-1"}
    begun = api.post(f"{PATH}/jobs", json=mail(*addresses), headers=key).json()
    path = f"{PATH}/jobs/{begun['id']}"
    job = eventually(lambda: (job := api.get(path).json())["state"] != "running" and job)
    assert (job["state"], job["counts"]) == ("interrupted", {"sent": 139, "throttled": 11})
    assert "same key" in job["detail"]
    ses.recover()
    assert api.post(f"{PATH}/jobs", json=mail(*addresses), headers=key).status_code == 202
    job = eventually(lambda: (job := api.get(path).json())["state"] == "finished" and job)
    assert job["counts"] == {"sent": 150}
    assert sorted(each.to[0] for each in ses.messages()) == sorted(addresses)


def of(call: dict[str, Any]) -> str:
    """Return whom a call of SendEmail is for."""
    return str(call["Destination"]["ToAddresses"][0])


def test_a_job_without_a_key(api: Client) -> None:
    """A job needs a key, and one that is not there is not found."""
    answer = api.post(f"{PATH}/jobs", json=mail("ana@example.org"))
    assert (answer.status_code, answer.json()["parameter"]) == (422, "Idempotency-Key")
    assert api.get(f"{PATH}/jobs/none").status_code == 404


STATEMENT = json.loads((EXAMPLES / "payout-statement" / "statements.json").read_text())


def test_statements(api: Client, ses: SimulatedSes) -> None:
    """Statements are sent by the finance route, once a key, those that do not add up told as refused."""
    wrong = {**STATEMENT, "id": "PS-2", "total": "1.00"}
    asked = {"month": "2026-10", "statements": [STATEMENT, wrong]}
    key = {"Idempotency-Key": "october"}
    answer = api.post("/api/financial/send", json=asked, headers=key)
    assert (answer.status_code, states(answer)) == (207, ["sent", "invalid"])
    assert api.post("/api/financial/send", json=asked, headers=key).json() == answer.json()
    assert len(ses.messages()) == 1
    for body in ({"month": "2026-10"}, {**asked, "month": "soon"}, {**asked, "statements": []}):
        assert api.post("/api/financial/send", json=body).status_code == 422


def test_a_job_of_statements(api: Client, ses: SimulatedSes) -> None:
    """Many statements are a job, as mail is."""
    many = [{**STATEMENT, "id": f"PS-{n}", "recipient": f"a{n}@example.org"} for n in range(120)]
    begun = api.post(
        "/api/financial/send/jobs",
        json={"month": "2026-10", "statements": many},
        headers={"Idempotency-Key": "october"},
    )
    path = f"/api/financial/send/jobs/{begun.json()['id']}"
    done = eventually(lambda: (job := api.get(path).json())["state"] == "finished" and job)
    assert done["counts"] == {"sent": 120}
    assert api.get(path.replace("financial", "outreach")).status_code == 404


NONE: dict[str, Any] = {}
MALFORMED: dict[str, tuple[Any, int]] = {
    "nothing": (b"", 422),
    "no JSON": (b"{", 400),
    "a list": ([], 422),
    "a number": (1, 422),
    "an empty object": (NONE, 422),
    "no template": ({**mail("a@example.org"), "template": None}, 422),
    "a template that is none": (mail("a@example.org", template="autumn"), 404),
    "a template by path": (mail("a@example.org", template="../spring-launch"), 404),
    "a template by absolute path": (mail("a@example.org", template="/etc/passwd"), 404),
    "an empty template": (mail("a@example.org", template=""), 404),
    "a template as text": (mail("a@example.org", template="Hello {{ name }}"), 404),
    "a template of the other stream": (mail("a@example.org", template="payout-statement"), 422),
    "a template that is a list": (mail("a@example.org", template=["spring-launch"]), 422),
    "no campaign": ({k: v for k, v in mail("a@example.org").items() if k != "campaign"}, 422),
    "a campaign that is text": (mail("a@example.org", campaign="spring"), 422),
    "a campaign without an id": (mail("a@example.org", campaign={"name": "Spring"}), 422),
    "a campaign with an empty id": (mail("a@example.org", campaign={"id": ""}), 422),
    "a campaign of blanks": (mail("a@example.org", campaign={"id": "  "}), 422),
    "a campaign that is a number": (mail("a@example.org", campaign={"id": 7}), 422),
    "an empty step": (mail("a@example.org", campaign={"id": "a", "step": ""}), 422),
    "an empty variant": (mail("a@example.org", campaign={"id": "a", "variant": " "}), 422),
    "an unknown field of a campaign": (mail("a@example.org", campaign={"id": "a", "x": 1}), 422),
    "no recipients": ({k: v for k, v in mail("a").items() if k != "recipients"}, 422),
    "nobody": (mail(), 422),
    "recipients that are text": (mail(recipients="a@example.org"), 422),
    "a recipient that is text": (mail(recipients=["a@example.org"]), 422),
    "a recipient without an address": (mail(recipients=[{"name": "Ana"}]), 422),
    "a recipient that is null": (mail(recipients=[None]), 422),
    "an address that is a number": (mail(recipients=[{"email": 1}]), 422),
    "a context that is text": (mail(recipients=[{"email": "a@example.org", "context": "x"}]), 422),
    "tracking that is text": (mail(recipients=[{"email": "a@example.org", "tracked": "no"}]), 422),
    "another From": (mail("a@example.org", **{"from": "boss@example.com"}), 422),
    "another From of a recipient": (
        mail(recipients=[{"email": "a@example.org", "from": "x"}]),
        422,
    ),
    "a subject": (mail("a@example.org", subject="Hello"), 422),
    "a body": (mail("a@example.org", html="<p>Hello</p>"), 422),
    "headers": (mail("a@example.org", headers={"Bcc": "x@example.com"}), 422),
    "another configuration set": (mail("a@example.org", configurationSet="other"), 422),
    "tags": (mail("a@example.org", tags={"send_id": "1"}), 422),
    "another stream": (mail("a@example.org", stream="finance"), 422),
    "a shared context that is a list": (mail("a@example.org", context=[1]), 422),
    "101 recipients": (mail(*(f"a{n}@example.org" for n in range(101))), 422),
}
"""Requests that are refused whole, with the status of the refusal."""


@pytest.mark.parametrize("case", MALFORMED, ids=str)
def test_malformed_requests(api: Client, ses: SimulatedSes, case: str) -> None:
    """A request that makes no sense is refused whole, in words, and nothing is sent."""
    body, status = MALFORMED[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = api.post(PATH, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].endswith(".")
    assert "Traceback" not in answer.text
    assert ses.calls["SendEmail"] == 0


FAULTY = {
    "no @": ("nobody", "no-at"),
    "empty": ("", "empty"),
    "two addresses": ("a@example.org, b@example.org", "several"),
    "a header in it": ("a@example.org\r\nBcc: b@example.org", "control-characters"),
    "a NUL": ("a\0@example.org", "control-characters"),
    "a local part beyond ASCII": ("zoë@example.org", "non-ascii-local"),
    "a quoted local part": ('"a b"@example.org', "quoted-local"),
    "an address literal": ("a@[192.0.2.1]", "address-literal"),
    "a domain without a dot": ("a@localhost", "domain"),
    "a domain that is none": ("a@-example-.org", "domain"),
    "two dots": ("a..b@example.org", "local"),
    "too long": ("a" * 65 + "@example.org", "too-long"),
    "a whole domain too long": ("a@" + "b" * 64 + ".org", "domain"),
    "a line break in the name": ("Ana\nBcc: x@example.org <a@example.org>", "control-characters"),
    "a name too long": ("A" * 700 + " <a@example.org>", "too-long"),
}
"""What cannot be sent to, with the code it is told under."""


@pytest.mark.parametrize("case", FAULTY, ids=str)
def test_recipients_that_cannot_be_sent_to(api: Client, ses: SimulatedSes, case: str) -> None:
    """One who cannot be sent to is told so, and the others get their message."""
    given, code = FAULTY[case]
    answer = api.post(PATH, json=mail(given, "ben@example.org"))
    assert (answer.status_code, states(answer)) == (207, ["invalid", "sent"])
    told = answer.json()["results"][0]
    assert (told["recipient"], told["code"]) == (given, code)
    assert told["detail"].endswith(".")


CONTEXTS = {
    "what the template needs is missing": ({"product": None}, {}, "sent"),
    "a name with a line break": ({}, {"name": "Ana\r\nBcc: x@example.org"}, "invalid"),
    "a name with a NUL": ({}, {"name": "A\0"}, "invalid"),
    "a context too large": ({}, {"context": {"first_name": "a" * 300_000}}, "invalid"),
    "markup in a context": ({}, {"context": {"first_name": "<script>alert(1)</script>"}}, "sent"),
    "a template in a context": ({}, {"context": {"first_name": "{{ 7 * 7 }}"}}, "sent"),
}


@pytest.mark.parametrize("case", CONTEXTS, ids=str)
def test_contexts(api: Client, ses: SimulatedSes, case: str) -> None:
    """What a context holds is data: it is escaped, never run, and never a header."""
    shared, person, state = CONTEXTS[case]
    recipient = {"email": "ana@example.org", **person}
    request = mail(recipients=[recipient], context={**SAMPLE, **shared})
    answer = api.post(PATH, json=request)
    assert states(answer) == [state], answer.text
    for message in ses.messages():
        assert "<script>alert" not in message.html
        assert "49" not in message.subject
        assert message.to == ["ana@example.org"]


@pytest.mark.parametrize("key", ["", "a" * 256, "ä", "a\tb"], ids=repr)
def test_keys_that_are_none(api: Client, ses: SimulatedSes, key: str) -> None:
    """An idempotency key is short and printable, or the request is refused."""
    answer = api.post(
        PATH, json=mail("ana@example.org"), headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 422
    assert ses.messages() == []
