"""recount and reclassify: whether totals are the sum of the records, and by today's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sesight.cli.options import ConfigOption, JsonOption, StoreOption, StreamOption

if TYPE_CHECKING:
    from sesight.services.recount import Difference, Recount

SHOWN = 40
"""Differences that are shown to people."""

AT_ONCE = 2_000
"""Messages that are tallied again in one transaction."""


def recount(
    stream: StreamOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend the totals to what the records say.")
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the totals of every send day still held with the sum of its records, and counts of
    suppressed addresses with the items.

    Exits with 1 when differences remain. A server may go on meanwhile.
    """
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app, print_json, select_streams
    from sesight.services.recount import recount as compare

    with interruptible("Stopped. Nothing was changed."), open_app(config, store) as app:
        with output.progress_bar("Recounting", shown=not as_json) as bar:
            found = compare(
                app.store,
                app.counting,
                app.clock(),
                select_streams(app, stream),
                progress=lambda done, of, records: bar.update(done, of, f"{records:,} records"),
            )
        repaired = bool(repair and found.increments)
        if repaired:
            app.store.repair(found.increments)
    if as_json:
        print_json(msgspec.json.encode(_document(found, repaired=repaired)))
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
    from sesight.cli import output
    from sesight.domain.timestamps import day_name

    out = output.console()
    days = output.plural(found.days, "send day")
    out.print(f"{output.plural(found.records, 'record')} of {days} (a stream's day each).")
    if found.differences:
        rows = [
            [
                output.plain_text(each.stream),
                output.plain_text(each.campaign or "(all)"),
                output.plain_text(_row(each)),
                each.counter,
                f"{each.stored:,}",
                f"{each.recounted:,}",
                f"{each.recounted - each.stored:+,}",
            ]
            for each in found.differences[:SHOWN]
        ]
        columns = [
            output.Column("Stream", 3),
            output.Column("Campaign", wraps=12),
            output.Column("Row", wraps=12),
            output.Column("Counter"),
            output.Column("Stored", 2, number=True),
            output.Column("Recounted", 1, number=True),
            output.Column("Difference", number=True),
        ]
        out.print(output.table(columns, rows))
        left = len(found.differences) - SHOWN
        if left > 0:
            out.print(f"… and {left:,} more: all of them with --json.")
        out.print(
            f"{output.plural(len(found.differences), 'difference')}, "
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
            f"{output.plural(found.outdated, 'record')} would count otherwise by today's rules and settings: "
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
    stream: StreamOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count all records still held by today's rules and settings; totals move with them."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app, print_json, select_streams

    moved = records = 0
    with (
        interruptible("Stopped. What is done is kept: reclassify again for the rest."),
        open_app(config, store) as app,
        output.progress_bar("Reclassifying", shown=not as_json) as bar,
    ):
        days = [
            (name, day)
            for name in select_streams(app, stream)
            for day in app.store.held_days(name, app.clock())
        ]
        for n, (name, day) in enumerate(days):
            bar.update(n, len(days), f"{records:,} records")
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
        print_json(msgspec.json.encode({"records": records, "moved": moved}))
        return
    print(f"Of {output.plural(records, 'record')}, {moved:,} now count otherwise.")
