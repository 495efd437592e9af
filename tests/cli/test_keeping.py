"""recount, reclassify, quarantine, backup, restore and doctor: keeping a store in order."""

import json
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from sesight.cli.send import write_results
from sesight.domain.sending import SendResult
from sesight.domain.timestamps import DAY
from sesight.store import open_store
from sesight_simulator.traffic.plan import now_ms
from tests.cli.conftest import PAYLOADS, Sesight, Start, Traffic, eventually
from tests.cli.totals import held, true


@pytest.fixture
def filled(sesight: Sesight, traffic: Traffic) -> Sesight:
    """Return the command, over a store with traffic."""
    assert sesight("replay", traffic.file, "--store", "sqlite:///sesight.db").code == 0
    return sesight


def _damage(file: Path, statement: str) -> int:
    connection = sqlite3.connect(file)
    try:
        with connection:
            return connection.execute(statement).rowcount
    finally:
        connection.close()


def test_recount_of_a_sound_store(filled: Sesight) -> None:
    """A sound store has no difference, nothing frozen and nothing that today's rules would move."""
    ended = filled("recount", "--json")
    counts = ended.json
    assert counts.pop("records") > 600
    assert counts.pop("days") > 20
    assert (ended.code, counts) == (
        0,
        {
            "differences": [],
            "repaired": False,
            "outdated": 0,
            "frozen": None,
            "moving": [],
            "unchecked": [],
        },
    )


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rollup SET delivered = delivered + 3 WHERE family = 1 AND dimension = ''",
        "UPDATE rollup SET sent = sent - 1 WHERE family = 1 AND dimension = 'mailbox'",
        "DELETE FROM rollup WHERE family = 1 AND scope > 0 AND dimension = ''",
        "UPDATE rollup SET opened = 9 WHERE family = 0",
        "DELETE FROM rollup WHERE family = 0",
        "UPDATE rollup SET delivered = delivered + 1 WHERE family = 0 AND dimension = 'mailbox'",
        "DELETE FROM rollup WHERE family = 0 AND dimension LIKE 'tag:%'",
        "DELETE FROM rollup WHERE family = 1 AND scope > 0 AND dimension = 'reason'",
        "UPDATE rollup SET clicks = clicks + 1 WHERE family = 4",
        "UPDATE rollup SET delivered = 0 WHERE family = 3",
        "DELETE FROM rollup WHERE family = 5",
        "DELETE FROM rollup WHERE family = 2",
        "UPDATE rollup SET recipients = recipients + 1 WHERE family = 6",
        "DELETE FROM rollup WHERE family = 6",
    ],
)
def test_recount_mends(filled: Sesight, traffic: Traffic, tmp_path: Path, damage: str) -> None:
    """A damage done by hand is found, shown and mended; then nothing is left to find."""
    before = filled("campaigns", "--limit", 500, "--json").json["data"]
    assert _damage(tmp_path / "sesight.db", damage) > 0
    found = filled("recount", "--json")
    shown = filled("recount")
    repaired = filled("recount", "--repair", "--json")
    after = filled("recount", "--json")
    assert (found.code, shown.code, repaired.code, after.code) == (1, 1, 0, 0)
    assert len(found.json["differences"]) > 0
    assert "sesight recount --repair" in shown.text
    assert repaired.json["repaired"]
    assert after.json["differences"] == []
    assert held(tmp_path / "sesight.db") == true(traffic.truth)
    assert filled("campaigns", "--limit", 500, "--json").json["data"] == before


def test_recount_names_what_is_frozen(filled: Sesight, tmp_path: Path) -> None:
    """Days past retention are named, not checked; their totals stay."""
    before = held(tmp_path / "sesight.db")
    three_days_ago = now_ms() - 3 * DAY
    store = open_store(f"sqlite:///{tmp_path}/sesight.db", clock=lambda: three_days_ago)
    store.retention.shorten(5)
    store.close()
    ended = filled("recount", "--json")
    shown = filled("recount")
    assert (ended.code, ended.json["differences"]) == (0, [])
    assert ended.json["frozen"]["from"] < ended.json["frozen"]["to"]
    assert "past retention: their totals are kept" in shown.text
    assert held(tmp_path / "sesight.db") == before


