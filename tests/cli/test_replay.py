"""What `sesight replay` does with files of every kind."""

import gzip
import os
import random
from pathlib import Path

import msgspec
import pytest
import zstandard

from sesight.app import App
from sesight.domain.timestamps import DAY
from sesight.ingest.replay.replay import replay as replay_files
from sesight.ingest.transport.files import input_files
from sesight.settings import Settings, StoreSettings
from sesight.store import open_store
from sesight_simulator.traffic.plan import Plan, now_ms
from sesight_simulator.traffic.recording import write
from tests.cli.conftest import PAYLOADS, Sesight, Start, Traffic, eventually
from tests.cli.totals import held, true

FIELDS = ["read", "dispositions", "seconds", "eventsPerSecond", "reasons"]


def test_every_sample_has_a_disposition(sesight: Sesight, tmp_path: Path) -> None:
    """Every sample is read; a second time nothing is created, updated or quarantined anew."""
    replay = ("replay", PAYLOADS, "--store", "sqlite:///a.db", "--json")
    first = sesight(*replay)
    totals = held(tmp_path / "a.db")
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    waiting = store.quarantine_counts()
    store.close()
    second = sesight(*replay)
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    waiting_then = store.quarantine_counts()
    store.close()
    assert (first.code, first.err, list(first.json)) == (0, "", FIELDS)
    assert (
        first.json["read"]
        == sum(first.json["dispositions"].values())
        > len(list(PAYLOADS.glob("*json")))
    )
    assert second.json["read"] == first.json["read"]
    assert {"created", "updated"}.isdisjoint(second.json["dispositions"])
    assert totals
    assert (held(tmp_path / "a.db"), waiting_then) == (totals, waiting)


def test_people_get_a_table(sesight: Sesight) -> None:
    """Without --json the dispositions are said in words, with how many and how fast."""
    ended = sesight("replay", PAYLOADS, "--store", "sqlite:///a.db")
    assert ended.code == 0
    assert "quarantined" in ended.text
    assert "a second." in ended.text


def _packed(traffic: Traffic, folder: Path, kind: str) -> tuple[list[object], bytes]:
    """Return the arguments and standard input by which the traffic comes in a form."""
    lines = traffic.file.read_bytes()
    bodies = traffic.bodies
    if kind == "standard input":
        return ["-"], lines
    file = folder / "events"
    if kind == "gzip":
        file.write_bytes(gzip.compress(lines))
    elif kind == "zstd":
        half = len(bodies) // 2
        frames = [b"\n".join(bodies[:half]) + b"\n", b"\n".join(bodies[half:])]
        file.write_bytes(b"".join(zstandard.compress(frame) for frame in frames))
    elif kind == "folder":
        file.mkdir()
        for n in range(3):
            (file / f"{n}.ndjson").write_bytes(b"\n".join(bodies[n::3]))
    elif kind == "pretty":
        file.mkdir()
        for n, body in enumerate(bodies[:200]):
            (file / f"{n}.json").write_bytes(msgspec.json.format(body, indent=2))
        many = [msgspec.json.format(body, indent=2) for body in bodies[200:600]]
        (file / "many.json").write_bytes(b"\n".join(many))
        (file / "rest.json").write_bytes(b"\n".join(bodies[600:]))
    elif kind == "arrays":
        file.mkdir()
        pretty = [msgspec.json.format(body, indent=2) for body in bodies[:400]]
        (file / "pretty.json").write_bytes(b"\xef\xbb\xbf[\n" + b",\n".join(pretty) + b"\n]\n")
        (file / "rest.json").write_bytes(b"[" + b",".join(bodies[400:]) + b"]")
    elif kind == "messages":
        polled = [{"Messages": [{"MessageId": "1", "Body": each.decode()}]} for each in bodies]
        whole = [msgspec.json.format(msgspec.json.encode(each), indent=4) for each in polled]
        file.write_bytes(b"\n".join(whole))  # as `aws sqs receive-message >> file` leaves them
    else:
        file.write_bytes(b"".join(bodies))  # as Firehose glues them: }{
    return [file], b""


@pytest.mark.parametrize(
    "kind", ["standard input", "gzip", "zstd", "folder", "pretty", "arrays", "messages", "}{"]
)
def test_forms(sesight: Sesight, traffic: Traffic, tmp_path: Path, kind: str) -> None:
    """Whatever the file's form, its events give the true totals."""
    files, stdin = _packed(traffic, tmp_path, kind)
    ended = sesight("replay", *files, "--store", "sqlite:///a.db", "--json", stdin=stdin)
    assert (ended.code, ended.json["read"]) == (0, traffic.events)
    assert held(tmp_path / "a.db") == true(traffic.truth)


