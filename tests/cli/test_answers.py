"""The commands that answer questions say what the API says."""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.cli.conftest import Sesight, Start, Traffic, environment

_NOW = re.compile(rb'"(generatedAt|requestId)":"[^"]*"')


def _get(url: str, path: str, **query: Any) -> bytes:
    try:
        with urllib.request.urlopen(f"{url}/api{path}?{urlencode(query)}", timeout=30) as answer:
            return _NOW.sub(b"", answer.read())
    except urllib.error.HTTPError as problem:
        with problem:
            return _NOW.sub(b"", problem.read())


@pytest.fixture
def filled(sesight: Sesight, traffic: Traffic) -> Sesight:
    """Return the command, over a store with traffic."""
    assert sesight("replay", traffic.file, "--store", "sqlite:///sesight.db").code == 0
    return sesight


def test_answers_are_those_of_the_api(
    sesight: Sesight, start: Start, traffic: Traffic, tmp_path: Path
) -> None:
    """--json prints what the API answers over HTTP for the same store, byte for byte."""
    assert sesight("replay", traffic.file, "--store", "sqlite:///sesight.db").code == 0
    url = start("serve", "--port", 0).until(r"listens on (\S+)")

    def said(*arguments: object) -> bytes:
        ended = sesight(*arguments, "--json")
        assert (ended.code, ended.err, ended.out[-1:]) == (0, "", b"\n")
        return _NOW.sub(b"", ended.out[:-1])

    page = sesight("tracking", "--stream", "outreach", "--limit", 1, "--json").json
    record = page["data"][0]
    campaign, to, rid = record["campaign"], record["recipient"], record["recipientId"]
    questions: dict[str, tuple[tuple[object, ...], tuple[str, dict[str, object]]]] = {
        "campaigns": (
            ("campaigns", "--sort", "-sent", "--limit", 3),
            ("/campaigns", {"sort": "-sent", "limit": 3}),
        ),
        "stats": (
            ("stats", "outreach", campaign),
            (f"/campaigns/outreach/{campaign}", {"step": "age"}),
        ),
        "tracking of a stream": (
            ("tracking", "--stream", "outreach", "--email", to.upper()),
            ("/outreach/tracking-data-ses", {"email": to}),
        ),
        "tracking of all": (
            ("tracking", "--email", to, "--limit", 5),
            ("/messages", {"recipient": rid, "limit": 5}),
        ),
        "a page further on": (
            ("tracking", "--stream", "outreach", "--cursor", page["nextCursor"]),
            ("/outreach/tracking-data-ses", {"cursor": page["nextCursor"]}),
        ),
        "recipient": (("recipient", to), (f"/recipients/{rid}", {})),
        "quarantine": (("quarantine", "list"), ("/quarantine", {})),
        "suppressions": (("suppress", "list", "--limit", 2), ("/suppressions", {"limit": 2})),
    }
    for name, (arguments, (path, query)) in questions.items():
        # asked before and after: a clock may strike between the two, and a campaign settle
        before = _get(url, path, **query)
        answer = said(*arguments)
        assert answer in (before, _get(url, path, **query)), name


def test_problems_are_those_of_the_api(sesight: Sesight, start: Start, traffic: Traffic) -> None:
    """--json prints the problem that the API answers, but for its request id, and ends with 1 or 2."""
    assert sesight("replay", traffic.file, "--store", "sqlite:///sesight.db").code == 0
    url = start("serve", "--port", 0).until(r"listens on (\S+)")
    questions: list[tuple[int, tuple[object, ...], str, dict[str, object]]] = [
        (1, ("stats", "outreach", "none"), "/campaigns/outreach/none", {"step": "age"}),
        (2, ("campaigns", "--state", "lost"), "/campaigns", {"state": "lost"}),
        (2, ("campaigns", "--sort", "colour"), "/campaigns", {"sort": "colour"}),
        (2, ("tracking", "--outcome", "lost"), "/messages", {"outcome": "lost"}),
        (2, ("tracking", "--stream", "lost"), "/messages", {"stream": "lost"}),
        (2, ("tracking", "--cursor", "x"), "/messages", {"cursor": "x"}),
        (2, ("quarantine", "list", "--reason", "lost"), "/quarantine", {"reason": "lost"}),
    ]
    for code, arguments, path, query in questions:
        ended = sesight(*arguments, "--json")
        assert (ended.code, _NOW.sub(b"", ended.out[:-1])) == (code, _get(url, path, **query))


