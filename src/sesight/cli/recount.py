"""recount and reclassify: whether totals are the sum of the records, and by today's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sesight.cli.options import Config, Json, StoreUrl, StreamId

if TYPE_CHECKING:
    from sesight.services.recount import Difference, Recount

SHOWN = 40
"""Differences that are shown to people."""

AT_ONCE = 2_000
"""Messages that are tallied again in one transaction."""


def recount(
    stream: StreamId = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend the totals to what the records say.")
    ] = False,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Compare the totals of every send day still held with the sum of its records, and counts of
    suppressed addresses with the items.

    Exits with 1 when differences remain. A server may go on meanwhile.
    """
    import msgspec

    from sesight.cli import output as screen
    from sesight.cli.session import interruptible, opened, put, streams_of
    from sesight.services.recount import recount as compare

    with interruptible("Stopped. Nothing was changed."), opened(config, store) as app:
        with screen.bar("Recounting", shown=not as_json) as bar:
            found = compare(
                app.store,
                app.counting,
                app.clock(),
                streams_of(app, stream),
                progress=lambda done, of, records: bar.at(done, of, f"{records:,} records"),
            )
        repaired = bool(repair and found.increments)
        if repaired:
            app.store.repair(found.increments)
    if as_json:
        put(msgspec.json.encode(_document(found, repaired=repaired)))
    else:
        _show(found, repaired=repaired)
    if found.differences and not repaired:
        raise typer.Exit(1)


def _document(found: Recount, *, repaired: bool) -> dict[str, Any]:
    from sesight.domain.timestamps import day_name

    frozen = found.frozen
    return {
        "days": found.days,
        "records": found.records,
        "differences": found.differences,
        "repaired": repaired,
        "outdated": found.outdated,
        "frozen": None
        if frozen is None
        else {"from": day_name(frozen.first), "to": day_name(frozen.last)},
        "moving": [day_name(day) for day in found.moving],
        "unchecked": found.unchecked,
    }


def _show(found: Recount, *, repaired: bool) -> None:
    from sesight.cli import output as screen
    from sesight.domain.timestamps import day_name

    out = screen.screen()
    days = screen.counted(found.days, "send day")
    out.print(f"{screen.counted(found.records, 'record')} of {days} (a stream's day each).")
    if found.differences:
        rows = [
            [
                screen.plain(each.stream),
                screen.plain(each.campaign or "(all)"),
                screen.plain(_row(each)),
                each.counter,
                f"{each.stored:,}",
                f"{each.recounted:,}",
                f"{each.recounted - each.stored:+,}",
            ]
            for each in found.differences[:SHOWN]
        ]
        columns = [
            screen.Column("Stream", 3),
            screen.Column("Campaign", wraps=12),
            screen.Column("Row", wraps=12),
            screen.Column("Counter"),
            screen.Column("Stored", 2, number=True),
            screen.Column("Recounted", 1, number=True),
            screen.Column("Difference", number=True),
        ]
        out.print(screen.fitted(columns, rows, out.width))
        left = len(found.differences) - SHOWN
        if left > 0:
            out.print(f"… and {left:,} more: all of them with --json.")
        out.print(
            f"{screen.counted(len(found.differences), 'difference')}, "
            + ("all mended." if repaired else "not mended: sesight recount --repair")
        )
    else:
        out.print("Every total is the sum of its records.")
    if found.frozen is not None:
        first, last = day_name(found.frozen.first), day_name(found.frozen.last)
        out.print(
            f"Send days from {first} to {last} are past retention: "
            "their totals are kept as they are and cannot be checked."
        )
    for day in found.moving:
        out.print(f"{day_name(day)} changed all the while: recount when fewer events come in.")
    for what in found.unchecked:
        out.print(f"Not checked: {what}.", markup=False)
    if found.outdated:
        out.print(
            f"{screen.counted(found.outdated, 'record')} would count otherwise by today's rules and settings: "
            "sesight reclassify"
        )


def _row(each: Difference) -> str:
    from sesight.domain.timestamps import HOUR, day_name, iso, month_name

    bucket = {
        "day": day_name,
        "hour": lambda n: (iso(n * HOUR) or "")[:13],
        "age": lambda n: f"age {n} h",
        "month": month_name,
    }.get(each.family, lambda _: "running total" if each.family == "total" else each.family)
    dimension = f" {each.dimension} {each.value}" if each.dimension else ""
    return f"{bucket(each.bucket)}{dimension}"


def reclassify(
    stream: StreamId = None,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Count all records still held by today's rules and settings; totals move with them."""
    import msgspec

    from sesight.cli import output as screen
    from sesight.cli.session import interruptible, opened, put, streams_of

    moved = records = 0
    with (
        interruptible("Stopped. What is done is kept: reclassify again for the rest."),
        opened(config, store) as app,
        screen.bar("Reclassifying", shown=not as_json) as bar,
    ):
        days = [
            (name, day)
            for name in streams_of(app, stream)
            for day in app.store.held_days(name, app.clock())
        ]
        for n, (name, day) in enumerate(days):
            bar.at(n, len(days), f"{records:,} records")
            ids: dict[str, None] = {}
            for record in app.store.records_of_day(name, day):
                records += 1
                ids[record.message_id] = None
                if len(ids) >= AT_ONCE:
                    moved += app.pipeline.reclassify(ids)
                    ids = {}
            if ids:
                moved += app.pipeline.reclassify(ids)
    if as_json:
        put(msgspec.json.encode({"records": records, "moved": moved}))
        return
    print(f"Of {screen.counted(records, 'record')}, {moved:,} now count otherwise.")
