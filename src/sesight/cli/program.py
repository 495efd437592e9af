"""The program: every command under its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from sesight import __version__
from sesight.cli.backup import backup, restore
from sesight.cli.campaigns import campaigns, stats
from sesight.cli.demo import demo
from sesight.cli.doctor import doctor
from sesight.cli.messages import recipient, tracking
from sesight.cli.quarantine import quarantine
from sesight.cli.recount import reclassify, recount
from sesight.cli.replay import replay
from sesight.cli.retention import retention
from sesight.cli.send import send
from sesight.cli.serve import serve
from sesight.cli.simulate import simulate
from sesight.cli.stream import stream
from sesight.cli.suppress import suppress
from sesight.cli.templates import templates

program = typer.Typer(
    name="sesight",
    help="Email analytics for Amazon SES that you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SEE = "See"
RUN = "Run"
KEEP = "Keep in order"


def _version(asked: bool) -> None:
    if asked:
        print(f"sesight {__version__}")
        raise typer.Exit


@program.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Email analytics for Amazon SES that you own."""


def _add(panel: str, *commands: Callable[..., None]) -> None:
    for command in commands:
        program.command(rich_help_panel=panel)(command)


_add(RUN, demo, serve, replay, simulate)
_add(SEE, campaigns, stats, tracking, recipient)
_add(KEEP, recount, reclassify, backup, restore, doctor)
program.add_typer(send, name="send", rich_help_panel=RUN)
program.add_typer(stream, name="stream", rich_help_panel=RUN)
program.add_typer(suppress, name="suppress", rich_help_panel=KEEP)
program.add_typer(quarantine, name="quarantine", rich_help_panel=KEEP)
program.add_typer(retention, name="retention", rich_help_panel=KEEP)
program.add_typer(templates, name="templates", rich_help_panel=RUN)


def _unbroken(of: typer.Typer) -> None:
    """Have each paragraph of help be laid out as wide as the terminal is, not as its source."""
    for command in of.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for group in of.registered_groups:
        if group.typer_instance is not None:
            _unbroken(group.typer_instance)


_unbroken(program)
