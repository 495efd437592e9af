"""demo: Sesight at work on made-up traffic, on this machine alone."""

from __future__ import annotations

import fcntl
import gc
import json
import multiprocessing
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Struct

from sesight import private_file
from sesight.cli.backup import flush
from sesight.cli.demo_ses import postbox, section, stock, words
from sesight.cli.options import JsonOption
from sesight.cli.serve import stop_on_sigterm
from sesight.domain.errors import SettingsError, StoreUnavailable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from sesight.app import App
    from sesight.settings import Settings
    from sesight_simulator.traffic.plan import Plan

SETTINGS = "sesight.toml"
STORE = "sesight.db"
FILLED = "filled.json"
LOCK = "lock"

DAYS = 90
SHOWN = 12
"""Campaigns in the table at the start."""


class Filled(Struct):
    """What the history of a demo's store was made of; written when it is whole."""

    messages: int
    seed: int
    end: int
    days: int = DAYS


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path(
        ".sesight-demo"
    ),
    messages: Annotated[
        int, typer.Option(min=1, help="Messages of its history, 2.6 events each.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="Another seed makes another history.")] = 1,
    rate: Annotated[float, typer.Option(min=0, max=200, help="Live messages per second.")] = 2.0,
    host: Annotated[
        str, typer.Option(help="Address of this machine alone to listen on.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; if busy, a free one.")] = 8024,
    as_json: JsonOption = False,
) -> None:
    """Show Sesight at work: 90 days of made-up outreach and finance mail, then live events.

    The first start makes the history; later ones go on with it at once. Ctrl-C stops.
    """
    from sesight.server import resolve

    resolve(host)  # one that may not be listened on is said before the history is made
    try:
        private_file.make_folder(folder)
    except OSError as error:
        raise SettingsError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    stop_on_sigterm()
    with _alone(folder):
        stock(folder)
        settings = _settings(folder)
        known = _filled(folder)
        wanted = Filled(messages, seed, time.time_ns() // 1_000_000)
        if known is None:
            _clear(folder)
        with _rehearsal(known or wanted, settings, filled=known is not None) as line:
            if known is None:
                _fill(folder, wanted, settings, line, as_json=as_json)
            elif (known.messages, known.seed) != (messages, seed) and not as_json:
                print(
                    f"The demo in {folder} has a history of {known.messages:,} messages (seed "
                    f"{known.seed}); for another, remove the folder or name another --folder."
                )
            with _listener(host, port) as listener:
                _serve(folder, settings, line, listener, rate, as_json=as_json)


# -- its files -----------------------------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder: two demos would fill one store."""
    with open(folder / LOCK, "w", opener=private_file.opener) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"A demo runs in {folder} already: stop it, or name another --folder."
            ) from None
        yield


def _settings(folder: Path, sending: str = "") -> Settings:
    """Make the key and the certificate where they are missing; write the settings file, with a part
    about sending, and read it.
    """
    from sesight.cli.simulate import CERTIFICATE, signer
    from sesight.settings import load
    from sesight_simulator.sns import TOPIC_ARN

    signer(folder)
    file = folder / SETTINGS
    url = f"sqlite:///{(folder / STORE).absolute()}"
    text = (
        "# The settings of `sesight demo`: other commands see its store with --config, and send its\n"
        "# mail while it runs. It writes this file anew at each start.\n\n"
        f"[store]\nurl = {json.dumps(url, ensure_ascii=False)}\n\n"
        "[intake]\nlog_events = false\n\n"
        "# A topic of an account that AWS never issues, with a certificate of our own.\n"
        f'[[topics]]\narn = "{TOPIC_ARN}"\ncertificate_file = "{CERTIFICATE}"\n{sending}'
    )
    try:
        private_file.write(file, text.encode())
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}.") from None
    return load(str(file), {"store.url": url})


def _filled(folder: Path) -> Filled | None:
    """Return what the history was made of, None if there is none or it is not whole."""
    try:
        found = msgspec.json.decode((folder / FILLED).read_bytes(), type=Filled)
    except (OSError, msgspec.DecodeError):
        return None
    return found if (folder / STORE).exists() else None


def _clear(folder: Path) -> None:
    """Remove what a first start left behind that was stopped half way."""
    (folder / FILLED).unlink(missing_ok=True)
    for ending in ("", "-wal", "-shm", "-journal"):
        (folder / (STORE + ending)).unlink(missing_ok=True)


# -- its traffic ---------------------------------------------------------------------------------


