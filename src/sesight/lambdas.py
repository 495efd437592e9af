"""The Lambda functions: events in from SQS or SNS, rollups from the change feeds, upkeep, the API.

Settings come from the environment (`SESIGHT_…`), and names of secrets only. A function makes its
clients once, when Lambda loads it, and keeps them. `docs/how-to/run-on-aws.md` says how each is to be set up.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from sesight.app import SWEEP_ROWS, App, now_ms
from sesight.domain.errors import SettingsError, StoreUnavailable
from sesight.domain.event import UNTAGGED, Disposition
from sesight.ingest.journal import report
from sesight.ingest.reader import read
from sesight.ingest.reading import EmptyReading
from sesight.ingest.transport.sqs_batch import Delivery, read_delivery, take
from sesight.services.quarantine import retry, take_due
from sesight.settings import Settings, function_name, load
from sesight.store.dynamodb.store import DynamoStore, open_aggregator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesight.domain.ports import Clock
    from sesight.ingest.processed import Processed
    from sesight.store.dynamodb.rollup_aggregator import Aggregator

_log = logging.getLogger(__name__)

SPARE = 5.0
"""Seconds kept for the answer when everything else has to be over: a call under way may take three."""

LEAST_SECONDS = 8
"""The time limit that a function needs: what is kept for the answer, and some to work in."""

RETRIED = 1_000
"""Events that wait for their message, the newest, tried again by upkeep."""

NAMESPACE = "Sesight"
"""Of the metrics. Their dimensions are few on purpose: each value costs as a metric of its own."""

METRICS = {
    "SES_EVENT_PROCESSED": (
        (("Stream", "EventType"), ("Stream", "Disposition")),
        "Events and envelopes taken in, by their type and by what became of them.",
    ),
    "MissingCampaignTag": ((("Stream",),), "Events without a campaign tag."),
    "Quarantined": ((("Reason",),), "Bodies quarantined."),
    "FailedMessages": ((("Queue",),), "Messages that could not be stored and come again."),
    "Conflicts": (((),), "Records decided again, since another function had changed them first."),
    "Throttled": ((("Resource",),), "Calls that a table or index throttled, tried again."),
    "AppliedChanges": (((),), "Changes of the feeds that the aggregator has read."),
    "BadChanges": (((),), "Those of them that could not be read, and are in no total."),
    "Swept": ((("What",),), "Hour rows and quarantined bodies removed when their time was over."),
    "SecretFailures": (
        (("Stream",),),
        "Secrets of senders that could not be read; one read before goes on being used.",
    ),
}
"""The metrics, by name: their sets of dimensions, and what they count; both are contract."""

NONE = "none"
"""A dimension's value where there is none."""


Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
"""A function as Lambda calls it: an event and a context in, an answer out."""


class Context(Protocol):
    """What Lambda says of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the function."""
        ...


_Answer = TypeVar("_Answer")


def _in_time(
    handle: Callable[[dict[str, Any], Context], _Answer],
) -> Callable[[dict[str, Any], Context], _Answer]:
    """Have a function refuse to work where its time limit is too short for it ever to be done."""

    @wraps(handle)
    def invoked(event: dict[str, Any], context: Context) -> _Answer:
        seconds = round(context.get_remaining_time_in_millis() / 1_000)
        if seconds < LEAST_SECONDS:
            raise SettingsError(
                f"This function has {seconds} seconds for an invocation, of which {SPARE:.0f} are kept "
                f"for its answer: set its timeout to {LEAST_SECONDS} seconds or more."
            )
        return handle(event, context)

    return invoked


# The functions


@_in_time
def outreach_events(event: dict[str, Any], context: Context) -> dict[str, Any] | None:
    """Take in what the outreach queue, or the topic itself, hands over.

    See `Processor.handle`.
    """
    return _processor("outreach").handle(event, context)


