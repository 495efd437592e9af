"""backup and restore: the store as one file, while it is used and when it is needed again."""

from __future__ import annotations

import os
import shutil
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sesight import private_file
from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import SesightError, SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesight.settings import Settings

PART = ".partial"
"""Ending of a copy that is not whole yet."""

BESIDE = ("-wal", "-shm", "-journal")
"""Endings of what SQLite keeps beside a file in use."""

KEY = ".key"
"""Ending of the file with the key that recipient ids are made under."""


def backup(
    path: Annotated[Path, typer.Argument(help="The new file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store to a file, while a server uses it; its recipient key goes to PATH.key."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, open_app, print_json, store_file
    from sesight.store.sqlite.store import SqliteStore

    if path.exists() and not force:
        raise SettingsError(f"{path} is there already: name another file, or --force.")
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"There is no folder {path.parent}: make it first.")
    part = path.with_name(path.name + PART)
    with interruptible("Stopped. No backup was made."), open_app(config, store) as app:
        source = store_file(app.settings)
        if not isinstance(app.store, SqliteStore):
            raise SettingsError(
                f"{app.settings.store.url} is no SQLite store: DynamoDB's own point-in-time recovery "
                "is its backup."
            )
        try:
            _remove(part)
            private_file.make(part)
            with output.progress_bar("Copying", shown=not as_json) as bar:
                app.store.backup(part, lambda left, of: bar.update(of - left, of))
            flush(part)
            part.replace(path)
            private_file.flush_folder(path)
        except OSError as error:
            raise StoreUnavailable(f"The backup {path} cannot be written: {error}.") from None
        finally:
            _remove(part)
        if source is not None:
            _copy_key(source, path)
    size = path.stat().st_size
    if as_json:
        print_json(msgspec.json.encode({"path": str(path), "bytes": size}))
    else:
        print(f"{path} holds the whole store, {output.format_size(size)}.")


def restore(
    path: Annotated[Path, typer.Argument(help="A file that `sesight backup` made.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a store that holds something.")
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the store's place, after a check that it is whole and of a known version."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, load_settings, print_json, store_file

    settings = load_settings(config, store)
    target = store_file(settings)
    if target is None:
        raise SettingsError(f"{settings.store.url} is no SQLite store: restore writes only those.")
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    if target.exists() and path.samefile(target):
        raise SettingsError(f"{path} is the store itself: name the backup.")
    if not target.absolute().parent.is_dir():
        raise SettingsError(f"There is no folder {target.parent} for the store: make it first.")
    part = target.with_name(target.name + PART)
    with interruptible("Stopped. The store is as it was."), _alone(target):
        try:
            with output.progress_bar("Checking", shown=not as_json):
                _remove(part)
                _copy(path, part)
                _check(part, path, settings)
                _make_room(target, settings, force=force)
            flush(part)
            _remove(target, itself=False)
            part.replace(target)
            private_file.flush_folder(target)
            _copy_key(path, target)
        except OSError as error:
            raise StoreUnavailable(f"The store cannot be restored: {error}.") from None
        finally:
            _remove(part)
    if as_json:
        print_json(msgspec.json.encode({"path": str(target), "bytes": target.stat().st_size}))
    else:
        print(f"{target} is the store of {path} now.")


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let no server begin to serve a store, and none serve it. Raises SettingsError if one does."""
    from sesight.store.sqlite.connection import lock

    try:
        held = lock(target)
    except SettingsError:
        raise SettingsError(
            f"Another process uses {target}: stop it first, then restore."
        ) from None
    try:
        yield
    finally:
        os.close(held)


def _check(part: Path, path: Path, settings: Settings) -> None:
    """Open the copy as a store and read all of it. Raises SettingsError, StoreTooNew."""
    from sesight.store.sqlite.store import SqliteStore

    try:
        copy = SqliteStore(part, retention_days=settings.store.retention_days)
        try:
            wrong = copy.check_integrity()
        finally:
            copy.close()
    except StoreUnavailable as error:
        wrong = [str(error)]
    except SettingsError as error:
        # it names the copy, which nobody has heard of
        raise type(error)(str(error).replace(str(part), str(path))) from None
    if wrong:
        raise SettingsError(f"{path} is damaged and was not restored: {wrong[0]}")


def _make_room(target: Path, settings: Settings, *, force: bool) -> None:
    """See that nothing is lost and nobody uses the store in place. Raises SettingsError."""
    from sesight.store import open_store

    if not target.exists():
        return
    try:
        with closing(
            open_store(f"sqlite:///{target}", retention_days=settings.store.retention_days)
        ) as held:
            empty = held.first_day() is None and not held.quarantine_counts()
    except SesightError:
        empty = False  # what cannot be read may still hold something
    if not empty and not force:
        raise SettingsError(
            f"{target} holds a store already. Take a backup of it, then say --force to replace it."
        )
    # the last to close a store takes its write-ahead log away: where it stays, somebody is there
    if target.with_name(target.name + "-wal").exists():
        raise SettingsError(f"Another process uses {target}: stop it first, then restore.")


def _copy(path: Path, part: Path) -> None:
    private_file.make(part)
    shutil.copyfile(path, part)


def _copy_key(source: Path, target: Path) -> None:
    key = source.with_name(source.name + KEY)
    if key.exists():
        private_file.write(target.with_name(target.name + KEY), key.read_bytes())


def flush(path: Path) -> None:
    """Have the file's bytes on disk before it takes its name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(path: Path, *, itself: bool = True) -> None:
    for ending in ("", *BESIDE) if itself else BESIDE:
        path.with_name(path.name + ending).unlink(missing_ok=True)
