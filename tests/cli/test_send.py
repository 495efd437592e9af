"""Mail sent by commands, as people do: rehearsed, stopped, killed, and gone on with."""

from __future__ import annotations

import csv
import io
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.cli.conftest import Sesight, Start, eventually
from tests.mailing import simulated_ses

LINK = '<p><a ses:no-track href="{{ unsubscribe_url }}">Unsubscribe</a> {{ postal_address }}</p>'
TEMPLATE = {
    "subject.txt": "Hello {{ name }}",
    "body.html": "<p>Hello {{ name }}, {{ product }} is here.</p>" + LINK,
    "body.txt": "Hello {{ name }}, {{ product }} is here.\n{{ unsubscribe_url }}\n{{ postal_address }}\n",
    "sample.json": '{"name": "Ana", "product": "Spring"}',
    "template.toml": 'stream = "outreach"\n',
}
SEND = (
    "send",
    "outreach",
    "--template",
    "spring",
    "--campaign",
    "Spring 2026",
    "--to",
    "people.csv",
)


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, ses: SimulatedSes) -> Path:
    """A folder with settings, a template and nobody to send to."""
    made = tmp_path / "templates" / "spring"
    made.mkdir(parents=True)
    for name, text in TEMPLATE.items():
        (made / name).write_text(text)
    (tmp_path / "sesight.toml").write_text(
        f"""
region = "eu-west-1"

[sending]
endpoint = "{ses.url}"
unknown_minutes = 1

[[sending.senders]]
stream = "outreach"
from_address = "news@example.com"
public_url = "https://mail.example.com"
postal_address = "1 Example Street"
unsubscribe_keys = {{ k1 = "{"11" * 32}" }}
"""
    )
    return tmp_path


def people(folder: Path, *addresses: str) -> None:
    """Write the list of people."""
    rows = "".join(f"{each},Someone,Spring\n" for each in addresses)
    (folder / "people.csv").write_text(f"email,name,product\n{rows}")


def got(ses: SimulatedSes) -> Counter[str]:
    """Return how many messages each address got."""
    return Counter(each.to[0].rpartition("<")[2].rstrip(">") for each in ses.messages())


def test_a_rehearsal(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """A dry run tells what would become of each recipient, and sends and records nothing."""
    people(folder, "ana@example.org", "nobody", "ana@example.org", "ben@example.org")
    done = sesight(*SEND, "--dry-run", "--json")
    assert done.code == 0, done.err
    assert [each["state"] for each in done.json["results"]] == [
        "intended", "invalid", "invalid", "intended",
    ]  # fmt: skip
    assert done.json["results"][2]["code"] == "duplicate"
    assert ses.calls["SendEmail"] == 0
    done = sesight(*SEND, "--json")
    assert done.json["counts"] == {"sent": 2, "invalid": 2}


def test_sent_and_seen(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """What was sent is in the campaign's figures at once, and in a file of results."""
    people(folder, *(f"p{n}@example.org" for n in range(30)), "=nobody")
    done = sesight(*SEND, "--results", "results.csv")
    assert done.code == 0, done.err
    assert "SES took the message" in done.text
    rows = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))
    assert [row["state"] for row in rows] == ["sent"] * 30 + ["invalid"]
    assert rows[30]["recipient"] == "'=nobody"
    (card,) = sesight("campaigns", "--json").json["data"]
    assert (card["name"], card["totals"]["recipients"]) == ("Spring 2026", 30)
    assert card["totals"]["pending"] == 30
    (folder / "events.ndjson").write_bytes(b"\n".join(each.body for each in ses.events()))
    assert sesight("replay", "events.ndjson").code == 0
    (card,) = sesight("campaigns", "--json").json["data"]
    assert (card["totals"]["recipients"], card["totals"]["delivered"]) == (30, 30)


