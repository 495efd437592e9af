"""campaigns and stats: what came of the mailings, from totals that outlive the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sesight.cli.options import (
    ConfigOption,
    CursorOption,
    FromOption,
    JsonOption,
    LimitOption,
    StoreOption,
    StreamOption,
    ToOption,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from sesight.services import Services

TOP = 10
"""Rows of a breakdown that are shown."""

SHARES = {
    "delivery": "Delivered",
    "bounce": "Bounced",
    "complaint": "Complained",
    "open": "Opened by people",
    "click": "Clicked",
}
"""The rates in a list of campaigns, with the heads of their columns."""

_IMPORTANCE = ("delivery", "open", "bounce", "click", "complaint")

ONE_LINE = 221
"""Columns from which a rate stands on one line."""

LESSER = {
    "attempted": 9,
    "everDelayed": 8,
    "delayed": 8,
    "reached": 7,
    "softBounced": 6,
    "clicks": 5,
}
"""Counters that are left out first where there is little room; the others follow, all alike."""

SPANS = (("first hour", 0, 1), ("2 to 6 h", 1, 6), ("7 to 24 h", 6, 24), ("2 to 3 days", 24, 72))
"""Ages in hours since the send, in words; then what is later."""


def campaigns(
    stream: StreamOption = None,
    q: Annotated[
        str | None, typer.Option("--q", metavar="TEXT", help="In the name, subject or id.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="sending, settled, final, expired; or several: a,b.")
    ] = None,
    since: FromOption = None,
    until: ToOption = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Any column, total or rate; - before it: descending."),
    ] = None,
    limit: LimitOption = None,
    cursor: CursorOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List campaigns with their totals, the last sent first."""
    from sesight.cli.session import open_app, run_query
    from sesight.services.campaigns import CampaignList, campaign_query, list_campaigns

    def read(services: Services) -> CampaignList:
        query = campaign_query(
            services,
            stream=stream,
            search=q,
            states=state,
            since=since,
            until=until,
            sort=sort,
        )
        return list_campaigns(services, query, limit, cursor)

    with open_app(config, store) as app:
        found = run_query(app, read, as_json=as_json)
    if found is not None:
        show_campaigns(found)


def show_campaigns(found: dict[str, Any]) -> None:
    """Print a page of campaigns."""
    from sesight.cli import output

    out = output.console()
    if not found["data"]:
        out.print("No campaign fits.")
        return
    between = " · " if out.width >= ONE_LINE else "\n"
    rows = [
        [
            output.plain_text(each["stream"]),
            output.plain_text(each["campaign"]),
            output.format_time(each["lastSentAt"]),
            each["state"],
            output.format_count(each["totals"]["sent"]),
            *[output.format_rate(each["rates"].get(name), between) for name in SHARES],
        ]
        for each in found["data"]
    ]
    columns = [
        output.Column("Stream"),
        output.Column("Campaign", wraps=20),
        output.Column("Last sent (UTC)", 5),
        output.Column("State", 8),
        output.Column("Sent", number=True),
        *[
            output.Column(head, _IMPORTANCE.index(name), number=True)
            for name, head in SHARES.items()
        ],
    ]
    out.print(output.table(columns, rows))
    shown, total = len(found["data"]), found["total"]["value"]
    if shown < total:
        out.print(f"{shown:,} of {output.plural(total, 'campaign')}.", end="")
        more = found["nextCursor"]
        out.print(f" The next: --cursor {more}" if more else "", soft_wrap=True)


