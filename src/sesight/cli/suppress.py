"""suppress: whom streams must not send to."""

from __future__ import annotations

import typer

from sesight.cli.account_list import sync

suppress = typer.Typer(name="suppress", help="Whom streams must not send to.", no_args_is_help=True)
suppress.command()(sync)


@suppress.callback()
def _group() -> None:
    """Whom streams must not send to."""
