"""quarantine: what was trusted but not understood or not routed, and its second chance."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from sesight.cli.options import ConfigOption, JsonOption, LimitOption, StoreOption
from sesight.domain.errors import NotFound

quarantine = typer.Typer(
    help="See what was trusted but not understood, and try it again.", no_args_is_help=True
)

QuarantineReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="CODE", help="Only bodies of this reason.")
]


@quarantine.command("list")
def list_bodies(
    reason: QuarantineReasonOption = None,
    limit: LimitOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List quarantined bodies, the newest first."""
    from sesight.cli import output
    from sesight.cli.session import open_app, run_query
    from sesight.services.quarantine_list import list_quarantine

    with open_app(config, store) as app:
        found = run_query(
            app, lambda services: list_quarantine(services, reason, limit), as_json=as_json
        )
    if found is None:
        return
    out = output.console()
    if not found["data"]:
        out.print(
            "The quarantine is empty."
            if reason is None
            else f"Nothing is quarantined as {output.plain_text(reason)}."
        )
        return
    rows = [
        [
            each["id"][:12],
            output.format_time(each["at"]),
            output.plain_text(each["reason"]),
            output.plain_text(each["name"]),
            f"{each['bytes']:,}",
            output.plain_text(each["detail"]),
        ]
        for each in found["data"]
    ]
    columns = [
        output.Column("Id"),
        output.Column("At (UTC)", 2),
        output.Column("Reason"),
        output.Column("Configuration set", 3),
        output.Column("Bytes", 4, number=True),
        output.Column("Why", 1, wraps=24),
    ]
    out.print(output.table(columns, rows))
    bodies = output.plural(found["total"]["value"], "body")
    out.print(f"{len(found['data']):,} of {bodies}.")


@quarantine.command()
def show(
    of: Annotated[str, typer.Argument(metavar="ID", help="The body's id, or how it begins.")],
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one body with all that is known of it. It may hold addresses."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import open_app, print_json
    from sesight.domain.timestamps import iso
    from sesight.services.quarantine import quarantined_bodies

    with open_app(config, store) as app:
        found = [held for held in quarantined_bodies(app.store) if held.id.startswith(of)]
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
        print_json(msgspec.json.encode({**known, "body": text}))
        return
    for name, value in known.items():
        output.console().print(f"{name:<10}", output.plain_text(value))
    print()
    sys.stdout.buffer.write(held.body if not sys.stdout.isatty() else _printable(text).encode())
    print()


def _printable(text: str) -> str:
    """Return text that can do nothing to a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


@quarantine.command()
def retry(
    reason: QuarantineReasonOption = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill", help="Take events past retention too, as `replay --backfill` does."
        ),
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Feed quarantined bodies in again, and let those go that are taken now."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app, print_json
    from sesight.services.quarantine import retry as again

    with (
        interruptible("Stopped. What was taken is kept: retry again for the rest."),
        open_app(config, store, backfill=backfill) as app,
        output.progress_bar("Trying again", shown=not as_json) as bar,
    ):
        found = again(
            app.store,
            app.pipeline,
            app.known_sets,
            reason,
            progress=bar.update,
        )
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    out = output.console()
    out.print(
        f"Tried again: {output.plural(found.bodies, 'body')}. Taken now: {found.released:,}; left in the "
        f"quarantine: {found.bodies - found.released:,}."
    )
    for name, n in found.reasons.items():
        out.print(f"  {n:,} × {name}", markup=False)