def test_reclassify(filled: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """A changed setting of what counts moves totals only when records are counted again; back again
    gives the totals there were.
    """
    page = filled("tracking", "--event", "Delivery", "--limit", 1, "--json").json
    domain = page["data"][0]["recipient"].rpartition("@")[2]
    (tmp_path / "test.toml").write_text(f'[counting]\ntest_recipients = ["@{domain}"]\n')
    outdated = filled("recount", "--config", "test.toml", "--json").json["outdated"]
    first = filled("reclassify", "--config", "test.toml", "--json")
    without = held(tmp_path / "sesight.db")
    sound = filled("recount", "--config", "test.toml", "--json").json
    second = filled("reclassify", "--json")
    assert (first.code, second.code) == (0, 0)
    assert first.json["moved"] == second.json["moved"] == outdated > 0
    assert (sound["differences"], sound["outdated"]) == ([], 0)
    assert without != true(traffic.truth)
    assert held(tmp_path / "sesight.db") == true(traffic.truth)


def test_quarantine_retry(sesight: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """Events of an unknown set are taken once the settings name it; what still cannot be read stays,
    once.
    """
    (tmp_path / "before.toml").write_text(
        '[[streams]]\nid = "outreach"\nlabel = "Outreach"\nkind = "marketing"\n'
        'configuration_set = "outreach-tracking"\n'
    )
    replay = ("replay", traffic.file, "-", "--store", "sqlite:///sesight.db", "--json")
    first = sesight(*replay, "--config", "before.toml", stdin=b'{"half":')
    waiting = sesight("quarantine", "list", "--json").json
    one = sesight("quarantine", "list", "--reason", "not-json", "--json").json["data"][0]
    shown = sesight("quarantine", "show", one["id"][:10], "--json").json
    retried = sesight("quarantine", "retry", "--json")
    again = sesight("quarantine", "retry")
    left = sesight("quarantine", "list", "--json").json["data"]
    assert first.json["reasons"]["unknown-set"] > 100
    assert waiting["total"]["value"] == retried.json["bodies"] > 100
    assert (shown["reason"], shown["body"]) == ("not-json", '{"half":')
    assert (retried.code, retried.json["bodies"] - retried.json["released"]) == (0, 1)
    assert again.text.startswith("Tried again: 1 body. Taken now: 0; left in the quarantine: 1.")
    assert left == [one]
    assert held(tmp_path / "sesight.db") == true(traffic.truth)


def test_quarantine_retry_of_one_reason(sesight: Sesight) -> None:
    """Only bodies of the reason named are tried again; an id nobody has is said to be none."""
    sesight("replay", PAYLOADS, "--store", "sqlite:///sesight.db")
    waiting = sesight("quarantine", "list").text
    retried = sesight("quarantine", "retry", "--reason", "too-deep", "--json").json
    missing = sesight("quarantine", "show", "zz")
    assert "bodies." in waiting
    assert retried == {"bodies": 0, "released": 0, "dispositions": {}, "reasons": {}}
    assert (missing.code, missing.err) == (
        1,
        "No body's id begins with 'zz': see sesight quarantine list.\n",
    )


def test_a_reason_that_there_is_not(sesight: Sesight) -> None:
    """A reason that there is not is misuse, and the reasons there are are named; one that nothing has is
    said to have nothing.
    """
    sesight("replay", PAYLOADS, "--store", "sqlite:///sesight.db")
    listed = sesight("quarantine", "list", "--reason", "not-jsno")
    retried = sesight("quarantine", "retry", "--reason", "not-jsno")
    empty = sesight("quarantine", "list", "--reason", "too-deep")
    assert (listed.code, retried.code, empty.code) == (2, 2, 0)
    assert listed.err.startswith("reason: there is no 'not-jsno'.\n")
    assert "  not-json\n" in listed.err
    assert retried.err.startswith(
        "There is no reason 'not-jsno'; the reasons are future-send-time, "
    )
    assert empty.text == "Nothing is quarantined as too-deep.\n"


def test_backup_while_a_server_writes(
    sesight: Sesight, start: Start, traffic: Traffic, tmp_path: Path
) -> None:
    """A backup taken in the middle of posting is a sound store, and restored it answers alone."""
    keys = tmp_path / "keys"
    posting = ("simulate", "--keys", keys, "--messages", 800, "--days", 5, "--post")
    made = sesight(*posting, "http://127.0.0.1:9/", "--messages", 0)
    (tmp_path / "sesight.toml").write_text(
        '[[topics]]\narn = "arn:aws:sns:eu-west-1:000000000000:ses-email-events"\n'
        'certificate_file = "keys/simulator.pem"\n'
        "[intake]\nlog_events = false\n"
    )
    server = start("serve", "--port", 0)
    url = server.until(r"listens on (\S+)")
    poster = start(*posting, f"{url}/api/ses/events", "--json")

    def some_are_taken() -> bool:
        with urllib.request.urlopen(f"{url}/api/campaigns", timeout=30) as answer:
            return bool(json.load(answer)["data"])

    eventually(some_are_taken)
    backup = sesight("backup", "copy.db", "--json")
    busy = sesight("restore", "copy.db", "--force")
    posted = poster.wait()
    stopped = server.stop()
    occupied = sesight("backup", "copy.db")
    full = sesight("restore", "copy.db")
    elsewhere = sesight("restore", "copy.db", "--store", "sqlite:///new.db", "--json")
    sound = sesight("recount", "--store", "sqlite:///new.db", "--json")
    assert (made.code, "certificate_file = " in made.err) == (0, True)
    assert (backup.code, backup.err) == (0, "")
    assert (busy.code, busy.err) == (
        1,
        "Another process uses sesight.db: stop it first, then restore.\n",
    )
    assert (posted.code, posted.json["refused"], posted.json["lost"]) == (0, 0, 0)
    assert (stopped.code, stopped.err) == (0, "")
    assert (occupied.code, occupied.err) == (
        1,
        "copy.db is there already: name another file, or --force.\n",
    )
    assert (full.code, "--force to replace it" in full.err) == (1, True)
    assert (elsewhere.code, elsewhere.err) == (0, "")
    assert (sound.code, sound.json["differences"]) == (0, [])
    assert sound.json["records"] > 0
    assert (tmp_path / "new.db.key").read_text() == (tmp_path / "sesight.db.key").read_text()


def test_restore_takes_no_damaged_file(filled: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """A damaged or foreign file is refused and the store stays as it is."""
    assert filled("backup", "copy.db").code == 0
    data = bytearray((tmp_path / "copy.db").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 30_000] = bytes(30_000)
    (tmp_path / "damaged.db").write_bytes(data)
    (tmp_path / "foreign.db").write_bytes(b"not a store at all" * 1_000)
    damaged = filled("restore", "damaged.db", "--force")
    foreign = filled("restore", "foreign.db", "--force")
    missing = filled("restore", "missing.db")
    assert (damaged.code, foreign.code, missing.code) == (1, 1, 1)
    assert damaged.err.startswith("damaged.db is damaged and was not restored: ")
    assert "is not a Sesight store" in foreign.err
    assert held(tmp_path / "sesight.db") == true(traffic.truth)
    assert not list(tmp_path.glob("*.partial*"))


def test_restore_round_trip(filled: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """What a backup holds comes back, whatever happened to the store since."""
    assert filled("backup", "copy.db").code == 0
    assert filled("replay", PAYLOADS).code == 0
    changed = held(tmp_path / "sesight.db")
    restored = filled("restore", "copy.db", "--force")
    assert (restored.code, restored.text) == (0, "sesight.db is the store of copy.db now.\n")
    assert changed != true(traffic.truth)
    assert held(tmp_path / "sesight.db") == true(traffic.truth)


def test_bad_settings_are_a_sentence(sesight: Sesight, tmp_path: Path) -> None:
    """Settings that cannot be read end every command with one sentence and no trace."""
    (tmp_path / "sesight.toml").write_text("this is no TOML")
    ended = sesight("campaigns")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("sesight.toml, line 1, is not TOML.")


def test_files_are_private(filled: Sesight, start: Start, tmp_path: Path) -> None:
    """Files with people in them are their owner's alone: the store and what is beside it while it is
    used, backups, restored stores, keys, exports, results and simulated mail.
    """
    tmp_path.chmod(0o755)
    (tmp_path / "list.csv").write_text("email\nana@example.org\nno address\n")
    (tmp_path / "list.csv").chmod(0o600)
    server = start("serve", "--port", 0)
    server.until(r"listens on (\S+)")
    commands = [
        ("suppress", "import", "list.csv", "--stream", "outreach", "--bad", "bad.csv"),
        ("suppress", "export", "all.csv"),
        ("backup", "new.db"),
        ("restore", "new.db", "--store", "sqlite:///restored.db"),
        ("simulate", "events.ndjson", "--messages", 5, "--days", 1),
    ]
    ended = {each[0]: filled(*each) for each in commands}
    write_results(tmp_path / "results.csv", [SendResult(recipient="ana@example.org", state="sent")])
    beside = sorted(path.name for path in tmp_path.glob("sesight.db*"))
    held = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    server.stop()
    assert {name: each.err for name, each in ended.items() if each.code > 1} == {}
    assert beside == [f"sesight.db{end}" for end in ("", "-shm", "-wal", ".key", ".lock")]
    assert {name: mode for name, mode in held.items() if mode != 0o600} == {}
    assert {"new.db", "new.db.key", "restored.db", "all.csv", "results.csv"} <= set(held)
    assert {"events.ndjson", "events.ndjson.truth.json"} <= set(held)
