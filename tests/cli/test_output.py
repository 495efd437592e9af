"""Tables fit the terminal, whatever its width: what there is no room for is left out by name."""

import os
import subprocess
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console

from sesight import cli
from sesight.cli.output import Column, plural, table
from sesight.cli.program import program
from tests.cli.conftest import COMMAND, DEADLINE, Sesight, Traffic, environment

COLUMNS = (
    Column("Id"),
    Column("Name", 1, wraps=6),
    Column("Note (UTC)", 3),
    Column("Count", 2, number=True),
)
ROWS = [["1", "a long name", "said of it", "1,000"], ["22", "short", "—", "2"]]


def printed(width: int, rows: list[list[str]] = ROWS) -> list[str]:
    """Return the lines of a table of some width."""
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(table(COLUMNS, rows, width))
    return capture.get().splitlines()


def heads(lines: list[str]) -> list[str]:
    return lines[1].strip("┃ ").split()


def test_all_fits() -> None:
    """Where there is room every column is shown, in one line a row, without a caption."""
    lines = printed(80)
    assert len(lines) == 6
    assert lines[3].split("│")[1:-1] == [" 1  ", " a long name ", " said of it ", " 1,000 "]


@pytest.mark.parametrize("width", range(12, 60))
def test_never_wider(width: int) -> None:
    """No line is wider than the terminal, and no word of a row is lost unless its column is."""
    lines = printed(width)
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()).count("22") == 1


def test_what_goes_first() -> None:
    """The column of the highest rank goes first, then text is wrapped; what is missing is named."""
    assert heads(printed(38)) == ["Id", "┃", "Name", "┃", "Note", "(UTC)", "┃", "Count"]
    assert heads(printed(33)) == ["Id", "┃", "Name", "┃", "Count"]
    caption = "A wider window shows note (UTC) too; --json has everything."
    assert caption in " ".join(" ".join(printed(33)).split())
    assert heads(printed(20)) == ["Id", "┃", "Name"]
    assert "note (UTC), count" in " ".join(" ".join(printed(20)).split())


def test_nothing_to_show() -> None:
    """A column that is empty in every row is not shown, nor named."""
    lines = printed(80, [["1", "a", "—", "1"]])
    assert heads(lines) == ["Id", "┃", "Name", "┃", "Count"]
    assert len(lines) == 5


def test_plural() -> None:
    """One is singular, none and many are plural."""
    told = [plural(n, noun) for noun in ("topic", "body", "send day") for n in (0, 1, 2_000)]
    assert told == [
        *("0 topics", "1 topic", "2,000 topics", "0 bodies", "1 body", "2,000 bodies"),
        *("0 send days", "1 send day", "2,000 send days"),
    ]


def run(folder: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        cwd=folder,
        env={**environment(), **more},
        timeout=DEADLINE,
        check=False,
    )


@pytest.mark.parametrize("width", [80, 100, 140])
def test_commands_fit(sesight: Sesight, traffic: Traffic, tmp_path: Path, width: int) -> None:
    """Every table of records, campaigns and suppressions fits, and a message id is whole or not there."""
    assert sesight("replay", traffic.file).code == 0
    page = sesight("tracking", "--outcome", "bounced", "--json").json["data"]
    someone, campaign = page[0]["recipient"], page[0]["campaign"]
    for command in (
        ["campaigns"],
        ["stats", page[0]["stream"], campaign],
        ["stats", page[0]["stream"], campaign, "--step", "day"],
        ["tracking", "--limit", 20],
        ["recipient", someone],
        ["suppress", "list"],
        ["suppress", "check", someone, "nobody@example.org"],
    ):
        done = run(tmp_path, *command, COLUMNS=str(width))
        lines = done.stdout.decode().splitlines()
        table = [line for line in lines if line[:1] in set("┏┃┡│└")]
        assert (done.stderr, max(map(cell_len, table)) <= width) == (b"", True), command
        ids = [each for line in table for each in line.split() if "-000000" in each]
        assert all(len(each) == len(page[0]["messageId"]) for each in ids)


def test_ascii(sesight: Sesight, traffic: Traffic, tmp_path: Path) -> None:
    """Where nothing but ASCII can be written, tables, help and errors are, and there is no trace."""
    assert sesight("replay", traffic.file).code == 0
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    for code, *command in ((0, "campaigns"), (0, "tracking", "--help"), (2, "recipient", "ä–")):
        done = run(tmp_path, *command, **ascii_only)
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
        (done.stdout + done.stderr).decode("ascii")


def commands(of: typer.main.TyperGroup) -> list[typer.main.TyperCommand]:
    found = []
    for command in of.commands.values():
        found += commands(command) if hasattr(command, "commands") else [command]
    return found


def test_json_everywhere() -> None:
    """Every command has --json, as the page of the command line promises."""
    lacking = [
        each.name
        for each in commands(typer.main.get_command(program))
        if not any("--json" in param.opts for param in each.params)
    ]
    assert lacking == []


def test_help_has_no_broken_lines() -> None:
    """A paragraph of help is one line, which the terminal breaks."""
    broken = [
        each.name
        for each in commands(typer.main.get_command(program))
        if any("\n" in paragraph for paragraph in each.help.split("\n\n"))
    ]
    assert broken == []


def test_completion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell can complete commands."""
    monkeypatch.setitem(os.environ, "_SESIGHT_COMPLETE", "complete_bash")
    monkeypatch.setitem(os.environ, "COMP_WORDS", "sesight camp")
    monkeypatch.setitem(os.environ, "COMP_CWORD", "1")
    with pytest.raises(SystemExit) as end:
        cli.main([])
    assert (end.value.code or 0, capsys.readouterr().out.split()) == (0, ["campaigns"])


def test_stream_json(sesight: Sesight) -> None:
    """Pausing and resuming say in JSON what the stream does now."""
    assert sesight("stream", "pause", "outreach", "--json").json == {
        "stream": "outreach",
        "state": "paused",
    }
    assert sesight("stream", "resume", "outreach", "--json").json["state"] == "sending"


def test_export_json(sesight: Sesight) -> None:
    """An export tells in JSON where it is and how long; without a file it is the CSV itself."""
    assert sesight("suppress", "add", "a@example.org").code == 0
    assert sesight("suppress", "export", "out.csv", "--json").json == {"path": "out.csv", "rows": 1}
    misused = sesight("suppress", "export", "--json")
    assert (misused.code, misused.err) == (2, "--json tells of a FILE: name one.\n")