def _plan(of: Filled) -> Plan:
    from sesight_simulator.traffic.plan import Plan

    return Plan(seed=of.seed, end=of.end, days=of.days, messages=of.messages)


@contextmanager
def _rehearsal(of: Filled, settings: Settings, *, filled: bool) -> Iterator[Connection]:
    """Start the process that makes the traffic; end it with the demo."""
    from sesight.cli.demo_traffic import run
    from sesight.ingest.child_process import start_child

    sets = frozenset(stream.configuration_set for stream in settings.streams)
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=run, args=(theirs, _plan(of), sets), kwargs={"filled": filled}, daemon=True
    )
    start_child(process)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.terminate()
        process.join(timeout=10)


def _fill(
    folder: Path, wanted: Filled, settings: Settings, line: Connection, *, as_json: bool
) -> None:
    """Take the history in. Generating and reading run beside committing, on two cores."""
    from sesight.app import App
    from sesight.cli import output
    from sesight.cli.demo_traffic import decode
    from sesight.cli.session import interruptible

    with interruptible("Stopped before the history was whole: the next start begins anew."):
        app = App(settings, durability="off")
        events = 0
        began = time.monotonic()
        gc.disable()  # as in a replay: nothing of a batch is cyclic
        try:
            with output.progress_bar(
                f"Making {wanted.days} days of mail", 1.0, shown=not as_json
            ) as bar:
                done = 0.0
                while done < 1.0:
                    portion = decode(line.recv_bytes())
                    if portion.readings:
                        app.pipeline.process(portion.readings)
                    events += len(portion.readings)
                    done = portion.done
                    bar.update(done, status=f"{events:,} events")
        except EOFError:
            raise StoreUnavailable(
                "The process that makes the traffic ended early: start the demo again."
            ) from None
        finally:
            gc.enable()
            app.close()
        flush(folder / STORE)  # nothing was flushed while it was made
        private_file.write(folder / FILLED, msgspec.json.encode(wanted))
    if not as_json:
        seconds = time.monotonic() - began
        print(f"{events:,} events of {wanted.messages:,} messages taken in, in {seconds:,.1f} s.")


# -- its server ----------------------------------------------------------------------------------


def _listener(host: str, port: int) -> socket.socket:
    from sesight.server import address_of, listen

    try:
        return listen(host, port)
    except SettingsError as error:
        free = listen(host, 0)
        print(f"{error} The demo takes {address_of(free)} instead.", file=sys.stderr)
        return free


def _serve(
    folder: Path,
    settings: Settings,
    line: Connection,
    listener: socket.socket,
    rate: float,
    *,
    as_json: bool,
) -> None:
    from sesight.app import App
    from sesight.cli.demo_traffic import LiveRequest
    from sesight.cli.serve import print_now
    from sesight.server import address_of, serve

    address = address_of(listener)
    intake = f"{address}/api/ses/events"
    with postbox(folder, settings, intake) as ses:
        app = App(_settings(folder, section(folder, ses.url, address)))
        try:
            app.store.lock_for_server()
            if as_json:
                print_now(json.dumps({"listening": address, "config": str(folder / SETTINGS)}))
            else:
                _show(app, folder, address)
            live = LiveRequest(intake, str(folder), rate)
            line.send_bytes(msgspec.msgpack.encode(live))
            serve(app, listener)
        except KeyboardInterrupt:
            pass  # Ctrl-C before the server had its own way to hear of it
        finally:
            app.close()
    if not as_json:
        taken = sum(app.metrics.dispositions.values())
        print(f"Stopped. Live events taken in: {taken:,}. The history is kept in {folder}.")


def _show(app: App, folder: Path, address: str) -> None:
    from sesight.cli.campaigns import show_campaigns
    from sesight.cli.serve import print_now
    from sesight.cli.session import run_query
    from sesight.services.campaigns import campaign_query, list_campaigns

    found = run_query(
        app,
        lambda services: list_campaigns(services, campaign_query(services), SHOWN),
        as_json=False,
    )
    if found is not None:
        show_campaigns({**found, "nextCursor": None})
    print_now(f"Sesight listens on {address}")
    print_now(f"The API is described at {address}/api/docs; live events come in now. Ctrl-C stops.")
    print_now("")
    for each in words(folder, _command()):
        print_now(each)


def _command() -> str:
    """Return how this command was called, which is how another window calls it."""
    return sys.argv[0] if Path(sys.argv[0]).name == "sesight" else "sesight"
