"""The suppression list on the command line, as people and scripts use it."""

import csv
import io
from pathlib import Path

import pytest

from tests.cli.conftest import Sesight

ANA, BO = "ana@contoso.example", "bo@fabrikam.example"


def addresses(sesight: Sesight, *options: object) -> list[str]:
    found = sesight("suppress", "list", "--json", *options)
    assert found.code == 0, found
    return [row["address"] for row in found.json["data"]]


def test_add_check_remove_restore(sesight: Sesight) -> None:
    """An address is suppressed, found so, freed with a reason, and suppressed again when that is taken
    back; the exit code of a check says whether one may send.
    """
    added = sesight("suppress", "add", "Ana@Contoso.example", "--note", "by phone", "--json")
    assert (added.code, added.json["counts"]) == (0, {"added": 1})
    checked = sesight("suppress", "check", ANA, BO, "--json")
    assert (checked.code, [row["allowed"] for row in checked.json["data"]]) == (1, [False, True])
    assert sesight("suppress", "check", BO).code == 0
    assert addresses(sesight) == [ANA]
    shown = sesight("suppress", "list").text
    assert "by phone" in shown
    assert "outreach, finance" in shown
    removed = sesight("suppress", "remove", ANA, "--note", "a mistake", "--json")
    change = removed.json["changeId"]
    assert (removed.code, removed.json["counts"]) == (0, {"removed": 1})
    assert sesight("suppress", "check", ANA).code == 0
    assert addresses(sesight, "--ended") == [ANA]
    back = sesight("suppress", "remove", ANA, "--restore", change, "--json")
    assert back.json["counts"] == {"restored": 1}
    assert sesight("suppress", "check", ANA).code == 1
    [row] = sesight("suppress", "list", "--json").json["data"]
    assert row["suppressions"][0]["removals"][0]["note"] == "a mistake"
    assert sesight("recount").code == 0


