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

    from litestar.handlers import HTTPRouteHandler

    from sesight.app import App
    from sesight.settings import Settings


def settings_of(config: str | None, store: str | None) -> Settings:
    """Read the settings that a command is given. Raises SettingsError."""
    from sesight.settings import load

    return load(config, {"store.url": store})


def store_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite store, None for a store of another kind."""
    scheme, _, path = settings.store.url.partition(":///")
    return Path(path) if scheme == "sqlite" and path else None


@contextmanager
def opened(
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

    settings = settings_of(config, store)
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


def streams_of(app: App, stream: str | None) -> tuple[str, ...]:
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


def put(body: bytes) -> None:
    """Print an answer as it is, and end its line."""
    sys.stdout.flush()
    sys.stdout.buffer.write(body + b"\n")
    sys.stdout.buffer.flush()


def answer(
    app: App, route: HTTPRouteHandler, query: dict[str, Any], *, as_json: bool, **path: str
) -> dict[str, Any] | None:
    """Answer as a read route of the API does: print it and return None if that is wanted, else return
    it decoded. `path` has the parameters of the route's path.

    Ends the command when the API answers with a problem.
    """
    import msgspec

    from sesight.api.in_process import answer_to
    from sesight.app import store_url

    status, body = answer_to(route, query, app.services(), **path)
    if status == 200 and not as_json:
        found: dict[str, Any] = msgspec.json.decode(body)
        return found
    if as_json:
        put(body)
    else:
        problem = msgspec.json.decode(body)
        said = problem.get("detail") or problem.get("title")
        # the API names no file to whoever asks it; who runs a command has named it
        print(
            f"{said} The store is {store_url(app.settings)}." if status == 503 else said,
            file=sys.stderr,
        )
        for word in problem.get("allowed") or ():
            print(f"  {word}", file=sys.stderr)
    if status != 200:
        raise typer.Exit(2 if status == 422 else 1)
    return None


@contextmanager
def interruptible(sentence: str) -> Iterator[None]:
    """End the command with a sentence when it is stopped by Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        print(sentence, file=sys.stderr)
        raise typer.Exit(1) from None
