"""doctor: whether everything that serving and sending need is in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import SesightError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesight.app import App
    from sesight.send.stream_secrets import SesSecrets
    from sesight.settings import Settings

FREE = 1_000_000_000
"""Bytes of free disk under which the doctor warns: some eight million events."""

AHEAD_MS = 5 * 60_000
"""How far the newest event may lie ahead of the clock."""


class DoctorCheck(NamedTuple):
    """One line: what was looked at, whether it is well, and what is so or what to do."""

    what: str
    ok: bool
    said: str


def doctor(
    config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Check what serving and sending need, and ask a server that runs how intake is.

    Settings, store, keys, disk, clock, topics, streams, listener; senders, templates, credentials.
    Ends with 1 if one needs attention.
    """
    import msgspec

    from sesight.cli.session import print_json

    found = list(_findings(config, store))
    if as_json:
        print_json(msgspec.json.encode([finding._asdict() for finding in found]))
    else:
        for what, ok, said in found:
            print(f"{'ok' if ok else 'attention':<10} {what:<11} {said}")
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def _findings(config: str | None, store: str | None) -> Iterator[DoctorCheck]:
    from sesight.cli.session import load_settings

    try:
        settings = load_settings(config, store)
    except SesightError as error:
        yield DoctorCheck("settings", False, str(error))
        return
    yield DoctorCheck("settings", True, "readable")
    yield _streams(settings)
    yield from _store(settings)
    yield _topics(settings)
    yield from _serving(settings)
    yield from _sending(settings)
    if _needs_aws(settings):
        yield _credentials()


def _streams(settings: Settings) -> DoctorCheck:
    ignored = [
        stream.id
        for stream in settings.streams
        if stream.configuration_set in settings.intake.ignore_sets
    ]
    if ignored:
        said = f"intake.ignore_sets has the configuration set of {', '.join(ignored)}: take it out"
        return DoctorCheck("streams", False, said)
    told = (f"{stream.id} (set {stream.configuration_set})" for stream in settings.streams)
    return DoctorCheck("streams", True, ", ".join(told))


def _store(settings: Settings) -> Iterator[DoctorCheck]:
    import shutil

    from sesight.app import App
    from sesight.cli.output import format_size
    from sesight.cli.session import store_file

    file = store_file(settings)
    if file is not None and not file.exists():
        yield DoctorCheck("store", True, f"{file} is not there yet: the first event makes it")
        folder = file.absolute().parent
        if not folder.is_dir():
            yield DoctorCheck("disk", False, f"there is no folder {folder}: make it")
            return
    else:
        try:
            app = App(settings)
        except SesightError as error:
            yield DoctorCheck("store", False, str(error))
            return
        try:
            yield from _open_store(app, file)
            yield _key(app)
        except SesightError as error:
            yield DoctorCheck("store", False, str(error))
        finally:
            app.close()
    if file is not None:
        free = shutil.disk_usage(file.absolute().parent).free
        said = f"{format_size(free)} free"
        yield DoctorCheck("disk", free >= FREE, said if free >= FREE else f"{said}: make room")


def _open_store(app: App, file: Path | None) -> Iterator[DoctorCheck]:
    from sesight.cli.output import plural

    damage = app.store.find_damage()
    if damage is not None:
        said = f"{file} is damaged: {damage}. Stop what uses it and restore a backup: sesight restore FILE --force"
        yield DoctorCheck("store", False, said)
        return
    newest, waiting = app.store.newest_at(), sum(app.store.quarantine_counts().values())
    said = f"{file or app.settings.store.url} opens, its schema is current"
    if waiting:
        yield DoctorCheck(
            "store",
            False,
            f"{said}; {plural(waiting, 'body')} in quarantine: sesight quarantine list",
        )
    else:
        yield DoctorCheck("store", True, said)
    now = app.clock()
    ahead = newest is not None and newest - now > AHEAD_MS
    doubted = app.store.retention.trusted_time(now) != now
    yield DoctorCheck(
        "clock",
        not ahead and not doubted,
        "the newest event was taken in later than now: set this machine's clock"
        if ahead
        else "is far ahead of the newest event and of the last sweep, so nothing expires: set it, or, if "
        "the store was left alone for so long, serve it; after a day, or with the first event, it is believed"
        if doubted
        else "goes on from the newest event",
    )
    differs = app.retention_warning
    yield DoctorCheck("retention", differs is None, differs or _kept(app))


def _kept(app: App) -> str:
    from sesight.domain.timestamps import day_name
    from sesight.store.retention import in_words

    held = app.store.retention
    said = f"records are kept for {in_words(held.days)}"
    if held.planned is None:
        return said
    day, days = held.planned
    return f"{said}, from {day_name(day)} on for {in_words(days)}"


def _key(app: App) -> DoctorCheck:
    """Look for the key of recipient ids, which opening a store would make anew if it were lost."""
    from sesight.settings import key_file

    kept = key_file(app.settings)
    if kept is not None and not kept.exists() and app.store.first_day() is not None:
        said = f"{kept} is missing: bring it back from a backup, or recipients get other ids"
        return DoctorCheck("key", False, said)
    if kept is not None and not kept.exists():
        return DoctorCheck("key", True, f"{kept} is made when it is first needed")
    try:
        _ = app.recipient_key
    except SesightError as error:
        return DoctorCheck("key", False, str(error))
    return DoctorCheck("key", True, f"of recipient ids: {kept or 'as the settings say'}")