def test_scopes_and_ends(sesight: Sesight) -> None:
    """A stream, a scope, a reason and an end are as asked for."""
    sesight("suppress", "add", ANA, "--stream", "finance", "--until", "2099-01-01")
    sesight("suppress", "add", "@fabrikam.example", "--scope", "marketing", "--reason", "complaint")
    [domain, person] = sesight("suppress", "list", "--json").json["data"]
    assert (domain["address"], domain["streams"], domain["reason"]) == (
        "@fabrikam.example",
        ["outreach"],
        "complaint",
    )
    assert (person["streams"], person["until"]) == (["finance"], "2099-01-02T00:00:00.000Z")
    assert sesight("suppress", "check", BO, "--stream", "outreach").code == 1
    assert sesight("suppress", "check", BO, "--stream", "finance").code == 0
    assert addresses(sesight, "--reason", "complaint") == ["@fabrikam.example"]
    assert addresses(sesight, "--prefix", "an") == [ANA]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", ANA, "--stream", "nope"], "no stream 'nope'"),
        (["add", ANA, "--until", "soon"], "no time"),
        (["add", ANA, "--reason", "nonsense"], "--reason must be one of `complaint`"),
        (["add"], "ADDRESS is missing."),
        (["remove", ANA], "Say why"),
        (["remove", ANA, "--note", "x", "--stream", "nope"], "no stream 'nope'"),
        (["check", ANA, "--stream", "nope"], "no stream 'nope'"),
        (["list", "--prefix", "ana@contoso.example"], "without the @"),
        (["import", "nowhere.csv"], "cannot be read"),
        (["import", "people.csv", "--stream", "nope"], "no stream 'nope'"),
        (["export", "people.csv"], "is there already"),
        (["export", "nowhere/people.csv"], "cannot be written"),
    ],
)
def test_misuse(sesight: Sesight, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """What makes no sense is refused in a sentence, without a trace, and changes nothing."""
    sesight("suppress", "add", BO)
    (tmp_path / "people.csv").write_text(ANA)
    ended = sesight("suppress", *arguments)
    assert ended.code in (1, 2)
    assert sentence in ended.err
    assert "Traceback" not in ended.err
    assert addresses(sesight) == [BO]


def test_no_address(sesight: Sesight) -> None:
    """Valid addresses are added, an invalid one is reported, and the exit code is 1."""
    ended = sesight("suppress", "add", ANA, "nobody")
    assert ended.code == 1
    assert "This is not an address" in ended.text
    assert addresses(sesight) == [ANA]


def test_import(sesight: Sesight, tmp_path: Path) -> None:
    """A file is tried, then taken; bad rows are told by line, all of them in a file; read again from
    standard input, it adds nothing.
    """
    text = "email,reason\n" + f"{ANA},bounced\n{BO},nonsense\n@x.example,\n" + "nobody,\n" * 30
    (tmp_path / "people.csv").write_text(text)
    tried = sesight("suppress", "import", "people.csv", "--dry-run")
    assert tried.code == 1
    assert "Nothing was changed" in tried.text
    assert sesight("suppress", "check", ANA).code == 0
    done = sesight("suppress", "import", "people.csv", "--bad", "bad.csv", "--json")
    assert done.code == 1
    assert done.json["counts"] == {"added": 2, "invalid": 31}
    bad = list(csv.reader(io.StringIO((tmp_path / "bad.csv").read_text())))
    assert (bad[0], bad[1][0], len(bad)) == (["line", "reason"], "3", 32)
    assert addresses(sesight) == ["@x.example", ANA]
    again = sesight("suppress", "import", "-", "--json", stdin=text.encode())
    assert again.json["counts"] == {"known": 2, "invalid": 31}
    shown = sesight("suppress", "import", "people.csv").text
    assert "11 more" in shown
    wrong = sesight("suppress", "import", "-", stdin=b"email\n\xff\n")
    assert (wrong.code, "Line 2" in wrong.err) == (2, True)


@pytest.mark.parametrize("file", ["people.csv", "-"])
def test_a_stray_quote(sesight: Sesight, tmp_path: Path, file: str) -> None:
    """Of a file with a stray quote nothing is imported, and the line where it opened is told; asked
    for, every row but that one is.
    """
    text = f'email\n{ANA}\n"cy@x.example\n{BO}\n'
    (tmp_path / "people.csv").write_text(text)
    refused = sesight("suppress", "import", file, stdin=text.encode())
    assert (refused.code, "Line 3: A quote opens" in refused.err) == (2, True)
    assert addresses(sesight) == []
    done = sesight("suppress", "import", file, "--partial", "--json", stdin=text.encode())
    assert (done.code, done.json["counts"]) == (1, {"added": 2, "invalid": 1})
    assert [each["line"] for each in done.json["bad"]] == [3]
    assert addresses(sesight) == sorted([ANA, BO])


def test_round_trip(sesight: Sesight, tmp_path: Path) -> None:
    """What is exported is imported into another store, and exported from there the same."""
    sesight("suppress", "add", "=cmd@x.example", "@contoso.example", "--note", "=1+1")
    sesight("suppress", "add", BO, "--stream", "finance", "--reason", "unsubscribed")
    assert sesight("suppress", "export", "list.csv").text == "list.csv has 3 rows.\n"
    printed = sesight("suppress", "export").out
    assert printed == (tmp_path / "list.csv").read_bytes()
    rows = list(csv.reader(io.StringIO(printed.decode())))
    assert [row[0] for row in rows[1:]] == ["'=cmd@x.example", "'@contoso.example", BO]
    other = ("--store", f"sqlite:///{tmp_path}/other.db")
    done = sesight("suppress", "import", "list.csv", "--json", *other)
    assert (done.code, done.json["counts"]) == (0, {"added": 3})
    assert sesight("suppress", "export", *other).out == printed
    only = sesight("suppress", "export", "--stream", "finance", "--reason", "unsubscribed").text
    assert only.count("\r\n") == 2
