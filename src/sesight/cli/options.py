"""The options that many commands have, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file; else SESIGHT_CONFIG, else sesight.toml in the working folder.",
        rich_help_panel="Everywhere",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Store, instead of the one in the settings: sqlite:///PATH or dynamodb://REGION.",
        rich_help_panel="Everywhere",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print JSON, for programs.", rich_help_panel="Everywhere"),
]
StreamOption = Annotated[
    str | None,
    typer.Option("--stream", metavar="ID", help="Only this stream, or several: a,b."),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, max=500, help="Rows on a page.", show_default=False)
]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Continue where an earlier answer ended."),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Sent from this UTC day or instant on."),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="Sent up to this UTC day, or before this instant."),
]
