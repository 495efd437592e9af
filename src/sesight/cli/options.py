"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file. Default: SESIGHT_CONFIG, else sesight.toml in the working folder.",
        rich_help_panel="Everywhere",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Store to use instead of the one in the settings: sqlite:///PATH or dynamodb://REGION.",
        rich_help_panel="Everywhere",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print JSON.", rich_help_panel="Everywhere"),
]
StreamOption = Annotated[
    str | None,
    typer.Option(
        "--stream", metavar="ID", help="Only this stream, or a comma-separated list of streams."
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, max=500, help="Maximum number of rows.", show_default=False),
]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Cursor printed by the previous page."),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="TIME", help="Only messages sent on or after this UTC day or instant."
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TIME",
        help="Only messages sent up to the end of this UTC day, or before this instant.",
    ),
]