@_in_time
def finance_events(event: dict[str, Any], context: Context) -> dict[str, Any] | None:
    """Take in what the finance queue, or the topic itself, hands over.

    See `Processor.handle`.
    """
    return _processor("finance").handle(event, context)


@_in_time
def rollups(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Apply a windowed batch of one shard of a tracking or suppression table's change feed.

    Raises ShardUnknown for a batch that does not say its shard, WrongFeed for one of another table or
    without both images, StoreUnavailable when not everything was applied: Lambda gives the same batch
    again, and what was applied is not applied twice.
    """
    aggregator = _aggregator()
    aggregator.client.remaining = _seconds_left(context)
    applied = aggregator.take({"Records": [], **(event or {})})
    if applied.changes:
        _emit({}, {"AppliedChanges": applied.changes, "BadChanges": applied.bad})
    return {"state": {}}  # a windowed answer without a state counts as a failure


@_in_time
def upkeep(event: dict[str, Any], context: Context) -> None:
    """Do what a server does when it is quiet, once an hour.

    That is: end suppressions whose time is over, fold in events that still wait though their message
    is known, remove what has outlived its use, put old parts of rollup rows together. What it does
    not come to in its time, it does the next time.
    """
    del event
    app, store = _app()
    store.limit_time(_seconds_left(context))
    now = app.clock()
    while due := store.suppressions_due(now, SWEEP_ROWS):
        app.pipeline.lapse([(item.stream, item.address) for item in due])
    # a function that ended after it stored a message and before it looked for what waits for that
    # has left it waiting: before the rest, since an event matters more than room
    retry(store, app.pipeline, app.known_sets, "unrouted", limit=RETRIED)
    take_due(store, app.pipeline, now)
    swept = store.sweep(now, SWEEP_ROWS)
    _log.log(*report(swept))
    _emit({"What": "Quarantined"}, {"Swept": swept.quarantined})
    _emit({"What": "Hours"}, {"Swept": swept.hours})
    if app.retention_differs is not None:
        _log.warning("%s", app.retention_differs)
    store.compact(now)
    app.suppressions.inherit()


@_in_time
def api(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answer a request that API Gateway hands over: the same application as the local server's.

    Only what an authorizer has let in is answered, `GET /health`, and unsubscribe links. What only
    keeps the function warm is ignored.
    """
    if is_ping(event):
        return {}
    _, store = _app()
    store.limit_time(_seconds_left(context))
    return _gateway()(event, context)


@_in_time
def outreach_send(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Send outreach mail that another program of the account asks for.

    See `Sending.handle`.
    """
    return _sending("outreach").handle(event, context)


@_in_time
def finance_send(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Send statements that another program of the account asks for.

    See `Sending.handle`.
    """
    return _sending("finance").handle(event, context)


# What they share, made once


@cache
def _app() -> tuple[App, DynamoStore]:
    app = App(
        load(),
        secret_failed=lambda stream: _emit({"Stream": stream}, {"SecretFailures": 1}),
        lasting=False,
    )
    return app, _dynamo(app)


def _dynamo(app: App) -> DynamoStore:
    if not isinstance(app.store, DynamoStore):
        app.close()
        raise SettingsError(
            "A function's disk is not kept: set SESIGHT_STORE_URL to dynamodb://REGION."
        )
    return app.store


@cache
def _processor(queue: str) -> Processor:
    return Processor(load(), queue)


@cache
def _aggregator() -> Aggregator:
    settings = load()
    return open_aggregator(settings.store.url, settings.rules_of_counting.streams, now_ms)


@cache
def _sending(stream: str) -> Sending:
    return Sending(_app()[0], stream)


@cache
def _gateway() -> Handler:
    return gateway(_app()[0])


def gateway(app: App) -> Handler:
    """Return what answers API Gateway's events with an app's API."""
    from mangum import Mangum
    from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

    from sesight.api.gateway import Gateway
    from sesight.api.problem import MEDIA_TYPE

    # it has a line for each request, and a path may be an unsubscribe link
    logging.getLogger("mangum.http").setLevel(logging.WARNING)
    texts = [*DEFAULT_TEXT_MIME_TYPES, MEDIA_TYPE]
    asked = Gateway(app.api(), app.hosts)
    return Mangum(asked, lifespan="off", text_mime_types=texts)


def _seconds_left(context: Context) -> Callable[[], float]:
    return lambda: context.get_remaining_time_in_millis() / 1_000 - SPARE


# Mail out


class Sending:
    """Sends what is asked of it through the API's own route, so that the same holds of it."""

    def __init__(self, app: App, stream: str) -> None:
        """Find the stream's route, and make what it sends with."""
        from sesight.services import OWN_ROUTES

        self._app = app
        self._store = _dynamo(app)
        self._api = app.api()
        (self._path,) = [each.send for each in OWN_ROUTES if each.stream == stream]
        with suppress(SettingsError):  # what is wrong with a sender, the route says
            app.sending.sender(stream)

    def handle(self, event: dict[str, Any], context: Context) -> dict[str, Any]:
        """Answer the body of `POST …/send`, in which `idempotencyKey` may stand as well.

        Returns what the route answers (docs/reference/api.md) with its `status`. A message that SES took and
        whose answer was lost is not sent again when the function is invoked again with the same key.
        """
        self._store.limit_time(_seconds_left(context))
        asked: Any = event
        key = None
        if isinstance(event, dict):
            asked = dict(event)
            key = asked.pop("idempotencyKey", None)
        body = msgspec.json.encode(asked)
        key = None if key is None else str(key)
        status, told = self._app.ask(f"/api{self._path}", {}, self._api, body=body, key=key)
        answer: dict[str, Any] = msgspec.json.decode(told)
        return {**answer, "status": status}


# Events in


class Refused(StoreUnavailable):
    """Events that came without a queue could not all be stored: invoke the function again."""


class Processor:
    """Takes events in through the one pipeline; keeps its clients between invocations."""

    def __init__(self, settings: Settings, queue: str, clock: Clock = now_ms) -> None:
        """Open the store. `queue` names in metrics where the events come from."""
        self._queue = queue
        self._counts = Counts()
        self._app = App(
            settings,
            clock=clock,
            journal=_write if settings.intake.log_events else None,
            count=self._counts.add,
        )
        self._store = _dynamo(self._app)

    def handle(self, event: dict[str, Any], context: Context) -> dict[str, Any] | None:
        """Take in an event of SQS, SNS or EventBridge. One that only keeps the function warm is ignored.

        Of SQS's messages, those that could not be stored are reported (`batchItemFailures`) and come
        again; for any other event Refused is raised, so that Lambda invokes the function again.
        """
        left = _seconds_left(context)
        self._store.limit_time(left)
        known_sets = self._app.known_sets
        queued = is_queued(event)
        if queued:
            deliveries = [
                read_delivery(record.get("messageId", ""), record.get("body") or "", known_sets)
                for record in event["Records"]
            ]
        elif is_ping(event):
            deliveries = [Delivery("", [EmptyReading("lambda", "ping")])]
        else:
            body = msgspec.json.encode(event)
            deliveries = [Delivery("", read(body, "lambda", known_sets=known_sets))]
        try:
            taken = take(self._app.pipeline, deliveries, lambda: left() > 0)
        finally:
            self._counts.emit(self._store)
        if taken.failed:
            _emit({"Queue": self._queue}, {"FailedMessages": len(taken.failed)})
        if queued:
            return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in taken.failed]}
        if taken.failed:
            raise Refused(taken.away or "An event could not be stored.")
        return None

    def close(self) -> None:
        """Let go of the store."""
        self._app.close()


