"""doctor: whether everything that Sesight needs is in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from sesight.cli.options import Config, Json, StoreUrl
from sesight.domain.errors import SesightError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesight.app import App
    from sesight.settings import Settings

FREE = 1_000_000_000
"""Bytes of free disk under which the doctor warns: some eight million events."""

AHEAD_MS = 5 * 60_000
"""How far the newest event may lie ahead of the clock."""


class Finding(NamedTuple):
    """One line: what was looked at, whether it is well, and what is so or what to do."""

    what: str
    ok: bool
    said: str


def doctor(config: Config = None, store: StoreUrl = None, as_json: Json = False) -> None:
    """Check settings, store, disk, clock, topics and listener; exits with 1 if one needs attention."""
    import msgspec

    from sesight.cli.session import put

    found = list(_findings(config, store))
    if as_json:
        put(msgspec.json.encode([finding._asdict() for finding in found]))
    else:
        for what, ok, said in found:
            print(f"{'ok' if ok else 'attention':<10} {what:<9} {said}")
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def _findings(config: str | None, store: str | None) -> Iterator[Finding]:
    from sesight.cli.session import settings_of

    try:
        settings = settings_of(config, store)
    except SesightError as error:
        yield Finding("settings", False, str(error))
        return
    names = ", ".join(stream.id for stream in settings.streams)
    yield Finding("settings", True, f"readable; streams: {names}")
    yield from _store(settings)
    yield _topics(settings)
    yield _listener(settings)


def _store(settings: Settings) -> Iterator[Finding]:
    import shutil

    from sesight.app import App
    from sesight.cli.screen import size
    from sesight.cli.session import store_file

    file = store_file(settings)
    if file is not None and not file.exists():
        yield Finding("store", True, f"{file} is not there yet: the first event makes it")
        folder = file.absolute().parent
        if not folder.is_dir():
            yield Finding("disk", False, f"there is no folder {folder}: make it")
            return
    else:
        try:
            app = App(settings)
        except SesightError as error:
            yield Finding("store", False, str(error))
            return
        try:
            yield from _open_store(app, file)
        finally:
            app.close()
    if file is not None:
        free = shutil.disk_usage(file.absolute().parent).free
        said = f"{size(free)} free"
        yield Finding("disk", free >= FREE, said if free >= FREE else f"{said}: make room")


def _open_store(app: App, file: Path | None) -> Iterator[Finding]:
    newest, waiting = app.store.newest_at(), sum(app.store.quarantine_counts().values())
    said = f"{file or app.settings.store.url} opens, its schema is current"
    if waiting:
        yield Finding(
            "store", False, f"{said}; {waiting:,} bodies in quarantine: sesight quarantine list"
        )
    else:
        yield Finding("store", True, said)
    ahead = newest is not None and newest - app.clock() > AHEAD_MS
    yield Finding(
        "clock",
        not ahead,
        "the newest event was taken in later than now: set this machine's clock"
        if ahead
        else "goes on from the newest event",
    )


def _topics(settings: Settings) -> Finding:
    from sesight.settings import topics

    try:
        found = topics(settings)
    except SesightError as error:
        return Finding("topics", False, str(error))
    if not found:
        return Finding("topics", False, "none: add [[topics]] with arn to take events over HTTP")
    simulated = sum(topic.pinned is not None for topic in found.values())
    said = f"{len(found)} allowed" + (f", {simulated} of them simulated" if simulated else "")
    return Finding("topics", True, said)


def _listener(settings: Settings) -> Finding:
    from http.client import HTTPConnection, HTTPException

    from sesight.server import listen, place

    host, port = settings.server.host, settings.server.port
    try:
        place(host)
    except SesightError as error:
        return Finding("listener", False, str(error))
    try:
        listen(host, port).close()
    except SesightError as error:
        try:
            line = HTTPConnection(host, port, timeout=2)
            line.request("GET", "/api/health")
            ours = line.getresponse().read(200) == b'{"status":"ok"}'
            line.close()
        except (OSError, HTTPException):
            ours = False
        if ours:
            return Finding("listener", True, f"a Sesight serves on {host}:{port}")
        return Finding("listener", False, str(error))
    return Finding("listener", True, f"{host}:{port} is free")