def test_no_web_application_is_started(filled: Sesight, tmp_path: Path) -> None:
    """A command that reads a store calls the service: it does not import the web framework."""
    assert filled("suppress", "add", "ana@example.org").code == 0
    program = (
        "import sys; from sesight.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: print('litestar' in sys.modules, ended.code)"
    )
    for command in ("campaigns", "tracking", "quarantine list", "suppress list"):
        ended = subprocess.run(
            [sys.executable, "-c", program, *command.split(), "--json"],
            capture_output=True,
            cwd=tmp_path,
            env=environment(),
            timeout=60,
            check=False,
        )
        assert ended.stdout.splitlines()[-1:] == [b"False None"], ended.stderr


def test_people_see_n_of_m(filled: Sesight) -> None:
    """A rate is never a share alone, and what cannot be said is a dash."""
    campaigns = filled("campaigns")
    campaign = filled("campaigns", "--limit", 1, "--json").json["data"][0]
    stats = filled("stats", campaign["stream"], campaign["campaign"])
    delivery = campaign["rates"]["delivery"]
    said = f"{delivery['numerator']:,} of {delivery['denominator']:,}"
    assert (campaigns.code, stats.code) == (0, 0)
    assert said in campaigns.text
    assert said in stats.text
    assert "records of all " in stats.text
    for shares in (campaigns.text, stats.text):
        assert len(re.findall(r"\d %", shares)) == len(re.findall(r" of [\d,]+ · [\d.]+ %", shares))


def test_people_see_records(filled: Sesight) -> None:
    """Records come as rows with outcome and last event; a person with whether we may mail them."""
    bounced = filled("tracking", "--outcome", "bounced", "--limit", 1, "--json").json["data"][0]
    tracking = filled("tracking", "--outcome", "bounced", "--limit", 1)
    person = filled("recipient", bounced["recipient"])
    assert bounced["recipient"] in tracking.text
    assert "bounced: " in tracking.text
    assert "More: --cursor " in tracking.text
    assert "│ no " in person.text


def test_unknown_things(filled: Sesight) -> None:
    """What does not exist ends with 1, what makes no sense with 2, each with a sentence."""
    gone = filled("stats", "outreach", "no-such-campaign")
    wrong = filled("tracking", "--outcome", "vanished")
    unknown = filled("campaigns", "--colour")
    no_address = filled("recipient", "somebody")
    assert (gone.code, gone.err) == (
        1,
        "There is no campaign with the id 'no-such-campaign' in outreach.\n",
    )
    assert (wrong.code, wrong.err.splitlines()[0]) == (2, "outcome: there is no 'vanished'.")
    assert (unknown.code, "--colour" in unknown.err) == (2, True)
    assert (no_address.code, no_address.err) == (
        2,
        (
            "'somebody' is not an address, and nothing is recorded under this spelling: "
            "write name@domain.\n"
        ),
    )


def test_no_store(sesight: Sesight, tmp_path: Path) -> None:
    """A question to a store that is not there makes none."""
    ended = sesight("campaigns", "--store", "sqlite:///misspelt.db")
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err.startswith("There is no store misspelt.db yet.")
    assert list(tmp_path.iterdir()) == []


def test_version_and_help(sesight: Sesight) -> None:
    """--version and --help answer; no command at all is misuse."""
    version, about, nothing = sesight("--version"), sesight("--help"), sesight()
    assert (version.code, version.text.startswith("sesight ")) == (0, True)
    assert (about.code, "Keep in order" in about.text) == (0, True)
    assert nothing.code == 2
