"""suppress sync: SES's own suppression list of the account and ours, brought together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sesight.cli.options import Config, Json, StoreUrl

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
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Bring SES's suppression list of the account and ours together: add to each what the other has.

    Nothing is taken off either. SES is told of what all streams suppress for good; what it lists is
    suppressed in all streams. One call a second, as AWS allows: a long list takes its time. Stopped, it
    may simply be started again.
    """
    from sesight.cli import output as screen
    from sesight.cli.session import interruptible, opened

    rows: list[SyncDifference] = []
    stopped = "Stopped. What was done is kept; the same command goes on."
    with (
        opened(config, store, new=True) as app,
        interruptible(stopped),
        screen.bar("Comparing", shown=not as_json) as bar,
    ):

        def told(row: SyncDifference) -> None:
            rows.append(row)
            bar.at(len(rows), told=f"{len(rows):,} differences")

        done = app.sending.sync(told, apply=apply, region=region)
    _show(done, rows, applied=apply, as_json=as_json)
    if "refused" in done.differences:
        raise typer.Exit(1)


def _show(done: SyncResult, rows: list[SyncDifference], *, applied: bool, as_json: bool) -> None:
    import msgspec

    from sesight.cli import output as screen
    from sesight.cli.session import put

    if as_json:
        put(
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
    out = screen.screen()
    if not rows:
        print(f"SES lists {done.listed:,}: both lists say the same.")
        return
    counts = screen.table("Addresses", "What about them", numbers=("Addresses",))
    for difference, n in done.differences.items():
        counts.add_row(f"{n:,}", MEANINGS[difference][applied])
    out.print(counts)
    some = screen.table("Address", "SES's reason", "What about it", "Code")
    for row in rows[:SHOWN]:
        some.add_row(
            screen.plain(row.address),
            row.reason,
            MEANINGS[row.difference][applied],
            screen.plain(row.code),
        )
    out.print(some)
    if len(rows) > SHOWN:
        out.print(f"… and {len(rows) - SHOWN:,} more: --json has all.")
    if not applied:
        out.print("Nothing was changed: --apply does it.")