def stats(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream's id.")],
    campaign: Annotated[
        str, typer.Argument(metavar="CAMPAIGN", help="The campaign's id, ~untagged for none.")
    ],
    step: Annotated[
        Literal["age", "day"], typer.Option(help="Series by age since the send, or by send day.")
    ] = "age",
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one campaign's figures. They stay when its records have expired."""
    from sesight.cli.session import open_app, run_query
    from sesight.services.campaigns import campaign_figures

    with open_app(config, store) as app:
        found = run_query(
            app,
            lambda services: campaign_figures(services, stream, campaign, step),
            as_json=as_json,
        )
    if found is not None:
        _show_stats(found)


def _show_stats(found: dict[str, Any]) -> None:
    from sesight.cli import output

    out = output.console()
    out.print(output.plain_text(found["name"] or found["campaign"]), style="bold")
    for label, value in (
        ("Campaign", f"{found['stream']} {found['campaign']}"),
        ("Subject", found["subject"]),
        ("Sender", found["sender"]),
        ("Sent", _span(found)),
        ("State", found["state"]),
        ("Detail", detail_in_words(found["detail"])),
        ("Withheld", _withheld(found["withheld"])),
    ):
        if value is not None:
            out.print(f"{label:<9}", output.plain_text(value))
    out.print(_totals(found["totals"]))
    out.print(_rates(found["rates"]))
    for name, slices in found["breakdowns"].items():
        if slices:
            out.print(_breakdown(name, slices))
    out.print(_series(found["series"]))


def _withheld(withheld: dict[str, int]) -> str | None:
    """Say how many recipients our own sender sent nothing to, None for nobody."""
    told = ", ".join(f"{n:,} {state}" for state, n in withheld.items() if n)
    return f"{told}: not sent, and in no other figure" if told else None


def _span(found: dict[str, Any]) -> str:
    from sesight.cli.output import format_time

    return f"{format_time(found['firstSentAt'])} to {format_time(found['lastSentAt'])} UTC"


def detail_in_words(detail: dict[str, Any]) -> str:
    """Say how much of a campaign is still held one by one."""
    until = (detail["until"] or "")[:10]
    if detail["state"] == "expired":
        return f"expired on {until}: its totals are kept, its records are gone"
    if detail["state"] == "partly-expired":
        return (
            f"{detail['covered']:,} of {detail['of']:,} recipients are still held one by one, "
            f"those sent from {detail['from'][:10]} on; totals are of all"
        )
    held = f"records of all {detail['of']:,}"
    return f"{held} until {until}" if until else held


def _totals(totals: dict[str, Any]) -> Table:
    from sesight.cli import output

    at_least = set(totals["atLeast"])
    names = [name for name in totals if name != "atLeast"]
    columns = [output.Column("Total"), output.Column("Recipients or events", number=True)]
    rows = [
        [in_words(name), output.format_count(totals[name], at_least=name in at_least)]
        for name in names
        if totals[name]
    ]
    return output.table(columns, rows)


def _rates(rates: dict[str, Any]) -> Table:
    from sesight.cli import output

    columns = [output.Column("Rate"), output.Column("n of m", number=True)]
    rows = [[in_words(name), output.format_rate(rate)] for name, rate in rates.items()]
    return output.table(columns, rows)


def _breakdown(name: str, slices: list[dict[str, Any]]) -> Table:
    from sesight.cli import output

    counters = [key for key in slices[0]["totals"] if any(s["totals"][key] for s in slices)]
    rows = [
        [
            output.plain_text(each["label"]),
            *[output.format_count(each["totals"][counter]) for counter in counters],
        ]
        for each in slices[:TOP]
    ]
    made = _counters(in_words(name.removeprefix("tag:")), counters, rows)
    if len(slices) > TOP:
        more = f"{TOP} of {len(slices)}; all of them with --json"
        made.caption = f"{made.caption}\n{more}" if made.caption else more
    return made


def _counters(first: str, counters: Iterable[str], rows: list[list[Any]]) -> Table:
    """Return a table of counters; where there is little room, of the more important ones."""
    from sesight.cli import output

    columns = [output.Column(in_words(each), LESSER.get(each, 1), number=True) for each in counters]
    return output.table([output.Column(first, wraps=16), *columns], rows, output.console().width)


def _series(series: dict[str, Any]) -> Table:
    from sesight.cli import output

    counts = {name: values for name, values in series["counts"].items() if any(values)}
    if series["by"] != "age":
        by_day: list[list[Any]] = [
            [bucket, *[output.format_count(values[at]) for values in counts.values()]]
            for at, bucket in enumerate(series["buckets"])
            if any(values[at] for values in counts.values())
        ]
        return _counters("Sent on", counts, by_day)
    rows: list[list[Any]] = []
    ages = [int(bucket) for bucket in series["buckets"]]
    for label, first, end in (*SPANS, ("later", 72, 1 << 30)):
        within = [at for at, age in enumerate(ages) if first <= age < end]
        if within:
            sums = (sum(values[at] for at in within) for values in counts.values())
            rows.append([label, *[output.format_count(each) for each in sums]])
    return _counters("After the send", counts, rows)


def in_words(name: str) -> str:
    """Write a counter's or rate's name as words."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name).replace("_", " ")
    return words[:1].upper() + words[1:]
