"""suppress: whom streams must not send to: add, remove, check, list, import, export, sync."""

from __future__ import annotations

import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from sesight import private_file
from sesight.cli.options import (
    ConfigOption,
    CursorOption,
    JsonOption,
    LimitOption,
    StoreOption,
    StreamOption,
)
from sesight.cli.suppress_sync import sync
from sesight.domain.errors import InvalidRequest, SettingsError, StoreUnavailable
from sesight.domain.suppression.item import SuppressionReason, SuppressionScope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sesight.domain.suppression.manual import SuppressionResult
    from sesight.services import Services

SHOWN = 20
"""Addresses and bad rows that are shown to people one by one."""

REST = "-"
"""What stands for standard input."""

suppress = typer.Typer(name="suppress", help="Whom streams must not send to.", no_args_is_help=True)

AddressesArgument = Annotated[
    list[str],
    typer.Argument(metavar="ADDRESS...", help="Addresses, or whole domains as @example.com."),
]
OneStreamOption = Annotated[
    str | None, typer.Option("--stream", metavar="ID", help="The stream it is about.")
]
ReasonOption = Annotated[SuppressionReason, typer.Option("--reason", help="Why.")]
ScopeOption = Annotated[
    SuppressionScope | None,
    typer.Option(
        "--scope",
        help="How far it reaches. Else as the settings say of the reason; for manual and import the "
        "stream named, else all.",
    ),
]


@suppress.command()
def add(
    addresses: AddressesArgument,
    stream: OneStreamOption = None,
    scope: ScopeOption = None,
    reason: ReasonOption = SuppressionReason.MANUAL,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="A UTC day, or an instant.")
    ] = None,
    note: Annotated[str | None, typer.Option("--note", help="A few words on it.")] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suppress addresses, or whole domains. Exits with 1 if one of them is no address."""
    from sesight.cli.session import open_app
    from sesight.domain.suppression.csv import parse_time
    from sesight.domain.suppression.manual import SuppressionRequest
    from sesight.domain.timestamps import DAY

    at = None if until is None else parse_time(until, DAY)
    if until is not None and at is None:
        raise InvalidRequest(f"--until {until!r} is no time: write a date, or an instant.")
    change = secrets.token_hex(8)
    with open_app(config, store, new=True) as app:
        _known(stream, app.counting.streams)
        wishes = [
            SuppressionRequest(
                address=each, reason=reason, scope=scope, stream=stream, until=at, note=note
            )
            for each in addresses
        ]
        told = app.suppressions.add(wishes, change)
    _show(told, change, as_json=as_json)


@suppress.command()
def remove(
    addresses: AddressesArgument,
    note: Annotated[
        str | None, typer.Option("--note", help="Why: it stays in the address's history.")
    ] = None,
    stream: StreamOption = None,
    cause: Annotated[
        list[str] | None,
        typer.Option("--cause", metavar="ID", help="Lift only this cause, or several."),
    ] = None,
    restore: Annotated[
        str | None,
        typer.Option("--restore", metavar="CHANGE", help="Take the removal of a change back."),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift what stands against addresses, or take such a removal back.

    What was lifted never returns by itself; a new complaint or unsubscribe suppresses again, and a
    bounce of a message sent after the removal.
    """
    from sesight.cli.session import open_app, select_streams

    change = restore or secrets.token_hex(8)
    with open_app(config, store) as app:
        streams = select_streams(app, stream)
        if restore is not None:
            told = app.suppressions.restore(addresses, restore, streams)
        else:
            told = app.suppressions.remove(addresses, change, note or "", streams, cause or ())
    _show(told, change, as_json=as_json)
    if restore is None and not as_json and any(each.status == "removed" for each in told):
        print(
            f"To take this back: sesight suppress remove ADDRESS… --restore {change}\n"
            "SES's own list of the account is as it was: an address on it is to be taken off there too."
        )


