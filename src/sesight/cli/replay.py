"""replay: stored events fed in again, each counted once however often it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from sesight.app import App
    from sesight.cli import output
    from sesight.ingest.replay.replay import FrozenDay, Summary
    from sesight.ingest.transport.files import InputFile
    from sesight.ingest.transport.sqs import Queue, QueueSummary

MEANINGS = {
    "created": "the first event of a message to a recipient",
    "updated": "something new about one",
    "duplicate": "known already, counted once",
    "expired": "of a send day past retention: not counted",
    "ignored": "nothing to count",
    "confirmed": "a subscription of a topic",
    "quarantined": "not understood or not routed: sesight quarantine list",
    "refused": "could not be kept: make room in the quarantine, then replay again",
}
"""What each disposition says, to people."""


def replay(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE…",
            help="NDJSON, JSON, gzip, zstd, folders of them, archives s3://BUCKET/PREFIX, "
            "or - for standard input.",
            show_default=False,
        ),
    ] = None,
    from_queue: Annotated[
        str | None,
        typer.Option(
            "--from-queue",
            metavar="URL",
            help="An SQS queue instead of files: what is stored is deleted there.",
        ),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The stream of events whose set no stream has."),
    ] = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill", help="Take events past retention too, in as many runs as it takes."
        ),
    ] = False,
    log_events: Annotated[
        bool, typer.Option("--log-events", help="Write a SES_EVENT_PROCESSED line for each event.")
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Feed stored events in, of any supported envelope. Doing it twice changes nothing.

    A dead-letter queue is fed in by --from-queue once what was wrong is mended; it stops when the queue
    is empty.
    """
    import msgspec

    from sesight.app.aws import open_queue, region_of
    from sesight.cli import output
    from sesight.cli.session import (
        interruptible,
        load_settings,
        open_app,
        print_json,
        select_streams,
    )

    if bool(files) == (from_queue is not None):
        raise InvalidRequest("Name files to replay, or a queue with --from-queue.")
    region = region_of(load_settings(config, store))
    found = _sources(files or [], region)
    again = "replay the same files" if files else "replay the queue in five minutes"
    with (
        interruptible(f"Stopped. What was committed is kept: {again} to go on."),
        open_app(
            config,
            store,
            new=True,
            durability="normal",  # who asked hears of it at the end, which is durable
            backfill=backfill,
            journal=_put_lines if log_events else None,
        ) as app,
    ):
        if stream is not None:
            select_streams(app, stream)
        app.suppressions.inherit()  # before events reach lists of other streams than the last ones did
        with output.progress_bar("Replaying", shown=not as_json) as bar:
            summary = (
                _feed(app, found, stream, bar)
                if from_queue is None
                else _drain(app, open_queue(from_queue, region), stream, bar)
            )
    if as_json:
        print_json(msgspec.json.encode(summary))
    else:
        _show(summary)
    if files and not summary.has_events:
        print(_nothing(summary), file=sys.stderr)
        raise typer.Exit(1)
    left = getattr(summary, "left", 0)
    if left:
        print(
            f"{output.plural(left, 'message')} could not be stored, and left in the queue.",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    refused = summary.dispositions.get("refused")
    if refused:
        print(f"{output.plural(refused, 'event')} refused: {MEANINGS['refused']}.", file=sys.stderr)
    if summary.frozen:
        _say_frozen(summary.frozen)
    if refused or summary.frozen:
        raise typer.Exit(1)


def _say_frozen(days: list[FrozenDay]) -> None:
    """Name the send days that a backfill could not take, and why."""
    events = sum(each.events for each in days)
    print(
        f"{events:,} events were not taken: the store held their send days itself and their totals are "
        "final. All others were taken. The days are:",
        file=sys.stderr,
    )
    for each in days:
        print(f"  {each.stream} {each.day}: {each.events:,} events", file=sys.stderr)


def _nothing(summary: Summary) -> str:
    """Return the sentence about a replay that found no event."""
    if not summary.read:
        return "There is nothing in what was named: no event was read."
    quarantined = summary.dispositions.get("quarantined", 0)
    return f"No event of SES was found in {summary.read:,} bodies" + (
        ": sesight quarantine list says why." if quarantined else "."
    )


def _sources(paths: list[str], region: str | None) -> list[InputFile]:
    from sesight.app.aws import open_archive
    from sesight.ingest.transport.files import input_files
    from sesight.ingest.transport.s3 import is_archive

    return [
        source
        for path in paths
        for source in (
            open_archive(path, region).input_files() if is_archive(path) else input_files([path])
        )
    ]


def _feed(app: App, found: list[InputFile], stream: str | None, bar: output.ProgressBar) -> Summary:
    from sesight.ingest.replay.replay import replay as feed

    sizes = [source.size for source in found]
    total = sum(size for size in sizes if size is not None) if None not in sizes else None
    return feed(
        app.pipeline,
        found,
        app.known_sets,
        stream=stream,
        progress=lambda done, read: bar.update(done, total, f"{read:,} events"),
    )


def _drain(app: App, queue: Queue, stream: str | None, bar: output.ProgressBar) -> QueueSummary:
    from sesight.ingest.transport.sqs import drain

    total = queue.size()
    return drain(
        queue,
        app.pipeline,
        app.known_sets,
        stream=stream,
        progress=lambda done, read: bar.update(done, max(done, total), f"{read:,} events"),
    )


def _put_lines(lines: bytes) -> None:
    """Print the lines of a batch: whoever reads them may take the time."""
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


def _show(summary: Summary) -> None:
    from sesight.cli import output

    out = output.console()
    columns = [
        output.Column("Disposition"),
        output.Column("Events", number=True),
        output.Column("What it means", wraps=20),
    ]
    rows = [[name, f"{n:,}", MEANINGS.get(name, "")] for name, n in summary.dispositions.items()]
    out.print(output.table(columns, rows))
    if summary.reasons:
        columns = [output.Column("Reason", wraps=20), output.Column("Events", number=True)]
        reasons = [[output.plain_text(name), f"{n:,}"] for name, n in summary.reasons.items()]
        out.print(output.table(columns, reasons))
    out.print(
        f"{output.plural(summary.read, 'event')} in {summary.seconds:,.1f} s: "
        f"{summary.events_per_second:,.0f} a second."
    )
