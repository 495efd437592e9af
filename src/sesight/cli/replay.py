"""replay: stored events fed in again, each counted once however often it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sesight.cli.options import Config, Json, StoreUrl

if TYPE_CHECKING:
    from sesight.ingest.replay import Summary

MEANINGS = {
    "created": "the first event of a message to a recipient",
    "updated": "something new about one",
    "duplicate": "known already, counted once",
    "expired": "of a send day past retention, whose totals are final",
    "ignored": "nothing to count",
    "confirmed": "a subscription of a topic",
    "quarantined": "not understood or not routed: sesight quarantine list",
    "refused": "could not be kept: make room in the quarantine, then replay again",
}
"""What each disposition says, to people."""


def replay(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="NDJSON, JSON, gzip, zstd, folders of them, or - for standard input.",
            show_default=False,
        ),
    ],
    stream: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The stream of events whose set no stream has."),
    ] = None,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Take events of send days before the store's first.")
    ] = False,
    log_events: Annotated[
        bool, typer.Option("--log-events", help="Write a SES_EVENT_PROCESSED line for each event.")
    ] = False,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Feed stored events in, of any supported envelope. Doing it twice changes nothing."""
    import msgspec

    from sesight.cli import screen
    from sesight.cli.session import interruptible, opened, put, streams_of
    from sesight.ingest.files import sources
    from sesight.ingest.replay import replay as feed

    found = sources(files)
    sizes = [source.size for source in found]
    total = sum(size for size in sizes if size is not None) if None not in sizes else None
    with (
        interruptible("Stopped. What was committed is kept: replay the same files to go on."),
        opened(
            config,
            store,
            new=True,
            durability="normal",  # who asked hears of it at the end, which is durable
            backfill=backfill,
            journal=_put_lines if log_events else None,
        ) as app,
    ):
        if stream is not None:
            streams_of(app, stream)
        with screen.bar("Replaying", total, shown=not as_json) as bar:
            summary = feed(
                app.pipeline,
                found,
                app.known_sets,
                stream=stream,
                progress=lambda done, read: bar.at(done, total, f"{read:,} events"),
            )
    if as_json:
        put(msgspec.json.encode(summary))
    else:
        _show(summary)
    if summary.dispositions.get("refused"):
        print(
            f"{summary.dispositions['refused']:,} events were refused: {MEANINGS['refused']}.",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _put_lines(lines: bytes) -> None:
    """Print the lines of a batch: whoever reads them may take the time."""
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


def _show(summary: Summary) -> None:
    from sesight.cli import screen

    out = screen.screen()
    rows = screen.table("Disposition", "Events", "What it means", numbers=("Events",))
    for name, n in summary.dispositions.items():
        rows.add_row(name, f"{n:,}", MEANINGS.get(name, ""))
    out.print(rows)
    if summary.reasons:
        reasons = screen.table("Reason", "Events", numbers=("Events",))
        for name, n in summary.reasons.items():
            reasons.add_row(screen.plain(name), f"{n:,}")
        out.print(reasons)
    out.print(
        f"{summary.read:,} events in {summary.seconds:,.1f} s: "
        f"{summary.events_per_second:,.0f} a second."
    )
