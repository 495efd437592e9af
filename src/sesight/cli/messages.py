"""tracking and recipient: single records, by filters or of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
from sesight.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from sesight.services import Services


def tracking(
    stream: StreamOption = None,
    campaign: Annotated[str | None, typer.Option(help="Campaign id, ~untagged for none.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The recipient.")] = None,
    event: Annotated[
        str | None, typer.Option(help="Has it: Send, Delivery, Bounce, Open, Click …")
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="delivered, bounced, soft_bounced, not_delivered …; or several: a,b."),
    ] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Statement month.")] = None,
    since: FromOption = None,
    until: ToOption = None,
    limit: LimitOption = None,
    cursor: CursorOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List records, the last sent first. One stream's are its tracking data, as the API answers."""
    from sesight.cli.session import open_app, run_query
    from sesight.services.messages import MessageList, list_messages, message_query
    from sesight.services.query import read_streams

    def read(services: Services) -> MessageList:
        # of one stream with routes of its own, the answer is that of its tracking data
        has_routes = any(routes.stream == stream for routes in services.routes)
        provider = "ses" if has_routes else None
        query = message_query(
            services,
            read_streams(services, stream),
            provider=provider,
            campaign=campaign,
            email=email if has_routes or email is None else _address(email),
            month=month,
            event=event,
            outcome=outcome,
            since=since,
            until=until,
        )
        return list_messages(services, query, limit, cursor, provider=provider)

    with open_app(config, store) as app:
        found = run_query(app, read, as_json=as_json)
    if found is not None:
        _show_page(found)


def recipient(
    address: Annotated[str, typer.Argument(help="The address, as people write it.")],
    stream: StreamOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one person: may we mail them, and what happened so far."""
    from sesight.cli.session import open_app, run_query
    from sesight.services.recipients import person_by_address

    mailbox = _address(address)
    with open_app(config, store) as app:
        found = run_query(
            app, lambda services: person_by_address(services, mailbox, stream), as_json=as_json
        )
    if found is not None:
        _show_person(found)


def _address(text: str) -> str:
    """Return the address as records have it. Raises InvalidRequest."""
    from sesight.domain.address import normalize_address

    if not text.strip():
        raise InvalidRequest("There is no address: write name@domain.")
    return normalize_address(text)[0]


def _show_page(found: dict[str, Any]) -> None:
    from sesight.cli import output

    out = output.console()
    if found["data"]:
        _show_records(found["data"])
    else:
        out.print("No record fits.")
    for part in found["meta"]["partial"]:
        if part["reason"] == "detail-expired":
            told = f"Detail is past retention for what was sent before {part['asOf'][:10]}"
            if part["of"] is not None and part["covered"] is not None:
                told += (
                    f": {part['covered']:,} of {part['of']:,} recipients are still held one by one"
                )
            out.print(f"{told}.")
    total = found["total"]
    if total is not None:
        shown = output.format_count(total["value"], at_least=not total["exact"])
        out.print(f"{len(found['data']):,} of {shown} record{'s' * (total['value'] != 1)}.")
    if found["searchedTo"] is not None:
        out.print(f"Searched back to {output.format_time(found['searchedTo'])} UTC so far.")
    if found["nextCursor"] is not None:
        out.print(f"More: --cursor {found['nextCursor']}", soft_wrap=True)


def _show_records(records: list[dict[str, Any]], *, of_one: bool = False) -> None:
    """Print records, perhaps `of_one` person, whose address is said already."""
    from sesight.cli import output

    rows = []
    for each in records:
        capped = set(each["capped"])
        outcome = each["outcome"] or "of nobody in particular"
        if each["reason"]:
            outcome += f": {each['reason']}"
        for fact, word in (("complainedAt", "complained"), ("unsubscribedAt", "unsubscribed")):
            if each[fact]:
                outcome += f", {word}"
        rows.append(
            [
                output.format_time(each["sentAt"]),
                output.plain_text(each["recipient"]),
                output.plain_text(each["stream"]),
                output.plain_text(each["campaign"]),
                output.plain_text(outcome),
                f"{each['lastEvent']} {output.format_time(each['lastEventAt'])}",
                _counted(each["opens"], each["machineOpens"], capped="Open" in capped),
                _counted(each["clicks"], each["machineClicks"], capped="Click" in capped),
                output.plain_text(each["messageId"]),
            ]
        )
    columns = [
        output.Column("Sent (UTC)"),
        output.Column("Recipient", wraps=24),
        output.Column("Stream", 4),
        output.Column("Campaign", 1, wraps=14),
        output.Column("Outcome", wraps=14),
        output.Column("Last event (UTC)", 5),
        output.Column("Opens", 2, number=True, wraps=12),
        output.Column("Clicks", 3, number=True, wraps=12),
        output.Column("Message", 6),
    ]
    if of_one:
        columns = [each for each in columns if each.head != "Recipient"]
        rows = [[*row[:1], *row[2:]] for row in rows]
    out = output.console()
    out.print(output.table(columns, rows))


def _counted(every: int, machine: int, *, capped: bool) -> str:
    from sesight.cli.output import format_count

    told = format_count(every, at_least=capped)
    return f"{told}, {machine:,} by machines" if machine else told


def _show_person(found: dict[str, Any]) -> None:
    from sesight.cli import output

    out = output.console()
    out.print(output.plain_text(found["address"]), style="bold")
    if not found["known"]:
        out.print("Nothing is known of this address.")
    rows = [
        [
            output.plain_text(each["stream"]),
            "yes" if each["allowed"] else "no",
            output.plain_text(each["reason"]),
            output.format_time(each["since"]),
            output.format_time(each["until"]),
        ]
        for each in found["mailable"]
    ]
    out.print(output.table(output.MAILABLE_COLUMNS, rows))
    if not found["data"]:
        out.print("No record of theirs is held one by one.")
        return
    counts = found["counts"]
    at_least = set(counts["atLeast"])
    names = ("delivered", "bounced", "softBounced", "suppressed", "complained", "opens", "clicks")
    told = [output.plural(counts["recipients"], "message")]
    told += [
        f"{output.format_count(counts[name], at_least=name in at_least)} {_word(name, counts[name])}"
        for name in names
        if counts[name]
    ]
    out.print(", ".join(told) + ".")
    _show_records(found["data"], of_one=True)
    if found["nextCursor"] is not None:
        out.print(f"Older ones: sesight tracking --email {found['address']}", soft_wrap=True)


def _word(name: str, n: int) -> str:
    word = {"softBounced": "soft-bounced"}.get(name, name)
    return word.removesuffix("s") if n == 1 else word