def is_queued(event: Any) -> bool:
    """Return whether an event is a batch of SQS's, of which each message may fail alone."""
    records = event.get("Records") if isinstance(event, dict) else None
    return (
        isinstance(records, list)
        and records != []
        and all(isinstance(each, dict) and each.get("eventSource") == "aws:sqs" for each in records)
    )


PINGS = frozenset({"ping", "warm", "warmer", "warmup", "serverless-plugin-warmup"})
"""What an event that only keeps a function warm is called by those who send one: its one field, or its
source.
"""


def is_ping(event: Any) -> bool:
    """Return whether an event has nothing in it, or only keeps the function warm."""
    if not event or event == {"Records": []}:
        return True
    return isinstance(event, dict) and (
        event.get("source") in PINGS or next(iter(event)).lower() in PINGS
    )


# Lines and metrics


class _AsItIs(LambdaPowertoolsFormatter):
    """Writes a line of the journal, which is JSON already and whose fields are contract."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()


@cache
def _lines() -> Logger:
    return Logger(service="sesight-events", logger_formatter=_AsItIs())


def _write(lines: bytes) -> None:
    """Write lines of the journal through Powertools, which knows the function's log level."""
    log = _lines()
    for line in lines.decode().splitlines():
        log.info(line)


class Counts:
    """What one invocation counted, until it is written as CloudWatch's embedded metrics."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._untagged: Counter[str] = Counter()
        self._quarantined: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._conflicts = 0

    def add(self, processed: list[Processed]) -> None:
        """Count a batch that was committed."""
        for each in processed:
            event = each.event
            kind = event.reports[0].occurrence.type if event is not None else NONE
            self._events[each.stream or NONE, kind, each.disposition] += 1
            if each.campaign == UNTAGGED:
                self._untagged[each.stream or NONE] += 1
            if each.disposition is Disposition.QUARANTINED:
                self._quarantined[each.reason or NONE] += 1

    def emit(self, store: DynamoStore) -> None:
        """Write everything counted, and what the store met with, then start anew."""
        for (stream, kind, disposition), n in self._events.items():
            _emit(
                {"Stream": stream, "EventType": kind},
                {"SES_EVENT_PROCESSED": n},
                {"Stream": stream, "Disposition": disposition},
            )
        for stream, n in self._untagged.items():
            _emit({"Stream": stream}, {"MissingCampaignTag": n})
        for reason, n in self._quarantined.items():
            _emit({"Reason": reason}, {"Quarantined": n})
        throttled = Counter(store.throttled)
        for resource, n in (throttled - self._throttled).items():
            _emit({"Resource": resource}, {"Throttled": n})
        if store.conflicts > self._conflicts:
            _emit({}, {"Conflicts": store.conflicts - self._conflicts})
        for counted in (self._events, self._untagged, self._quarantined):
            counted.clear()
        self._throttled, self._conflicts = throttled, store.conflicts


def _emit(
    dimensions: Mapping[str, str], counts: Mapping[str, int], more: Mapping[str, str] | None = None
) -> None:
    """Write counts under their dimensions, and under `more` as well."""
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    if more is not None:
        metrics.add_dimensions(**more)
    for name, n in counts.items():
        metrics.add_metric(name, MetricUnit.Count, n)
    metrics.flush_metrics()


# Made when Lambda loads the function, which does not count as time of an invocation

_MADE: dict[str, Callable[[], object]] = {
    "outreach_events": lambda: _processor("outreach"),
    "finance_events": lambda: _processor("finance"),
    "rollups": _aggregator,
    "upkeep": _app,
    "api": _gateway,
    "outreach_send": lambda: _sending("outreach"),
    "finance_send": lambda: _sending("finance"),
}
"""What each function needs."""


def _make(name: str | None) -> None:
    """Make what the function of a name (`sesight.lambdas.api`) needs, if it is one of these."""
    module, _, function = (name or "").replace("/", ".").rpartition(".")
    if module == __name__ and function in _MADE:
        with suppress(StoreUnavailable):  # DynamoDB is away: the first invocation tries again
            _MADE[function]()


_make(function_name())
