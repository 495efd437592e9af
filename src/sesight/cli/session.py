"""A command's session: the settings, the open store, the API's answers in this process."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sesight.domain.errors import InvalidRequest, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from msgspec import Struct

    from sesight.app import App
    from sesight.services import Services
    from sesight.settings import Settings


def load_settings(config: str | None, store: str | None) -> Settings:
    """Read the settings that a command is given. Raises SettingsError."""
    from sesight.settings import load

    return load(config, {"store.url": store})


def store_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite store, None for a store of another kind."""
    scheme, _, path = settings.store.url.partition(":///")
    return Path(path) if scheme == "sqlite" and path else None


@contextmanager
def open_app(
    config: str | None,
    store: str | None,
    *,
    new: bool = False,
    durability: str = "full",
    backfill: bool = False,
    journal: Callable[[bytes], object] | None = None,
) -> Iterator[App]:
    """Open the app and close it at the end; the store must be there, unless it may be `new`."""
    from sesight.app import App

    settings = load_settings(config, store)
    file = store_file(settings)
    if not new and file is not None and not file.exists():
        raise SettingsError(
            f"There is no store {file} yet. Name another with --store, or make this one: "
            "sesight replay FILE"
        )
    app = App(settings, durability=durability, backfill=backfill, journal=journal)
    try:
        yield app
    finally:
        app.close()


def select_streams(app: App, stream: str | None) -> tuple[str, ...]:
    """Return the streams named, all if none is. Raises InvalidRequest for an unknown one."""
    known = tuple(app.counting.streams)
    if stream is None:
        return known
    wanted = tuple(name.strip() for name in stream.split(","))
    for name in wanted:
        if name not in known:
            raise InvalidRequest(
                f"The settings have no stream {name!r}; they have {', '.join(known)}."
            )
    return wanted


def print_json(body: bytes) -> None:
    """Print an answer as it is, and end its line."""
    sys.stdout.flush()
    sys.stdout.buffer.write(body + b"\n")
    sys.stdout.buffer.flush()


def run_query(
    app: App, read: Callable[[Services], Struct], *, as_json: bool
) -> dict[str, Any] | None:
    """Print the answer of a service as JSON and return None, or return it as the API's JSON, decoded.

    Ends the command if the service raises an error: with the API's problem as JSON, else with its sentence.
    """
    import msgspec

    from sesight.api.problem import problem_of
    from sesight.app import store_url

    services = app.services()
    try:
        body = msgspec.json.encode(read(services))
    except Exception as error:  # noqa: BLE001 - the same problem as over HTTP; its cause is logged
        problem = problem_of(error, services.new_request_id(), "on the command line")
    else:
        if as_json:
            print_json(body)
            return None
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded
    if as_json:
        print_json(msgspec.json.encode(problem))
    else:
        # over HTTP the store's place is not disclosed; whoever runs a command may see it
        store = f" The store is {store_url(app.settings)}." if problem.status == 503 else ""
        print(f"{problem.detail}{store}", file=sys.stderr)
        for word in problem.allowed or ():
            print(f"  {word}", file=sys.stderr)
    raise typer.Exit(2 if problem.status == 422 else 1)


@contextmanager
def interruptible(sentence: str) -> Iterator[None]:
    """End the command with a sentence when it is stopped by Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        print(sentence, file=sys.stderr)
        raise typer.Exit(1) from None
