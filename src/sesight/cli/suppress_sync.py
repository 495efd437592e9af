"""suppress sync: SES's own suppression list of the account and ours, brought together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sesight.cli.options import ConfigOption, JsonOption, StoreOption

if TYPE_CHECKING:
    from sesight.send.suppression_sync import SyncDifference, SyncResult

SHOWN = 20
"""Differences that are shown to people; `--json` has all."""

MEANINGS = {
    "taken": ("would be suppressed here too", "suppressed here too"),
    "put": ("would be put on SES's list", "put on SES's list"),
    "lifted": ("removed here, still on SES's list", "removed here, still on SES's list"),
    "unreadable": ("on SES's list, but no address", "on SES's list, but no address"),
    "refused": ("", "not taken by SES"),
}
"""What each difference says to people: before it is applied, and after."""


def sync(
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; otherwise it is only shown what would be done.")
    ] = False,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="REGION", help="The AWS region, if not the settings'."),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring SES's suppression list of the account and ours together: add to each what the other has.

    Nothing is taken off either. SES is told of what all streams suppress for good; what it lists is
    suppressed in all streams. One call a second, as AWS allows: a long list takes its time. Stopped, it
    may simply be started again.
    """
    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app

    rows: list[SyncDifference] = []
    stopped = "Stopped. What was done is kept; the same command goes on."
    with (
        open_app(config, store, new=True) as app,
        interruptible(stopped),
        output.progress_bar("Comparing", shown=not as_json) as bar,
    ):

        def told(row: SyncDifference) -> None:
            rows.append(row)
            bar.update(len(rows), status=f"{len(rows):,} differences")

        done = app.sending.sync(told, apply=apply, region=region)
    _show(done, rows, applied=apply, as_json=as_json)
    if "refused" in done.differences:
        raise typer.Exit(1)


def _show(done: SyncResult, rows: list[SyncDifference], *, applied: bool, as_json: bool) -> None:
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import print_json

    if as_json:
        print_json(
            msgspec.json.encode(
                {
                    "applied": applied,
                    "listed": done.listed,
                    "counts": done.differences,
                    "differences": rows,
                }
            )
        )
        return
    out = output.console()
    if not rows:
        print(f"SES lists {done.listed:,}: both lists say the same.")
        return
    columns = [
        output.Column("Addresses", number=True),
        output.Column("What about them", wraps=16),
    ]
    counts = [[f"{n:,}", MEANINGS[name][applied]] for name, n in done.differences.items()]
    out.print(output.table(columns, counts))
    columns = [
        output.Column("Address", wraps=20),
        output.Column("SES's reason", 2),
        output.Column("What about it", wraps=16),
        output.Column("Code", 1),
    ]
    addresses = [
        [
            output.plain_text(row.address),
            row.reason,
            MEANINGS[row.difference][applied],
            output.plain_text(row.code),
        ]
        for row in rows[:SHOWN]
    ]
    out.print(output.table(columns, addresses))
    if len(rows) > SHOWN:
        out.print(f"… and {len(rows) - SHOWN:,} more: --json has all.")
    if not applied:
        out.print("Nothing was changed: --apply does it.")