def test_what_all_are_told_alike(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """What --context says is in everybody's message; what a person's own row says wins over it."""
    people(folder, "ana@example.org")
    (folder / "spring.json").write_text('{"product": "Autumn", "name": "nobody"}')
    (folder / "ben.json").write_text('[{"email": "ben@example.org", "name": "Ben"}]')
    assert sesight(*SEND, "--context", "spring.json").code == 0
    assert sesight(*SEND, "--to", "ben.json", "--context", "spring.json").code == 0
    texts = [each.text for each in ses.messages()]
    assert "Hello Someone, Spring is here." in texts[0]
    assert "Hello Ben, Autumn is here." in texts[1]


def test_a_longer_list(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """The same command with a longer list, and another name of the campaign, sends to those who are
    new; another key to all.
    """
    people(folder, "ana@example.org")
    assert sesight(*SEND).code == 0
    people(folder, "ana@example.org", "ben@example.org")
    assert sesight(*SEND, "--campaign-name", "Spring, at last").code == 0
    assert got(ses) == {"ana@example.org": 1, "ben@example.org": 1}
    assert sesight(*SEND, "--key", "once more").code == 0
    assert got(ses) == {"ana@example.org": 2, "ben@example.org": 2}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_stopped_in_the_middle(
    sesight: Sesight, start: Start, folder: Path, ses: SimulatedSes, number: signal.Signals
) -> None:
    """However it is stopped, the same command goes on: in the end everybody has exactly one message.

    Of those under way when it was killed only their events tell; who has none after the time set got
    nothing, and is sent to then.
    """
    addresses = [f"p{n}@example.org" for n in range(400)]
    people(folder, *addresses)
    ses.account.max_send_rate = 150
    running = start(*SEND)
    eventually(lambda: len(ses.messages()) >= 60)
    ended = running.stop(number)
    if number == signal.SIGINT:
        assert ended.code == 1
        assert "The same command goes on" in ended.err
    ses.account.max_send_rate = 10_000
    assert 60 <= len(ses.messages()) < 400
    (folder / "events.ndjson").write_bytes(b"\n".join(each.body for each in ses.events()))
    assert sesight("replay", "events.ndjson").code == 0
    lease_is_over(folder)
    done = sesight(*SEND, "--json")
    counts = done.json["counts"]
    assert set(counts) <= {"sent", "unknown"}
    assert counts.get("unknown", 0) <= (16 if number == signal.SIGKILL else 0)
    open_ones = {each["recipient"] for each in done.json["results"] if each["state"] == "unknown"}
    # SES may have taken one after its events were read above: it is unknown, and has its message
    assert set(got(ses)) >= set(addresses) - open_ones
    assert set(got(ses).values()) == {1}
    if open_ones:
        later(folder)
        (folder / "events.ndjson").write_bytes(b"\n".join(each.body for each in ses.events()))
        assert sesight("replay", "events.ndjson").code == 0
        assert sesight(*SEND, "--json").json["counts"] == {"sent": 400}
    assert got(ses) == Counter(addresses)


def test_an_outage(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """An outage ends the command after a few; the same command goes on with the rest, and whoever is
    unknown is tried again only if somebody says so, who is told what that may do.
    """
    addresses = [f"p{n}@example.org" for n in range(40)]
    people(folder, *addresses)
    ses.fail(Fault.ERROR, 10_000)
    done = sesight(*SEND, "--json")
    assert (done.code, done.json["counts"]) == (1, {"unknown": 5, "throttled": 35})
    ses.recover()
    done = sesight(*SEND, "--json")
    assert (done.code, done.json["counts"]) == (1, {"unknown": 5, "sent": 35})
    assert "twice" not in done.err
    rehearsed = sesight(*SEND, "--retry-unknown", "--dry-run", "--json")
    assert rehearsed.json["counts"] == {"intended": 5, "sent": 35}
    done = sesight(*SEND, "--retry-unknown", "--json")
    assert (done.code, done.json["counts"]) == (0, {"sent": 40})
    assert "up to 5 of the recipients are unknown" in done.err
    assert "twice" in done.err
    assert got(ses) == Counter(addresses)


def lease_is_over(folder: Path) -> None:
    """Let the time pass for which a killed command holds its batch."""
    _change(folder, "UPDATE batch SET leased_until = 0")


def later(folder: Path) -> None:
    """Let the time pass after which what nobody tells of was not sent."""
    _change(folder, "UPDATE intent SET at = at - 120000 WHERE state = 'intended'")


def _change(folder: Path, statement: str) -> None:
    import sqlite3

    connection = sqlite3.connect(folder / "sesight.db", isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_guard_of_no_stream(sesight: Sesight, folder: Path) -> None:
    """A stream that the guard shall watch and that there is not is a mistake of the settings."""
    with (folder / "sesight.toml").open("a") as file:
        file.write('\n[sending.guard]\nstreams = ["finanse"]\n')
    done = sesight("stream", "show")
    assert done.code == 1
    assert "there is no stream 'finanse'; the streams are outreach, finance" in done.err


def test_an_empty_cell(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """An empty cell is no value: "Hello ," is never sent. The context's value is taken, or what the
    template has for such a case; else the recipient is invalid, with the variable's name.
    """
    rows = "ana@example.org,,Spring\nben@example.org,Ben,\ncy@example.org,  , \n"
    (folder / "people.csv").write_text(f"email,name,product\n{rows}")
    done = sesight(*SEND, "--json")
    assert [(each["state"], each["code"]) for each in done.json["results"]] == [
        ("invalid", "missing-variable")
    ] * 3
    assert "'name' is named and has no value" in done.json["results"][0]["detail"]
    assert ses.messages() == []
    (folder / "all.json").write_text('{"product": "Autumn", "name": "friend"}')
    assert sesight(*SEND, "--context", "all.json", "--key", "2").code == 0
    greetings = {
        each.to[0].partition("@")[0]: each.text.partition("\n")[0] for each in ses.messages()
    }
    assert {name.rpartition("<")[2]: text for name, text in greetings.items()} == {
        "ana": "Hello friend, Spring is here.",
        "ben": "Hello Ben, Autumn is here.",
        "cy": "Hello friend, Autumn is here.",
    }
    body = "Hello{% if name %} {{ name }}{% endif %}, {{ product | default('it') }} is here.\n"
    footer = "{{ unsubscribe_url }}\n{{ postal_address }}\n"
    (folder / "templates" / "spring" / "body.txt").write_text(body + footer)
    (folder / "templates" / "spring" / "body.html").unlink()
    (folder / "templates" / "spring" / "subject.txt").write_text("Hello")
    assert sesight(*SEND, "--key", "3").code == 0
    assert sorted(each.text.partition("\n")[0] for each in ses.messages()[3:]) == [
        "Hello Ben, it is here.",
        "Hello, Spring is here.",
        "Hello, it is here.",
    ]


def test_nothing_was_sent(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """A run that sent nothing says who had it before, and warns when the template, or what it is told,
    is another one now.
    """
    people(folder, *(f"p{n}@example.org" for n in range(12)))
    first = sesight(*SEND, "--json")
    assert (first.json["counts"], first.json["hadBefore"]) == ({"sent": 12}, 0)
    for more in ((), ("--dry-run",)):
        again = sesight(*SEND, *more)
        assert (again.code, again.err) == (0, "")
        assert "Nothing was sent: 12 had it before." in again.text
        assert "SES took the message" not in again.text
    people(folder, *(f"p{n}@example.org" for n in range(13)))
    (folder / "people.csv").write_text((folder / "people.csv").read_text().replace("p3", "P3"))
    longer = sesight(*SEND, "--json")
    assert (longer.json["counts"], longer.json["hadBefore"]) == ({"sent": 13}, 12)
    assert longer.json["warnings"] == []
    (folder / "context.json").write_text('{"more": "than before"}')
    for change in ("context", "template", "row"):
        if change == "template":
            with (folder / "templates" / "spring" / "body.txt").open("a") as file:
                file.write("Once more.\n")
        if change == "row":
            text = (folder / "people.csv").read_text()
            (folder / "people.csv").write_text(
                text.replace("p5@example.org,Someone", "p5@example.org,Eve")
            )
        context = ("--context", "context.json") if change == "context" else ()
        for more in ((), ("--dry-run",)):
            done = sesight(*SEND, *context, *more)
            assert done.code == 0
            assert "has changed for 13 of those" in done.err
    assert set(got(ses).values()) == {1}


def test_statements_with_other_figures(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """Statements whose figures were mended after they were sent are not sent again by the same command,
    which says how many they are.
    """
    with (folder / "sesight.toml").open("a") as file:
        file.write(FINANCE)
    assert sesight("templates", "init").code == 0
    lines = "statement,recipient,currency,locale,label,amount,total\n"
    for n in range(3):
        lines += f"PS-{n},p{n}@example.org,EUR,de-DE,Sales,1{n}.00,1{n}.00\n"
    (folder / "statements.csv").write_text(lines)
    send = ("send", "finance", "--month", "2026-10", "--statements", "statements.csv")
    assert sesight(*send).code == 0
    (folder / "statements.csv").write_text(lines.replace("11.00", "11.50"))
    done = sesight(*send, "--json")
    assert (done.json["counts"], done.json["hadBefore"]) == ({"sent": 3}, 3)
    assert len(done.json["warnings"]) == 1
    assert "has changed for 1 of those" in done.json["warnings"][0]
    assert len(ses.messages()) == 3


def test_a_rehearsal_before_what_holds_up(
    sesight: Sesight, folder: Path, ses: SimulatedSes
) -> None:
    """A dry run says that the stream is paused, that the quota does not suffice, that sending is switched
    off, and that SES does not answer; it ends with 1 then.
    """
    people(folder, *(f"p{n}@example.org" for n in range(5)))
    rehearse = (*SEND, "--dry-run", "--json")

    def warned() -> str:
        done = sesight(*rehearse)
        assert (done.code, done.json["counts"]) == (1, {"intended": 5})
        (warning,) = done.json["warnings"]
        assert warning in done.err
        return str(warning)

    assert sesight(*rehearse).code == 0
    ses.account.max_24_hour_send = 3
    assert "has room for 3 messages, and 5 would be sent" in warned()
    ses.account.max_24_hour_send = 1_000
    ses.account.sending = False
    assert "switched off" in warned()
    ses.account.sending = True
    assert sesight("stream", "pause", "outreach", "--why", "The price was wrong.").code == 0
    assert "is paused: The price was wrong." in warned()
    assert sesight("stream", "resume", "outreach").code == 0
    ses.stop()
    assert "cannot be reached" in warned()


def test_all_are_invalid(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """A list of which nobody can be sent to ends the command with 1, rehearsed or not."""
    people(folder, "nobody", "no one")
    for more in ((), ("--dry-run",)):
        assert sesight(*SEND, *more).code == 1
    people(folder, "nobody", "ana@example.org")
    assert sesight(*SEND).code == 0


def test_a_template_of_another_stream(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """A template that is for another stream is a mistake of the command's."""
    assert sesight("templates", "init").code == 0
    people(folder, "ana@example.org")
    done = sesight(*SEND, "--template", "payout-statement")
    assert done.code == 2
    assert "is for the stream finance, not for outreach" in done.err


FINANCE = """
[[sending.senders]]
stream = "finance"
from_address = "pay@example.com"
unsubscribe = "none"
"""

WRONG = {
    "no such template": (("--template", "autumn"), "no template 'autumn'"),
    "no such file": (("--to", "nowhere.csv"), "cannot be read"),
    "a context that is no JSON": (("--context", "people.csv"), "The context is no JSON object"),
    "an empty campaign": (("--campaign", ""), "empty"),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_what_is_wrong_with_a_command(
    sesight: Sesight, folder: Path, ses: SimulatedSes, case: str
) -> None:
    """What is wrong is told in a sentence, without a trace, and nothing is sent."""
    people(folder, "ana@example.org")
    options, sentence = WRONG[case]
    done = sesight(*SEND, *options)
    assert done.code in {1, 2}
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert ses.calls["SendEmail"] == 0


LISTS = {
    "nobody": (b"email,name\n", "has no recipients"),
    "no column email": (b"address\nana@example.org\n", "no column `email`"),
    "a row too short": (b"email,name\nana@example.org,Ana\nben@example.org\n", "Line 3"),
    "columns of one name": (b"email,name,name\na@example.org,A,B\n", "same name"),
    "not UTF-8": (b"email,name\nana@example.org,Zo\xeb\n", "Line 2"),
    "JSON that is none": (b"[{", "JSON"),
    "JSON of something else": (b'[{"address": "ana@example.org"}]', "an array of recipients"),
}


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_lists_that_are_wrong(sesight: Sesight, folder: Path, ses: SimulatedSes, case: str) -> None:
    """A list that cannot be read is refused with its line, and nothing is sent."""
    data, sentence = LISTS[case]
    (folder / "people.csv").write_bytes(data)
    done = sesight(*SEND)
    assert (done.code, ses.calls["SendEmail"]) == (2, 0)
    assert sentence in done.err


def test_statements(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """Statements of a file go out once, each with its papers; what does not add up is refused, and a
    key sends them again as attempts.
    """
    with (folder / "sesight.toml").open("a") as file:
        file.write(FINANCE)
    assert sesight("templates", "init").code == 0
    (folder / "statements.csv").write_text(
        "statement,recipient,name,currency,locale,label,amount,total\n"
        "PS-1,ana@example.org,Ana,EUR,de-DE,Sales,10.00,9.50\n"
        "PS-1,,,,,Fee,-0.50,\n"
        "PS-2,ben@example.org,Ben,EUR,de-DE,Sales,10.00,11.00\n"
    )
    send = ("send", "finance", "--month", "2026-10", "--statements", "statements.csv", "--json")
    done = sesight(*send, "--dry-run")
    assert done.json["counts"] == {"intended": 1, "invalid": 1}
    for _ in range(2):
        assert sesight(*send).json["counts"] == {"sent": 1, "invalid": 1}
    assert sesight(*send, "--key", "again").json["counts"] == {"sent": 1, "invalid": 1}
    assert [each.tags["campaign_attempt"] for each in ses.messages()] == ["1", "2"]
    for month in ("2026-08", "2026-09"):
        done = sesight(*send, "--month", month, "--campaign", "late ones")
        assert done.json["counts"] == {"sent": 1, "invalid": 1}
    found = sesight("stats", "finance", "statements-2026-10", "--json").json
    assert (found["totals"]["recipients"], found["withheld"]["invalid"]) == (2, 2)


def test_a_paused_stream(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """A stream that somebody paused sends nothing, says why, and sends after it was resumed."""
    people(folder, "ana@example.org")
    assert sesight("stream", "pause", "outreach", "--why", "The price was wrong.").code == 0
    done = sesight(*SEND)
    assert done.code == 1
    assert "The price was wrong." in done.err
    shown = {each["stream"]: each for each in sesight("stream", "show", "--json").json}
    assert (shown["outreach"]["state"], shown["finance"]["state"]) == ("paused", "sending")
    assert shown["outreach"]["pausesAt"] == {"bounce": 0.05, "complaint": 0.001}
    assert shown["finance"]["pausesAt"] is None
    assert "not watched" in sesight("stream", "show").text
    resumed = sesight("stream", "resume", "outreach").text
    assert "sends again" in resumed
    assert "counts its mail from now on" in resumed
    assert sesight(*SEND).code == 0
    assert got(ses) == {"ana@example.org": 1}


def test_no_address_in_what_is_logged(sesight: Sesight, folder: Path, ses: SimulatedSes) -> None:
    """What a failing sender writes beside its results names no address."""
    people(folder, "ana@example.org")
    ses.fail(Fault.ERROR, 100)
    done = sesight(*SEND, "--json")
    assert done.json["counts"] == {"unknown": 1}
    assert "ana@" not in done.err