@suppress.command()
def check(
    addresses: AddressesArgument,
    stream: StreamOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """May the streams send to these addresses? Exits with 1 if there is one that one must not."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import open_app, print_json, select_streams
    from sesight.services.suppression_list import checked

    with open_app(config, store) as app:
        found = [
            checked(each) for each in app.suppressions.check(addresses, select_streams(app, stream))
        ]
    if as_json:
        print_json(msgspec.json.encode({"data": found}))
    else:
        rows: list[list[Any]] = []
        for each in found:
            address = output.plain_text(each.address)
            if each.detail is not None:
                rows.append([address, "", "no", output.plain_text(each.detail), "", ""])
            rows += [
                [
                    address,
                    one.stream,
                    "yes" if one.allowed else "no",
                    output.plain_text(one.reason),
                    output.format_time(one.since),
                    output.format_time(one.until),
                ]
                for one in each.mailable
            ]
        out = output.console()
        columns = [output.Column("Address", wraps=20), *output.MAILABLE_COLUMNS]
        out.print(output.table(columns, rows))
    if not all(each.allowed for each in found):
        raise typer.Exit(1)


@suppress.command("list")
def list_addresses(
    stream: StreamOption = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", help="How addresses begin, without the @; @exam for domains."),
    ] = None,
    reason: Annotated[
        SuppressionReason | None, typer.Option("--reason", help="Only those shown with it.")
    ] = None,
    ended: Annotated[
        bool, typer.Option("--ended", help="Those that no longer are suppressed.")
    ] = False,
    limit: LimitOption = None,
    cursor: CursorOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List suppressed addresses and whole domains, in order, with why and since when."""
    from sesight.cli import output
    from sesight.cli.session import open_app, run_query
    from sesight.services.suppression_list import (
        SuppressedAddresses,
        list_suppressions,
        suppression_query,
    )

    def read(services: Services) -> SuppressedAddresses:
        query = suppression_query(
            services,
            stream=stream,
            prefix=prefix,
            reason=reason,
            active="false" if ended else "true",
        )
        return list_suppressions(services, query, limit, cursor)

    with open_app(config, store) as app:
        found = run_query(app, read, as_json=as_json)
    if found is None:
        return
    out = output.console()
    if not found["data"]:
        out.print("No address fits.")
    else:
        rows = [
            [
                output.plain_text(each["address"]),
                ", ".join(each["streams"]),
                output.plain_text(each["reason"]),
                output.format_time(each["since"]),
                output.format_time(each["until"]),
                output.plain_text(each["note"]),
            ]
            for each in found["data"]
        ]
        columns = [
            output.Column("Address", wraps=24),
            output.Column("Streams", 1, wraps=8),
            output.Column("Reason"),
            output.Column("Since (UTC)"),
            output.Column("Until (UTC)", 2),
            output.Column("Note", 3, wraps=20),
        ]
        out.print(output.table(columns, rows))
    total = found["total"]
    if total is not None:
        shown = output.format_count(total["value"], at_least=not total["exact"])
        plural = "" if total == {"value": 1, "exact": True} else "es"
        out.print(f"{len(found['data']):,} of {shown} address{plural}.")
    if found["nextCursor"] is not None:
        out.print(f"More: --cursor {found['nextCursor']}", soft_wrap=True)


# Files


@suppress.command("import")
def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV file, - for standard input.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    stream: Annotated[
        str | None,
        typer.Option("--stream", metavar="ID", help="The stream of rows that name none."),
    ] = None,
    scope: Annotated[
        SuppressionScope | None,
        typer.Option("--scope", help="How far rows reach that do not say it."),
    ] = None,
    reason: Annotated[
        SuppressionReason, typer.Option("--reason", help="The reason of rows that name none.")
    ] = SuppressionReason.IMPORT,
    note: Annotated[
        str | None, typer.Option("--note", help="The note of rows that have none.")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Import the other rows of a file whose quotes are broken."),
    ] = False,
    bad: Annotated[
        Path | None,
        typer.Option("--bad", metavar="FILE", help="Write every bad row's line and reason there."),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suppress what a file lists. Exits with 1 if it has bad rows; the good ones are taken.

    Nothing is taken of a file in which a quote is not closed properly, unless --partial asks for it.

    Columns: email, and if there are stream, reason, scope, until, note, firstAt; or a list of
    addresses without a head. Stopped, it may simply be started again.
    """
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app, print_json
    from sesight.domain.suppression.csv import (
        SuppressionDefaults,
        SuppressionFile,
        refuse_broken_quotes,
    )
    from sesight.services.suppression_list import import_rows

    change = secrets.token_hex(8)
    with (
        interruptible("Stopped. What was read is kept; the same command goes on."),
        open_app(config, store, new=True) as app,
        output.progress_bar("Reading", _size(file), shown=not as_json) as bar,
        _reported(bad) as report,
        _read(file, bar.update) as text,
    ):
        _known(stream, app.counting.streams)
        defaults = SuppressionDefaults(reason=reason, scope=scope, stream=stream, note=note)
        if not partial:
            refuse_broken_quotes(SuppressionFile(text(), defaults))
        rows = SuppressionFile(text(), defaults)
        done = import_rows(app.suppressions, rows, change, dry_run=dry_run, report=report)
    if as_json:
        print_json(msgspec.json.encode(done))
    else:
        _show_import(done)
    if done.bad:
        raise typer.Exit(1)


def _size(file: str) -> float | None:
    return Path(file).stat().st_size if file != REST and Path(file).is_file() else None


@contextmanager
def _read(file: str, progress: Callable[[float], None]) -> Iterator[Callable[[], Iterator[str]]]:
    """Give what reads the lines of a file from its beginning; they may be read again. Raises
    InvalidRequest for what is not UTF-8, SettingsError.
    """
    source: BinaryIO

    def lines() -> Iterator[str]:
        done = 0
        source.seek(0)
        for number, raw in enumerate(source, 1):
            done += len(raw)
            if number % 1_000 == 0:
                progress(done)
            try:
                yield raw.decode("utf-8")
            except UnicodeDecodeError:
                raise InvalidRequest(
                    f"Line {number} of {file} is not UTF-8: save the file as CSV UTF-8."
                ) from None

    if file == REST:
        with TemporaryFile() as source:
            copyfileobj(sys.stdin.buffer, source)
            yield lines
        return
    try:
        with Path(file).open("rb") as source:
            yield lines
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from None


@contextmanager
def _reported(path: Path | None) -> Iterator[Callable[[int, str], None]]:
    """Give what writes bad rows to a file, if one is wanted."""
    import csv

    if path is None:
        yield lambda _line, _why: None
        return
    try:
        file = open(path, "w", encoding="utf-8", newline="", opener=private_file.opener)  # noqa: SIM115 - Path has no opener; closed below
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from None
    with file:
        writer = csv.writer(file)
        writer.writerow(["line", "reason"])
        yield lambda line, why: writer.writerow([line, why])


def _show_import(done: Any) -> None:
    from sesight.cli import output

    out = output.console()
    columns = [output.Column("Rows", number=True), output.Column("What became of them", wraps=20)]
    rows = [[f"{n:,}", _FATES[fate]] for fate, n in sorted(done.counts.items())]
    out.print(output.table(columns, rows) if done.counts else "The file has no rows.")
    if done.bad:
        columns = [output.Column("Line", number=True), output.Column("What is wrong", wraps=20)]
        bad_rows = [[f"{row.line:,}", output.plain_text(row.reason)] for row in done.bad[:SHOWN]]
        out.print(output.table(columns, bad_rows))
        if done.counts["invalid"] > SHOWN:
            out.print(f"… and {done.counts['invalid'] - SHOWN:,} more: --bad FILE has all.")
    if done.ignored_columns:
        named = ", ".join(done.ignored_columns)
        out.print(output.plain_text(f"Not read: {named}."))
    if done.dry_run:
        out.print("Nothing was changed: without --dry-run it is.")


_FATES = {
    "added": "suppressed now, and were not before",
    "known": "were suppressed already",
    "lifted": "were removed later than the file says, and stay so",
    "removed": "lifted",
    "restored": "stand again",
    "absent": "had nothing to lift",
    "invalid": "make no sense, and were left out",
}


@suppress.command()
def export(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The new file; else it is printed.")
    ] = None,
    stream: StreamOption = None,
    reason: Annotated[
        SuppressionReason | None, typer.Option("--reason", help="Only those shown with it.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Only those that begin so.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all suppressed addresses and domains as CSV, which `sesight suppress import` reads."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app, print_json, select_streams
    from sesight.domain.suppression.csv import file_lines

    if file is not None and file.exists() and not force:
        raise SettingsError(f"{file} is there already: name another file, or --force.")
    if file is None and as_json:
        raise InvalidRequest("--json tells of a FILE: name one.")
    rows = -1
    with (
        interruptible("Stopped. The file is not whole."),
        open_app(config, store) as app,
        output.progress_bar("Writing", shown=file is not None and not as_json) as bar,
        _written(file) as write,
    ):
        found = app.suppressions.exported(
            select_streams(app, stream), prefix=prefix or "", reason=reason
        )
        for line in file_lines(found):
            write(line.encode())
            rows += 1
            if rows % 1_000 == 0:
                bar.update(rows, status=f"{rows:,} rows")
    if as_json:
        print_json(msgspec.json.encode({"path": str(file), "rows": rows}))
    elif file is not None:
        print(f"{file} has {output.plural(rows, 'row')}.")


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Give what writes to a file, or to standard output."""
    if path is None:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    try:
        with private_file.written(path) as file:
            yield file.write
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror}.") from None


suppress.command()(sync)


# What they share


def _known(stream: str | None, streams: dict[str, Any]) -> None:
    if stream is not None and stream not in streams:
        raise InvalidRequest(
            f"The settings have no stream {stream!r}; they have {', '.join(streams)}."
        )


def _show(results: list[SuppressionResult], change: str, *, as_json: bool) -> None:
    """Print the result of each address. Exits with 1 if an address was invalid."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import print_json
    from sesight.services.suppression_list import changed

    if as_json:
        print_json(msgspec.json.encode(changed(change, results)))
    else:
        columns = [
            output.Column("Address", wraps=20),
            output.Column("What became of it"),
            output.Column("Streams", 1, wraps=10),
            output.Column("More", wraps=20),
        ]
        rows = [
            [
                output.plain_text(result.address),
                result.status,
                ", ".join(result.streams),
                output.plain_text(result.detail),
            ]
            for result in results
        ]
        output.console().print(output.table(columns, rows))
    if any(result.status == "invalid" for result in results):
        raise typer.Exit(1)
