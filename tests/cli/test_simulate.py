"""What `sesight simulate` writes and posts."""

import json
from pathlib import Path

from tests.cli.conftest import Sesight, Start
from tests.cli.totals import held, true

PLAN = ("--messages", 400, "--days", 10, "--seed", 3, "--duplicates", 0.1, "--disorder", 0.3)


def test_file_and_truth(sesight: Sesight, tmp_path: Path) -> None:
    """A file of SNS notifications replayed gives the totals of the truth beside it."""
    written = sesight("simulate", "events.gz", *PLAN, "--sns", "--json")
    replayed = sesight("replay", "events.gz", "--json")
    truth = json.loads((tmp_path / "events.gz.truth.json").read_text())
    assert written.json["events"] == replayed.json["read"] == truth["events"]
    assert held(tmp_path / "sesight.db") == true(truth)


def test_posted(sesight: Sesight, start: Start, tmp_path: Path) -> None:
    """Signed notifications posted to a server give the true totals; without its trust none is taken."""
    server = start("serve", "--port", 0)
    url = server.until(r"listens on (\S+)") + "/api/ses/events"
    stranger = sesight("simulate", "--post", url, "--keys", "keys", "--messages", 2)
    nothing = held(tmp_path / "sesight.db")
    server.stop()
    (tmp_path / "sesight.toml").write_text(
        '[[topics]]\narn = "arn:aws:sns:eu-west-1:000000000000:ses-email-events"\n'
        'certificate_file = "keys/simulator.pem"\n'
    )
    server = start("serve", "--port", 0)
    url = server.until(r"listens on (\S+)") + "/api/ses/events"
    posted = sesight(
        "simulate", "--post", url, "--keys", "keys", *PLAN, "--truth", "truth.json", "--json"
    )
    ended = server.stop()
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert (stranger.code, nothing) == (1, {})
    assert "do the server's [[topics]] name this certificate?" in stranger.err
    assert (posted.code, posted.json["accepted"], posted.json["refused"]) == (0, truth["events"], 0)
    assert (ended.code, ended.text.count("SES_EVENT_PROCESSED")) == (0, truth["events"])
    assert held(tmp_path / "sesight.db") == true(truth)


def test_what_to_do_is_one_thing(sesight: Sesight) -> None:
    """Neither a file nor --post, or both, is misuse."""
    neither = sesight("simulate")
    both = sesight("simulate", "a", "--post", "http://127.0.0.1:1/")
    assert (neither.code, both.code) == (2, 2)
