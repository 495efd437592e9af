"""The doctor finds what serving and sending will lack, before they do."""

import json
from pathlib import Path
from typing import Any

import pytest

from sesight import cli
from sesight.settings import environment_names
from tests.cli.conftest import Sesight, Start, Traffic, eventually
from tests.store.sqlite.test_connection import broken

TOPIC = '[[topics]]\narn = "arn:aws:sns:eu-west-1:123456789012:ses-email-events"\n'
KEYS = f'unsubscribe_keys = {{ a = "{"0" * 64}" }}\n'
SENDER = (
    '[[sending.senders]]\nstream = "outreach"\nfrom_address = "news@example.com"\n'
    'public_url = "https://news.example.com"\npostal_address = "1 Example Street"\n'
)
FINE = f'[server]\nport = 0\n{TOPIC}[sending]\nendpoint = "http://127.0.0.1:9"\n{SENDER}{KEYS}'


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*environment_names(), "SESIGHT_CONFIG"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def ask(capsys: pytest.CaptureFixture[str], settings: str) -> tuple[Any, dict[str, Any]]:
    """Ask the doctor about settings; return its code and what it says of each thing that is not well."""
    Path("sesight.toml").write_text(settings)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    return end.value.code or 0, {each["what"]: each["said"] for each in found if not each["ok"]}


def made(command: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(command.split())


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """With everything in place all is well, and each thing has a line."""
    Path("sesight.toml").write_text(FINE)
    made("templates init")
    assert ask(capsys, FINE) == (0, {})
    made("doctor")
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    looked_at = "settings streams store disk topics listener senders templates"
    assert lines == [["ok", what] for what in looked_at.split()]


@pytest.mark.parametrize(
    ("before", "after", "what", "said"),
    [
        (TOPIC, "", "topics", "none: add [[topics]] with arn to take events over HTTP"),
        (
            "port = 0",
            "prot = 0",
            "settings",
            "sesight.toml, line 2: there is no `prot` in [server]",
        ),
        (
            KEYS,
            "",
            "senders",
            "outreach: Mail of outreach carries an unsubscribe link: set public_url",
        ),
        (
            "public_url",
            "region",
            "senders",
            "outreach: Mail of outreach carries an unsubscribe link",
        ),
        ("https://news", "http://news", "senders", "outreach: public_url http://news.example.com"),
        (
            'postal_address = "1 Example Street"\n',
            "",
            "senders",
            "outreach: Marketing mail must show a postal address",
        ),
        (
            "news@example.com",
            "news.example.com",
            "senders",
            "outreach: The sender of outreach has a from_address (or a display name) that no",
        ),
        (
            KEYS,
            f'{KEYS}reply_to = ["someone"]\n',
            "senders",
            "outreach: The sender of outreach has a reply_to (or a display name) that no",
        ),
        ('stream = "outreach"', 'stream = "outrech"', "senders", "outrech is no stream"),
        (SENDER, f"{SENDER}{KEYS}{SENDER}", "senders", "outreach has two senders: leave one"),
        (
            "[server]",
            '[intake]\nignore_sets = ["outreach-tracking"]\n[server]',
            "streams",
            "intake.ignore_sets has the configuration set of outreach: take it out",
        ),
        (
            "[sending]",
            '[sending]\nguard.streams = ["news"]',
            "settings",
            "sesight.toml, line 6: there is no stream 'news'; the streams are outreach, finance.",
        ),
        (
            '[sending]\nendpoint = "http://127.0.0.1:9"\n',
            "",
            "credentials",
            "There are no AWS credentials: ",
        ),
    ],
)
def test_what_lacks(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    what: str,
    said: str,
) -> None:
    """What lacks, or is wrong, is the one finding that needs attention, with what to do."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    Path("sesight.toml").write_text(FINE)
    made("templates init")
    code, found = ask(capsys, FINE.replace(before, after))
    assert (code, list(found)) == (1, [what])
    assert found[what].startswith(said)


def test_no_templates(capsys: pytest.CaptureFixture[str]) -> None:
    """A stream that sends needs a template, and one that can be sent."""
    assert ask(capsys, FINE) == (
        1,
        {"templates": "there is none in templates: sesight templates init brings two"},
    )
    made("templates init")
    Path("templates/spring-launch/body.txt").write_text("{{ nothing")
    assert ask(capsys, FINE) == (
        1,
        {"templates": "spring-launch cannot be sent: sesight templates check"},
    )


def test_quarantine_and_key(sesight: Sesight, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the quarantine is said, and that the key of a store with records is lost."""
    assert sesight("replay", "-", stdin=b"{}").code == 1  # of a file without an event
    delivery = Path(__file__).parent.parent / "payloads" / "delivery.json"
    assert sesight("replay", delivery, "--backfill").code == 0
    assert sesight("tracking").code == 0
    assert Path("sesight.db.key").exists()
    key = Path("sesight.db.key")
    key.unlink()
    code, found = ask(capsys, f"[server]\nport = 0\n{TOPIC}")
    assert (code, list(found)) == (1, ["store", "key"])
    assert "1 body in quarantine: sesight quarantine list" in found["store"]
    assert found["key"].startswith("sesight.db.key is missing: bring it back from a backup")
    assert not key.exists()


def test_server(start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A server on the port says which store it serves, and how intake is."""
    url = start("serve", "--port", 0).until(r"listens on (\S+)")
    port = url.rpartition(":")[2]
    settings = f"[server]\nport = {port}\n{TOPIC}"
    eventually((tmp_path / "sesight.db").exists)
    assert ask(capsys, settings) == (0, {})
    code, found = ask(capsys, f'{settings}[store]\nurl = "sqlite:///other.db"\n')
    assert (code, list(found)) == (1, ["listener"])
    assert found["listener"] == (
        f"a Sesight serves sqlite:///{tmp_path}/sesight.db on 127.0.0.1:{port}, and these settings say "
        f"sqlite:///{tmp_path}/other.db: stop it, or use its settings (--config)"
    )


def test_refusals(
    sesight: Sesight, start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What a server refused lately is said, with what to do about it."""
    url = start("serve", "--port", 0).until(r"listens on (\S+)")
    posted = sesight(
        "simulate", "--messages", 1, "--keys", "keys", "--post", f"{url}/api/ses/events"
    )
    assert posted.code == 1
    code, found = ask(capsys, f"[server]\nport = {url.rpartition(':')[2]}\n{TOPIC}")
    assert (code, list(found)) == (1, ["intake"])
    assert found["intake"].startswith("Refused within the last hour as foreign-topic: ")


def test_a_damaged_store(sesight: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """A damaged file is called so by every command, with its name and the way out, and none of them says
    that it passes.
    """
    assert sesight("replay", traffic.file).code == 0
    assert sesight("backup", "whole.db").code == 0
    broken(tmp_path / "sesight.db")
    (line,) = [each for each in sesight("doctor", "--json").json if each["what"] == "store"]
    asked = sesight("tracking")
    written = sesight("replay", traffic.file)
    assert not line["ok"]
    assert "damaged" in line["said"]
    for each in (asked, written):
        assert each.code == 1
        assert "damaged" in each.err
        assert "sesight.db" in each.err
        assert "again in a few seconds" not in each.err
    restored = sesight("restore", "whole.db", "--force")
    assert (restored.code, sesight("recount").code) == (0, 0)
