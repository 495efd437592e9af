"""Whoever misuses a command is told in one line what would do and where the help is, and it ends with 2."""

import pytest

from sesight import cli


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("campaign", "No such command 'campaign'. Did you mean 'campaigns'? See sesight --help."),
        (
            "tracking --limti 3",
            "There is no option --limti here. Did you mean --limit? See sesight tracking --help.",
        ),
        ("tracking --limit", "Option '--limit' requires an argument. See sesight --help."),
        (
            "tracking --limit 0",
            "--limit must be a whole number from 1 to 500. See sesight tracking --help.",
        ),
        (
            "quarantine list --limit many",
            "--limit must be a whole number from 1 to 500. See sesight quarantine list --help.",
        ),
        ("demo --rate -3", "--rate must be a number from 0 to 200. See sesight demo --help."),
        ("stats outreach", "CAMPAIGN is missing. See sesight stats --help."),
        ("suppress add", "ADDRESS is missing. See sesight suppress add --help."),
        (
            "send finance --month 2026-10",
            "--statements is missing. See sesight send finance --help.",
        ),
        ("recount all", "There are too many arguments: all. See sesight recount --help."),
        (
            "stats outreach c --step year",
            "--step must be one of `age`, `day`. See sesight stats --help.",
        ),
        (
            "suppress add a@example.org --scope here",
            "--scope must be one of `stream`, `marketing`, `all`. See sesight suppress add --help.",
        ),
        ("serve --port 0 --intake nowhere", "'nowhere' is not HOST:PORT. Example: 127.0.0.1:8026."),
        ("simulate", "Name a FILE to write, or --post URL, one of both."),
        ("replay", "Name files to replay, or a queue with --from-queue."),
    ],
)
def test_misuse(
    command: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path,
) -> None:
    """It is said in our words, in one line without a box, on standard error."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(command.split())
    printed = capsys.readouterr()
    assert (end.value.code, printed.out, printed.err) == (2, "", f"{sentence}\n")


@pytest.mark.parametrize("group", ["", "suppress", "templates"])
def test_nothing_asked(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A group of commands alone prints its help."""
    with pytest.raises(SystemExit) as end:
        cli.main(group.split())
    assert end.value.code == 2
    assert "Usage: sesight" in capsys.readouterr().out
