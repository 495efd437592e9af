"""stream: whether a stream sends; stop it, and let it send again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sesight.cli.options import Config, Json, StoreUrl

stream = typer.Typer(
    name="stream", help="Stop a stream from sending, and let it go on.", no_args_is_help=True
)

Named = Annotated[str, typer.Argument(metavar="STREAM", show_default=False)]


@stream.command()
def show(config: Config = None, store: StoreUrl = None, as_json: Json = False) -> None:
    """Show which streams send, why others do not, and which the reputation guard watches."""
    import msgspec

    from sesight.cli import output as screen
    from sesight.cli.session import opened, put
    from sesight.domain.timestamps import iso

    with opened(config, store) as app:
        pauses, guard = app.log.pauses(), app.sending.guard
        found: list[dict[str, Any]] = [
            {
                "stream": name,
                "state": "paused" if name in pauses else "sending",
                "by": pauses[name].by if name in pauses else None,
                "since": iso(pauses[name].at) if name in pauses else None,
                "detail": pauses[name].detail if name in pauses else None,
                "pausesAt": guard.limits if name in guard.streams else None,
            }
            for name in app.counting.streams
        ]
    if as_json:
        put(msgspec.json.encode(found))
        return
    rows = screen.table("Stream", "State", "By", "Since (UTC)", "Guard", "Why")
    for each in found:
        rows.add_row(
            each["stream"],
            each["state"],
            each["by"] or screen.NOTHING,
            screen.moment(each["since"]),
            _watched(each["pausesAt"]),
            screen.plain(each["detail"]),
        )
    screen.screen().print(rows)


@stream.command()
def pause(
    name: Named,
    why: Annotated[
        str, typer.Option("--why", metavar="WORDS", help="What the next person should know.")
    ] = "somebody stopped it.",
    config: Config = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Stop a stream: what is being sent ends within seconds, nothing more goes out."""
    from sesight.cli.session import opened, streams_of
    from sesight.domain.sending import Pause

    with opened(config, store, new=True) as app:
        streams_of(app, name)
        app.log.pause(Pause(stream=name, at=app.clock(), by="operator", detail=why))
    _say(name, "paused", f"The stream {name} is paused.", as_json=as_json)


@stream.command()
def resume(
    name: Named, config: Config = None, store: StoreUrl = None, as_json: Json = False
) -> None:
    """Let a stream send again."""
    from sesight.cli.session import opened, streams_of

    with opened(config, store) as app:
        streams_of(app, name)
        before = app.sending.guard.resume(name)
        watched = name in app.sending.guard.streams
    said = (
        f"The stream {name} was not paused."
        if before is None
        else f"The stream {name} sends again. It was paused: {before.detail}"
    )
    if watched:
        said += "\nThe reputation guard counts its mail from now on."
    _say(name, "sending", said, as_json=as_json)


def _watched(limits: dict[str, float] | None) -> str:
    """Return how the reputation guard watches a stream, for people."""
    if limits is None:
        return "not watched"
    return ", ".join(f"{name} over {limit:.2%}" for name, limit in limits.items())


def _say(name: str, state: str, said: str, *, as_json: bool) -> None:
    import msgspec

    from sesight.cli.session import put

    if as_json:
        put(msgspec.json.encode({"stream": name, "state": state}))
    else:
        print(said)