@pytest.mark.parametrize("order", ["in order", "shuffled", "doubled", "in two runs"])
def test_order(sesight: Sesight, traffic: Traffic, tmp_path: Path, order: str) -> None:
    """The totals are the true ones in any order, with any repetition, in any number of runs."""
    bodies = traffic.bodies
    runs = [bodies]
    if order == "shuffled":
        random.Random(5).shuffle(bodies)
    elif order == "doubled":
        runs = [bodies + bodies[::-1]]
    elif order == "in two runs":
        runs = [bodies[1::2], bodies[::2]]
    for n, run in enumerate(runs):
        (tmp_path / f"{n}.ndjson").write_bytes(b"\n".join(run))
        ended = sesight("replay", f"{n}.ndjson", "--store", "sqlite:///a.db")
        assert (ended.code, ended.err) == (0, "")
    assert held(tmp_path / "a.db") == true(traffic.truth)


def test_cut_off_file(sesight: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """A file that is cut off ends with 1 and a sentence that names it; what it held is kept."""
    (tmp_path / "cut.gz").write_bytes(gzip.compress(traffic.file.read_bytes())[:-2_000])
    ended = sesight("replay", "cut.gz", "--store", "sqlite:///a.db", "--json")
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err.startswith("cut.gz cannot be read to its end: ")
    assert ended.err.count("\n") == 1
    assert held(tmp_path / "a.db")


def test_text(sesight: Sesight, tmp_path: Path) -> None:
    """A file of something else than JSON, or in UTF-16, is refused whole: none of it is quarantined."""
    (tmp_path / "table.csv").write_bytes(b"to,event\n" + b"ana@example.org,Send\n" * 30_000)
    line = '{"eventType": "Send"}\n'
    (tmp_path / "wide.json").write_bytes(line.encode("utf-16"))
    (tmp_path / "bare.json").write_bytes(line.encode("utf-16-le"))
    for name, why in (
        ("table.csv", "holds no JSON and nothing of it was read."),
        ("wide.json", "is written in UTF-16 and nothing of it was read: write it in UTF-8 "),
        ("bare.json", "is written in UTF-16 and nothing of it was read: write it in UTF-8 "),
    ):
        ended = sesight("replay", name, "--store", "sqlite:///a.db")
        assert (ended.code, ended.err.startswith(f"{name} {why}")) == (1, True)
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    assert store.quarantine_counts() == {}
    store.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "There is nothing in what was named: no event was read.\n"),
        (b"\n\n", "There is nothing in what was named: no event was read.\n"),
        (b"[]", "No event of SES was found in 1 bodies: sesight quarantine list says why.\n"),
        (b'{"AlarmName":"x"}\n' * 2, "No event of SES was found in 2 bodies.\n"),
    ],
)
def test_no_event(sesight: Sesight, tmp_path: Path, data: bytes, said: str) -> None:
    """A file without a single event ends with 1 and a sentence, after the summary."""
    (tmp_path / "odd.json").write_bytes(data)
    ended = sesight("replay", "odd.json", "--store", "sqlite:///a.db", "--json")
    assert (ended.code, ended.err, list(ended.json)) == (1, said, FIELDS)


def test_events_that_are_not_taken(sesight: Sesight, tmp_path: Path) -> None:
    """A file of events is one, though none of them has a route yet."""
    (tmp_path / "f.json").write_bytes((PAYLOADS / "feedback_bounce.json").read_bytes())
    ended = sesight("replay", "f.json", "--store", "sqlite:///a.db", "--json")
    assert (ended.code, ended.err, ended.json["reasons"]) == (0, "", {"unrouted": 1})


def test_a_flood_of_junk(sesight: Sesight, tmp_path: Path) -> None:
    """What is not understood in a file leaves half of the quarantine free, and the replay says so."""
    (tmp_path / "junk.json").write_bytes(b"".join(b'{"n":%d}\n' % n for n in range(7_000)))
    ended = sesight("replay", "junk.json", "--store", "sqlite:///a.db", "--json")
    assert ended.code == 1
    assert ended.json["dispositions"] == {"quarantined": 5_000, "refused": 2_000}


def test_no_such_file(sesight: Sesight) -> None:
    """A file that is not there ends with a sentence, and makes no store."""
    ended = sesight("replay", "nowhere.ndjson", "--store", "sqlite:///a.db")
    assert (ended.code, ended.err) == (1, "There is no file nowhere.ndjson.\n")


def test_no_such_stream(sesight: Sesight, traffic: Traffic) -> None:
    """A stream that the settings do not have is misuse."""
    ended = sesight("replay", traffic.file, "--stream", "newsletter", "--store", "sqlite:///a.db")
    assert (ended.code, ended.err) == (
        2,
        "The settings have no stream 'newsletter'; they have outreach, finance.\n",
    )


def test_event_lines(sesight: Sesight, traffic: Traffic) -> None:
    """With --log-events each event has its line, before the summary."""
    ended = sesight(
        "replay", traffic.file, "--store", "sqlite:///a.db", "--log-events", "--json"
    )  # fmt: skip
    *lines, summary = map(msgspec.json.decode, ended.out.splitlines())
    assert {line["message"] for line in lines} == {"SES_EVENT_PROCESSED"}
    assert len(lines) == summary["read"] == traffic.events


