"""serve: the API, and intake beside it, until it is stopped."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sesight.cli.event_log_writer import EventLogWriter
from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import InvalidRequest

if TYPE_CHECKING:
    import socket

    from sesight.app import App


def tell(line: str) -> None:
    """Print a line at once, also where output is a pipe."""
    print(line, flush=True)


def stop_on_sigterm() -> None:
    """Have SIGTERM end the process as Ctrl-C does, until the server hears of both itself."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def place(text: str) -> tuple[str, int]:
    """Read HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise InvalidRequest(f"{text!r} is no HOST:PORT: write 127.0.0.1:8026.")
    return host.strip("[]") or "127.0.0.1", int(port)


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address of this machine alone to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.", show_default="8025"),
    ] = None,
    intake: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="A public listener: events in, unsubscribe links."),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer the API and take events in, until Ctrl-C.

    Each event writes a SES_EVENT_PROCESSED line, unless intake.log_events is false.
    """
    from sesight.app import App
    from sesight.cli.session import load_settings
    from sesight.server import address_of, listen
    from sesight.server import serve as run

    stop_on_sigterm()
    settings = load_settings(config, store)
    public: socket.socket | None = None
    wanted = intake or settings.server.intake
    listener = listen(
        settings.server.host if host is None else host,
        settings.server.port if port is None else port,
    )
    try:
        if wanted is not None:
            public = listen(*place(wanted), public=True)
        lines = EventLogWriter(sys.stdout.fileno()) if settings.intake.log_events else None
        app = App(settings, journal=lines)
    except BaseException:
        listener.close()
        raise
    try:
        if lines is not None:
            lines.start(app.metrics.lines_dropped.inc)
        app.store.lock_for_server()
        if app.retention_warning is not None:
            print(app.retention_warning, file=sys.stderr)
        app.services()  # what it needs and cannot have is said before the address is
        _say(app, address_of(listener), address_of(public) if public else None, as_json=as_json)
        run(app, listener, public)
    except KeyboardInterrupt:
        pass  # before the server heard signals itself
    finally:
        app.close()
        if lines is not None:
            lines.stop()


def _say(app: App, address: str, intake: str | None, *, as_json: bool) -> None:
    from sesight import __version__
    from sesight.app import store_url
    from sesight.cli.output import plural

    store, streams, topics = store_url(app.settings), list(app.counting.streams), len(app.topics)
    if as_json:
        import msgspec

        said = {
            "listening": address,
            "intake": intake,
            "version": __version__,
            "store": store,
            "streams": streams,
            "topics": topics,
        }
        tell(msgspec.json.encode(said).decode())
        return
    tell(
        f"Sesight {__version__} listens on {address} (store {store}; streams {', '.join(streams)}; "
        f"{plural(topics, 'topic')})"
    )
    if intake is not None:
        tell(f"Events are taken in on {intake}/api/ses/events")
