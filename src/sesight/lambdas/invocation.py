"""An invocation of a function: its time limit, and events that only keep it warm."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar

from sesight.app import App
from sesight.domain.errors import SettingsError
from sesight.store.dynamodb.store import DynamoStore

SPARE = 5.0
"""Seconds of each invocation kept for its answer: a call to AWS that is under way may take three."""

LEAST_SECONDS = 8
"""The shortest time limit of a function: the time kept for its answer, and some to work in."""

_AnswerT = TypeVar("_AnswerT")


class Context(Protocol):
    """The context of an invocation, as Lambda passes it."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the function."""
        ...


def within_time_limit(
    handle: Callable[[dict[str, Any], Context], _AnswerT],
) -> Callable[[dict[str, Any], Context], _AnswerT]:
    """Decorate a handler: it raises SettingsError if the function's time limit is too short for any work."""

    @wraps(handle)
    def invoked(event: dict[str, Any], context: Context) -> _AnswerT:
        seconds = round(context.get_remaining_time_in_millis() / 1_000)
        if seconds < LEAST_SECONDS:
            raise SettingsError(
                f"This function has {seconds} seconds for an invocation, of which {SPARE:.0f} are kept "
                f"for its answer: set its timeout to {LEAST_SECONDS} seconds or more."
            )
        return handle(event, context)

    return invoked


def seconds_left(context: Context) -> Callable[[], float]:
    """Return what returns the seconds left for work in an invocation."""
    return lambda: context.get_remaining_time_in_millis() / 1_000 - SPARE


def dynamo_store(app: App) -> DynamoStore:
    """Return the app's store. Raises SettingsError, and closes the app, if it is not DynamoDB."""
    if not isinstance(app.store, DynamoStore):
        app.close()
        raise SettingsError(
            "A function's disk is not kept: set SESIGHT_STORE_URL to dynamodb://REGION."
        )
    return app.store


PING_NAMES = frozenset({"ping", "warm", "warmer", "warmup", "serverless-plugin-warmup"})
"""The single key, or the `source`, of events that only keep a function warm."""


def is_ping(event: Any) -> bool:
    """Return whether an event is empty, or only keeps the function warm."""
    if not event or event == {"Records": []}:
        return True
    return isinstance(event, dict) and (
        event.get("source") in PING_NAMES or next(iter(event)).lower() in PING_NAMES
    )