def test_stopped(sesight: Sesight, start: Start, traffic: Traffic, tmp_path: Path) -> None:
    """Ctrl-C ends a replay with a sentence and no trace; done again it gives the true totals."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as there, os.fdopen(write, "wb") as here:
        replaying = start("replay", "-", "--store", "sqlite:///a.db", stdin=there)
        here.write(traffic.file.read_bytes())
        here.flush()  # and more might come: the reader waits
        eventually((tmp_path / "a.db").exists)
        stopped = replaying.stop()
    again = sesight("replay", traffic.file, "--store", "sqlite:///a.db")
    assert (stopped.code, stopped.err) == (
        1,
        "Stopped. What was committed is kept: replay the same files to go on.\n",
    )
    assert again.code == 0
    assert held(tmp_path / "a.db") == true(traffic.truth)


def test_glued_within_a_text(sesight: Sesight, tmp_path: Path) -> None:
    """What looks like the end of one document and the begin of another within a text is neither."""
    one = msgspec.json.decode((PAYLOADS / "send.json").read_bytes())
    one["mail"]["commonHeaders"]["subject"] = "}{"
    line = msgspec.json.encode(one)
    (tmp_path / "glued.json").write_bytes(line * 3)
    ended = sesight("replay", "glued.json", "--store", "sqlite:///a.db", "--json")
    assert ended.json["dispositions"] == {"created": 1, "duplicate": 2}


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """Return the events of 300 messages, all of them long past retention."""
    file = tmp_path_factory.mktemp("history") / "events.ndjson"
    written = write(Plan(seed=5, messages=300, days=12, end=now_ms() - 300 * DAY), file)
    return Traffic(file, written.truth, written.events)


def test_backfill_goes_on(sesight: Sesight, history: Traffic, tmp_path: Path) -> None:
    """A backfill of several runs, the later days first and all of them again, has the true totals."""
    lines = history.bodies
    for name, some in (("late", lines[200:]), ("early", lines[:400])):
        (tmp_path / name).write_bytes(b"\n".join(some))
    done = [
        sesight("replay", name, "--backfill", "--json")
        for name in ("late", "early", history.file, history.file)
    ]
    assert [(each.code, each.err, list(each.json)) for each in done] == [(0, "", FIELDS)] * 4
    assert "expired" not in {name for each in done for name in each.json["dispositions"]}
    assert held(tmp_path / "sesight.db") == true(history.truth)
    found = sesight("recount", "--json")
    assert (found.code, found.json["differences"], found.json["frozen"]) == (0, [], None)


def test_backfill_of_frozen_days(sesight: Sesight, history: Traffic, tmp_path: Path) -> None:
    """Send days that the store held itself are named and not taken; all others are."""
    url, then = f"sqlite:///{tmp_path}/sesight.db", now_ms() - 299 * DAY
    (tmp_path / "some").write_bytes(b"\n".join(history.bodies[:100]))
    app = App(Settings(store=StoreSettings(url=url)), clock=lambda: then)
    replay_files(app.pipeline, input_files([str(tmp_path / "some")]), app.known_sets)
    app.close()
    before = held(tmp_path / "sesight.db")
    for at in (now_ms() - DAY, now_ms()):  # the clock of a store that was left alone
        store = open_store(url, clock=lambda at=at: at)
        store.sweep(at, 5_000)
        store.close()
    ended = sesight("replay", history.file, "--backfill", "--json")
    days = {(each["stream"], each["day"]): each["events"] for each in ended.json["frozen"]}
    assert ended.code == 1
    assert set(days) == {(stream, day) for stream, _, day in before}
    assert sum(days.values()) == ended.json["dispositions"]["expired"]
    for stream, day in days:
        assert f"{stream} {day}" in ended.err
    after = held(tmp_path / "sesight.db")
    assert {key: n for key, n in after.items() if (key[0], key[2]) in days} == before
    others = {key: n for key, n in true(history.truth).items() if (key[0], key[2]) not in days}
    assert {key: n for key, n in after.items() if (key[0], key[2]) not in days} == others != {}


def test_backfill_of_what_waited(sesight: Sesight, history: Traffic, tmp_path: Path) -> None:
    """What a backfill put in quarantine is taken by another try that backfills too."""
    (tmp_path / "before.toml").write_text(
        '[[streams]]\nid = "outreach"\nlabel = "Outreach"\nkind = "marketing"\n'
        'configuration_set = "outreach-tracking"\n'
    )
    first = sesight("replay", history.file, "--backfill", "--config", "before.toml", "--json")
    assert first.json["reasons"]["unknown-set"] > 50
    assert sesight("quarantine", "retry", "--backfill").code == 0
    assert held(tmp_path / "sesight.db") == true(history.truth)
