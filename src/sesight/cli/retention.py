"""retention: how long the store keeps records; a shorter time is asked for, and can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import SettingsError

if TYPE_CHECKING:
    from sesight.app import App

retention = typer.Typer(
    name="retention", help="How long records are kept, and how to shorten it.", no_args_is_help=True
)


@retention.command()
def show(
    config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Show how long the store keeps records, what is to change, and what the settings say."""
    from sesight.cli.session import open_app

    with open_app(config, store) as app:
        _tell(app, as_json=as_json)


@retention.command()
def shorten(
    config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Have records kept only as long as `store.retention_days` in the settings says.

    It takes at least 24 hours to come into force; until then `sesight retention keep` takes it back.
    """
    from sesight.cli.session import open_app

    with open_app(config, store) as app:
        days = app.settings.store.retention_days
        if days is None:
            raise SettingsError(
                "The settings do not say how long: set store.retention_days to fewer days first."
            )
        app.store.retention.shorten(days)
        _tell(app, as_json=as_json)


@retention.command()
def keep(
    config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Take back a shorter time that is not in force yet."""
    from sesight.cli.session import open_app

    with open_app(config, store) as app:
        if not app.store.retention.cancel_planned() and not as_json:
            print("There was nothing to take back.")
        _tell(app, as_json=as_json)


def _tell(app: App, *, as_json: bool) -> None:
    import msgspec

    from sesight.cli.session import print_json
    from sesight.domain.timestamps import DAY, iso

    held, said = app.store.retention, app.settings.store.retention_days
    planned = held.planned
    from_at = None if planned is None else iso(planned.from_day * DAY)
    if as_json:
        document: dict[str, Any] = {
            "days": held.days,
            "planned": None if planned is None else {"days": planned.days, "from": from_at},
            "settings": said,
        }
        print_json(msgspec.json.encode(document))
        return
    print(f"Records are kept for {_words(held.days)} after their send day.")
    if planned is not None and from_at is not None:
        ending = _ending(app, planned.from_day - planned.days)
        print(
            f"From {from_at[:10]} 00:00 UTC on it is {_words(planned.days)}. Send days whose records then "
            f"expire for good, a stream's day each: {ending:,}.\n"
            "To take it back until then: sesight retention keep"
        )
    elif (different := app.retention_warning) is not None:
        print(different)


def _ending(app: App, live_from: int) -> int:
    """Return of how many send days, a stream's day each, records held now are from before a day."""
    now = app.clock()
    return sum(
        day < live_from
        for stream in app.counting.streams
        for day in app.store.held_days(stream, now)
    )


def _words(days: int) -> str:
    from sesight.store.retention import in_words

    return in_words(days)