def _topics(settings: Settings) -> DoctorCheck:
    from sesight.cli.output import plural
    from sesight.settings import topics

    try:
        found = topics(settings)
    except SesightError as error:
        return DoctorCheck("topics", False, str(error))
    if not found:
        return DoctorCheck(
            "topics", False, "none: add [[topics]] with arn to take events over HTTP"
        )
    simulated = sum(topic.pinned is not None for topic in found.values())
    said = f"{plural(len(found), 'topic')} allowed"
    return DoctorCheck("topics", True, said + (f", {simulated:,} simulated" if simulated else ""))


# -- a server that runs --------------------------------------------------------------------------


def _serving(settings: Settings) -> Iterator[DoctorCheck]:
    from sesight.server import listen, resolve

    host, port = settings.server.host, settings.server.port
    try:
        resolve(host)
        listen(host, port).close()
    except SesightError as error:
        health = _asked(host, port)
        if health is None:
            yield DoctorCheck("listener", False, str(error))
            return
        yield _served(settings, health, f"{host}:{port}")
        refused = [each for each in health["sentences"] if each.startswith("Refused")]
        yield DoctorCheck("intake", not refused, " ".join(refused or health["sentences"][:1]))
        return
    yield DoctorCheck("listener", True, f"{host}:{port} is free")


def _served(settings: Settings, health: dict[str, Any], where: str) -> DoctorCheck:
    from sesight.app import store_url

    ours, theirs = store_url(settings), health["store"]
    said = f"a Sesight serves {theirs} on {where}"
    if ours != theirs:
        said += f", and these settings say {ours}: stop it, or use its settings (--config)"
    return DoctorCheck("listener", ours == theirs, said)


def _asked(host: str, port: int) -> dict[str, Any] | None:
    """Return how intake is by the server that listens there, None if it is none of ours."""
    from http.client import HTTPConnection, HTTPException

    import msgspec

    try:
        line = HTTPConnection(host, port, timeout=5)
        line.request("GET", "/api/health/intake", headers={"host": "localhost"})
        found = msgspec.json.decode(line.getresponse().read())
        line.close()
    except (OSError, HTTPException, msgspec.DecodeError):
        return None
    ours = isinstance(found, dict) and {"store", "sentences"} <= found.keys()
    return found if ours else None


# -- sending -------------------------------------------------------------------------------------


def _sending(settings: Settings) -> Iterator[DoctorCheck]:
    sending = settings.sending
    if sending.secret is None and not sending.senders:
        yield DoctorCheck("sending", True, "no stream sends: there is no [[sending.senders]]")
        return
    if sending.secret is not None:
        said = f"streams send with the secret {sending.secret}, which is read when they do"
        yield DoctorCheck("senders", True, said)
    known = {stream.id for stream in settings.streams}
    seen: set[str] = set()
    for secrets in sending.senders if sending.secret is None else ():
        if secrets.stream not in known:
            yield DoctorCheck("senders", False, f"{secrets.stream} is no stream: see [[streams]]")
        elif secrets.stream in seen:
            yield DoctorCheck("senders", False, f"{secrets.stream} has two senders: leave one")
        else:
            yield _sender(settings, secrets)
        seen.add(secrets.stream)
    yield _templates(settings)


def _sender(settings: Settings, secrets: SesSecrets) -> DoctorCheck:
    from sesight.app.aws import region_of
    from sesight.send.message_defaults import MessageDefaults

    stream = settings.counting_rules.streams[secrets.stream]
    url = secrets.public_url
    link = None if not (url and secrets.unsubscribe_keys) else lambda *_: ""
    wrong = []
    try:
        MessageDefaults(stream=stream, secrets=secrets, link=link)
    except SesightError as error:
        wrong.append(str(error))
    if url is not None and not _is_reachable(url):
        wrong.append(f"public_url {url} must begin with https://, which mailboxes ask of links.")
    if not (secrets.region or region_of(settings) or settings.sending.endpoint):
        wrong.append("There is no AWS region to send in: set `region`.")
    said = " ".join(wrong) or f"sends from {secrets.from_address}"
    return DoctorCheck("senders", not wrong, f"{secrets.stream}: {said}")


def _is_reachable(url: str) -> bool:
    """Return whether links may begin so: over TLS, or on this machine as the demo's do."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def _templates(settings: Settings) -> DoctorCheck:
    from sesight.app import templates_of
    from sesight.cli.output import plural

    found = templates_of(settings)
    try:
        about = found.about()
    except SesightError as error:
        return DoctorCheck("templates", False, str(error))
    if not about:
        said = f"there is none in {found.folder}: sesight templates init brings two"
        return DoctorCheck("templates", False, said)
    wrong = [each.name for each in about if any(f.level == "error" for f in each.findings)]
    if wrong:
        said = f"{', '.join(wrong)} cannot be sent: sesight templates check"
        return DoctorCheck("templates", False, said)
    return DoctorCheck("templates", True, f"{plural(len(about), 'template')} in {found.folder}")


def _needs_aws(settings: Settings) -> bool:
    sending = settings.sending
    sends = bool(sending.senders or sending.secret) and sending.endpoint is None
    stored = settings.store.url.startswith("dynamodb://") and "endpoint=" not in settings.store.url
    return sends or stored or sending.secret is not None or bool(settings.recipient_key_secret)


def _credentials() -> DoctorCheck:
    from sesight.app.aws import credentials

    try:
        return DoctorCheck("credentials", True, f"of AWS, by {credentials()}")
    except SesightError as error:
        return DoctorCheck("credentials", False, str(error))
