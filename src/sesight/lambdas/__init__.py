"""The Lambda functions: events in from SQS or SNS, rollups from the change feeds, upkeep, the API.

Settings come from the environment (`SESIGHT_…`), which holds the names of secrets, never secrets. A function
creates its AWS clients once, when Lambda loads it, and keeps them.
`docs/how-to/run-on-aws.md` describes how to set up each function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from sesight.app import App, now_ms
from sesight.domain.errors import StoreUnavailable
from sesight.ingest.journal import sweep_line
from sesight.lambdas.invocation import (
    Context,
    dynamo_store,
    is_ping,
    seconds_left,
    within_time_limit,
)
from sesight.lambdas.metrics import emit
from sesight.lambdas.processor import Processor
from sesight.services import upkeep as upkeep_service
from sesight.settings import function_name, load
from sesight.store.dynamodb.store import DynamoStore, open_aggregator

if TYPE_CHECKING:
    from sesight.lambdas.send import SendFunction
    from sesight.store.dynamodb.rollup_aggregator import Aggregator

_log = logging.getLogger(__name__)

LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]
"""A function as Lambda calls it, with an event and a context."""


# The functions


@within_time_limit
def outreach_events(event: dict[str, Any], context: Context) -> dict[str, Any] | None:
    """Process events of the outreach queue, or of the topic itself.

    See `Processor.handle`.
    """
    return _processor("outreach").handle(event, context)


@within_time_limit
def finance_events(event: dict[str, Any], context: Context) -> dict[str, Any] | None:
    """Process events of the finance queue, or of the topic itself.

    See `Processor.handle`.
    """
    return _processor("finance").handle(event, context)


@within_time_limit
def rollups(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Apply a windowed batch of one shard of a tracking or suppression table's change feed.

    Raises ShardUnknown for a batch without a shard id, WrongFeed for a batch of another table or without
    both images, and StoreUnavailable if not everything was applied: then Lambda invokes the function with
    the same batch again, and no change is applied twice.
    """
    aggregator = _aggregator()
    aggregator.client.remaining = seconds_left(context)
    applied = aggregator.take({"Records": [], **(event or {})})
    if applied.changes:
        emit({}, {"AppliedChanges": applied.changes, "BadChanges": applied.bad})
    return {"state": {}}  # Lambda takes a windowed answer without a state for a failure


@within_time_limit
def upkeep(event: dict[str, Any], context: Context) -> None:
    """Do the upkeep that a server does when it is quiet; schedule it once an hour.

    It ends suppressions whose time is over, applies events whose message has become known, removes expired
    data, and merges the parts of old rollup rows. What does not fit into one invocation is done by the
    next one.
    """
    del event
    app, store = _app()
    store.limit_time(seconds_left(context))
    now = app.clock()
    swept = upkeep_service.run_on_lambda(store, app.pipeline, app.known_sets, now)
    _log.log(*sweep_line(swept))
    emit({"What": "Quarantined"}, {"Swept": swept.quarantined})
    emit({"What": "Hours"}, {"Swept": swept.hours})
    if app.retention_warning is not None:
        _log.warning("%s", app.retention_warning)
    store.compact(now)
    app.suppressions.inherit()


@within_time_limit
def api(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answer a request of API Gateway, with the same application as the local server.

    It answers requests that an authorizer has let in, `GET /health`, and unsubscribe links. An event that
    only keeps the function warm is ignored.
    """
    if is_ping(event):
        return {}
    _, store = _app()
    store.limit_time(seconds_left(context))
    return _gateway()(event, context)


@within_time_limit
def outreach_send(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Send outreach mail for another program of the account.

    See `SendFunction.handle`.
    """
    return _send_function("outreach").handle(event, context)


@within_time_limit
def finance_send(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Send statements for another program of the account.

    See `SendFunction.handle`.
    """
    return _send_function("finance").handle(event, context)


# What the functions share, created once


@cache
def _app() -> tuple[App, DynamoStore]:
    app = App(
        load(),
        secret_failed=lambda stream: emit({"Stream": stream}, {"SecretFailures": 1}),
        lasting=False,
    )
    return app, dynamo_store(app)


@cache
def _processor(queue: str) -> Processor:
    return Processor(load(), queue)


@cache
def _aggregator() -> Aggregator:
    settings = load()
    return open_aggregator(settings.store.url, settings.counting_rules.streams, now_ms)


@cache
def _send_function(stream: str) -> SendFunction:
    from sesight.lambdas.send import SendFunction

    return SendFunction(_app()[0], stream)


@cache
def _gateway() -> LambdaHandler:
    return gateway(_app()[0])


def gateway(app: App) -> LambdaHandler:
    """Return a handler of API Gateway's events that answers with an app's API."""
    from mangum import Mangum
    from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

    from sesight.api.gateway import Gateway
    from sesight.api.problem import MEDIA_TYPE

    # its line for each request has the path, which may be an unsubscribe link
    logging.getLogger("mangum.http").setLevel(logging.WARNING)
    texts = [*DEFAULT_TEXT_MIME_TYPES, MEDIA_TYPE]
    return Mangum(Gateway(app.api(), app.hosts), lifespan="off", text_mime_types=texts)


# Created when Lambda loads the function: that time does not count as time of an invocation

_CREATED_BY: dict[str, Callable[[], object]] = {
    "outreach_events": lambda: _processor("outreach"),
    "finance_events": lambda: _processor("finance"),
    "rollups": _aggregator,
    "upkeep": _app,
    "api": _gateway,
    "outreach_send": lambda: _send_function("outreach"),
    "finance_send": lambda: _send_function("finance"),
}
"""What creates all that a function needs, by its name."""


def _create_for(name: str | None) -> None:
    """Create what a function needs, given its handler (`sesight.lambdas.api`), if it is one of these."""
    module, _, function = (name or "").replace("/", ".").rpartition(".")
    if module == __name__ and function in _CREATED_BY:
        with suppress(StoreUnavailable):  # the first invocation tries again
            _CREATED_BY[function]()


_create_for(function_name())
