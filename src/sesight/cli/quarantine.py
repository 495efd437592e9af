"""quarantine: what was trusted but not understood or not routed, and its second chance."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from sesight.cli.options import Config, Json, Limit, StoreUrl
from sesight.domain.errors import NotFound

quarantine = typer.Typer(
    help="See what was trusted but not understood, and try it again.", no_args_is_help=True
)

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="CODE", help="Only bodies of this reason.")
]


@quarantine.command("list")
def list_bodies(
    reason: Reason = None,
    limit: Limit = None,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """List quarantined bodies, the newest first."""
    from sesight.cli import output as screen
    from sesight.cli.session import answer, opened
    from sesight.services.quarantine_list import list_quarantine

    with opened(config, store) as app:
        found = answer(
            app, lambda services: list_quarantine(services, reason, limit), as_json=as_json
        )
    if found is None:
        return
    out = screen.screen()
    if not found["data"]:
        out.print(
            "The quarantine is empty."
            if reason is None
            else f"Nothing is quarantined as {screen.plain(reason)}."
        )
        return
    rows = [
        [
            each["id"][:12],
            screen.moment(each["at"]),
            screen.plain(each["reason"]),
            screen.plain(each["name"]),
            f"{each['bytes']:,}",
            screen.plain(each["detail"]),
        ]
        for each in found["data"]
    ]
    columns = [
        screen.Column("Id"),
        screen.Column("At (UTC)", 2),
        screen.Column("Reason"),
        screen.Column("Configuration set", 3),
        screen.Column("Bytes", 4, number=True),
        screen.Column("Why", 1, wraps=24),
    ]
    out.print(screen.fitted(columns, rows, out.width))
    bodies = screen.counted(found["total"]["value"], "body")
    out.print(f"{len(found['data']):,} of {bodies}.")


@quarantine.command()
def show(
    of: Annotated[str, typer.Argument(metavar="ID", help="The body's id, or how it begins.")],
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Show one body with all that is known of it. It may hold addresses."""
    import msgspec

    from sesight.cli import output as screen
    from sesight.cli.session import opened, put
    from sesight.domain.timestamps import iso
    from sesight.services.quarantine import every

    with opened(config, store) as app:
        found = [held for held in every(app.store) if held.id.startswith(of)]
    if len(found) != 1:
        raise NotFound(
            f"No body's id begins with {of!r}: see sesight quarantine list."
            if not found
            else f"{len(found)} bodies' ids begin with {of!r}: write more of it."
        )
    held = found[0]
    known: dict[str, Any] = {
        "id": held.id,
        "reason": held.reason,
        "detail": held.detail,
        "at": iso(held.at),
        "messageId": held.message_id,
        "name": held.name,
    }
    text = held.body.decode("utf-8", "replace")
    if as_json:
        put(msgspec.json.encode({**known, "body": text}))
        return
    for name, value in known.items():
        screen.screen().print(f"{name:<10}", screen.plain(value))
    print()
    sys.stdout.buffer.write(held.body if not sys.stdout.isatty() else _printable(text).encode())
    print()


def _printable(text: str) -> str:
    """Return text that can do nothing to a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


@quarantine.command()
def retry(
    reason: Reason = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill", help="Take events past retention too, as `replay --backfill` does."
        ),
    ] = False,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Feed quarantined bodies in again, and let those go that are taken now."""
    import msgspec

    from sesight.cli import output as screen
    from sesight.cli.session import interruptible, opened, put
    from sesight.services.quarantine import retry as again

    with (
        interruptible("Stopped. What was taken is kept: retry again for the rest."),
        opened(config, store, backfill=backfill) as app,
        screen.bar("Trying again", shown=not as_json) as bar,
    ):
        found = again(
            app.store,
            app.pipeline,
            app.known_sets,
            reason,
            progress=bar.at,
        )
    if as_json:
        put(msgspec.json.encode(found))
        return
    out = screen.screen()
    out.print(
        f"Tried again: {screen.counted(found.bodies, 'body')}. Taken now: {found.released:,}; left in the "
        f"quarantine: {found.bodies - found.released:,}."
    )
    for name, n in found.reasons.items():
        out.print(f"  {n:,} × {name}", markup=False)
