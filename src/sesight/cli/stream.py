"""stream: whether a stream sends; stop it, and let it send again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sesight.cli.options import ConfigOption, JsonOption, StoreOption

stream = typer.Typer(
    name="stream", help="Stop a stream from sending, and let it go on.", no_args_is_help=True
)

StreamArgument = Annotated[str, typer.Argument(metavar="STREAM", show_default=False)]


@stream.command()
def show(
    config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Show which streams send, why others do not, and which the reputation guard watches."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import open_app, print_json
    from sesight.domain.timestamps import iso

    with open_app(config, store) as app:
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
        print_json(msgspec.json.encode(found))
        return
    columns = [
        output.Column("Stream"),
        output.Column("State"),
        output.Column("By", 2),
        output.Column("Since (UTC)", 1),
        output.Column("Guard", 3, wraps=16),
        output.Column("Why", wraps=20),
    ]
    rows = [
        [
            each["stream"],
            each["state"],
            each["by"] or output.NO_VALUE,
            output.format_time(each["since"]),
            _watched(each["pausesAt"]),
            output.plain_text(each["detail"]),
        ]
        for each in found
    ]
    output.console().print(output.table(columns, rows))


@stream.command()
def pause(
    name: StreamArgument,
    why: Annotated[
        str, typer.Option("--why", metavar="WORDS", help="What the next person should know.")
    ] = "somebody stopped it.",
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a stream: what is being sent ends within seconds, nothing more goes out."""
    from sesight.cli.session import open_app, select_streams
    from sesight.domain.sending import Pause

    with open_app(config, store, new=True) as app:
        select_streams(app, name)
        app.log.pause(Pause(stream=name, at=app.clock(), by="operator", detail=why))
    _say(name, "paused", f"The stream {name} is paused.", as_json=as_json)


@stream.command()
def resume(
    name: StreamArgument,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a stream send again."""
    from sesight.cli.session import open_app, select_streams

    with open_app(config, store) as app:
        select_streams(app, name)
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

    from sesight.cli.session import print_json

    if as_json:
        print_json(msgspec.json.encode({"stream": name, "state": state}))
    else:
        print(said)
