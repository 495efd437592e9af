"""serve: run the API and intake until the process is stopped."""

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
    from sesight.server import ServerLimits
    from sesight.settings import Settings


def print_now(line: str) -> None:
    """Print a line and flush it, since standard output may be a pipe."""
    print(line, flush=True)


def stop_on_sigterm() -> None:
    """Make SIGTERM end the process as Ctrl-C does, until the server installs its own handlers."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def host_and_port(text: str) -> tuple[str, int]:
    """Parse HOST:PORT. Raises InvalidRequest."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise InvalidRequest(f"{text!r} is not HOST:PORT. Example: 127.0.0.1:8026.")
    return host.strip("[]") or "127.0.0.1", int(port)


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Loopback address to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Port to listen on; 0 chooses a free port.", show_default="8025"
        ),
    ] = None,
    intake: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Also listen on this public address, for events and unsubscribe links only.",
        ),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the API and process events until stopped by Ctrl-C.

    Writes a SES_EVENT_PROCESSED line for each event, unless intake.log_events is false.
    """
    from sesight.cli.session import load_settings

    stop_on_sigterm()
    run(load_settings(config, store), host, port, intake, as_json=as_json)


def run(
    settings: Settings,
    host: str | None = None,
    port: int | None = None,
    intake: str | None = None,
    *,
    as_json: bool,
    limits: ServerLimits | None = None,
) -> None:
    """Run the server; arguments that are None come from the settings."""
    from sesight.app import App
    from sesight.server import address_of, listen
    from sesight.server import serve as serve_until_stopped

    public: socket.socket | None = None
    intake = intake or settings.server.intake
    listener = listen(
        settings.server.host if host is None else host,
        settings.server.port if port is None else port,
    )
    try:
        if intake is not None:
            public = listen(*host_and_port(intake), public=True)
        event_log = EventLogWriter(sys.stdout.fileno()) if settings.intake.log_events else None
        app = App(settings, journal=event_log)
    except BaseException:
        listener.close()
        raise
    try:
        if event_log is not None:
            event_log.start(app.metrics.lines_dropped.inc)
        app.store.lock_for_server()
        if app.retention_warning is not None:
            print(app.retention_warning, file=sys.stderr)
        app.services()  # raises what is missing before the address is printed
        public_address = address_of(public) if public else None
        _print_addresses(app, address_of(listener), public_address, as_json=as_json)
        serve_until_stopped(app, listener, public, limits)
    except KeyboardInterrupt:
        pass  # the server had not installed its signal handlers yet
    finally:
        app.close()
        if event_log is not None:
            event_log.stop()


def _print_addresses(app: App, address: str, intake: str | None, *, as_json: bool) -> None:
    from sesight import __version__
    from sesight.app import store_url
    from sesight.cli.output import plural

    store, streams, topics = store_url(app.settings), list(app.counting.streams), len(app.topics)
    if as_json:
        import msgspec

        document = {
            "listening": address,
            "intake": intake,
            "version": __version__,
            "store": store,
            "streams": streams,
            "topics": topics,
        }
        print_now(msgspec.json.encode(document).decode())
        return
    print_now(
        f"Sesight {__version__} listens on {address} (store {store}; streams {', '.join(streams)}; "
        f"{plural(topics, 'topic')})"
    )
    if intake is not None:
        print_now(f"Events are received on {intake}/api/ses/events")
