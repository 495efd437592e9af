"""tracking and recipient: single records, by filters or of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sesight.cli.options import Config, Cursor, Json, Limit, Since, StoreUrl, StreamId, Until
from sesight.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from sesight.services import Services


def tracking(
    stream: StreamId = None,
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
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    cursor: Cursor = None,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """List records, the last sent first. One stream's are its tracking data, as the API answers."""
    from sesight.cli.session import answer, opened
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

    with opened(config, store) as app:
        found = answer(app, read, as_json=as_json)
    if found is not None:
        _show_page(found)


def recipient(
    address: Annotated[str, typer.Argument(help="The address, as people write it.")],
    stream: StreamId = None,
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Show one person: may we mail them, and what happened so far."""
    from sesight.cli.session import answer, opened
    from sesight.services.recipients import person_by_address

    mailbox = _address(address)
    with opened(config, store) as app:
        found = answer(
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
    from sesight.cli import output as screen

    out = screen.screen()
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
        shown = screen.number(total["value"], at_least=not total["exact"])
        out.print(f"{len(found['data']):,} of {shown} record{'s' * (total['value'] != 1)}.")
    if found["searchedTo"] is not None:
        out.print(f"Searched back to {screen.moment(found['searchedTo'])} UTC so far.")
    if found["nextCursor"] is not None:
        out.print(f"More: --cursor {found['nextCursor']}", soft_wrap=True)


def _show_records(records: list[dict[str, Any]], *, of_one: bool = False) -> None:
    """Print records, perhaps `of_one` person, whose address is said already."""
    from sesight.cli import output as screen

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
                screen.moment(each["sentAt"]),
                screen.plain(each["recipient"]),
                screen.plain(each["stream"]),
                screen.plain(each["campaign"]),
                screen.plain(outcome),
                f"{each['lastEvent']} {screen.moment(each['lastEventAt'])}",
                _counted(each["opens"], each["machineOpens"], capped="Open" in capped),
                _counted(each["clicks"], each["machineClicks"], capped="Click" in capped),
                screen.plain(each["messageId"]),
            ]
        )
    columns = [
        screen.Column("Sent (UTC)"),
        screen.Column("Recipient", wraps=24),
        screen.Column("Stream", 4),
        screen.Column("Campaign", 1, wraps=14),
        screen.Column("Outcome", wraps=14),
        screen.Column("Last event (UTC)", 5),
        screen.Column("Opens", 2, number=True, wraps=12),
        screen.Column("Clicks", 3, number=True, wraps=12),
        screen.Column("Message", 6),
    ]
    if of_one:
        columns = [each for each in columns if each.head != "Recipient"]
        rows = [[*row[:1], *row[2:]] for row in rows]
    out = screen.screen()
    out.print(screen.fitted(columns, rows, out.width))


def _counted(every: int, machine: int, *, capped: bool) -> str:
    from sesight.cli.output import number

    told = number(every, at_least=capped)
    return f"{told}, {machine:,} by machines" if machine else told


def _show_person(found: dict[str, Any]) -> None:
    from sesight.cli import output as screen

    out = screen.screen()
    out.print(screen.plain(found["address"]), style="bold")
    if not found["known"]:
        out.print("Nothing is known of this address.")
    rows = [
        [
            screen.plain(each["stream"]),
            "yes" if each["allowed"] else "no",
            screen.plain(each["reason"]),
            screen.moment(each["since"]),
            screen.moment(each["until"]),
        ]
        for each in found["mailable"]
    ]
    out.print(screen.fitted(screen.MAILABLE, rows, out.width))
    if not found["data"]:
        out.print("No record of theirs is held one by one.")
        return
    counts = found["counts"]
    at_least = set(counts["atLeast"])
    names = ("delivered", "bounced", "softBounced", "suppressed", "complained", "opens", "clicks")
    told = [screen.counted(counts["recipients"], "message")]
    told += [
        f"{screen.number(counts[name], at_least=name in at_least)} {_word(name, counts[name])}"
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
