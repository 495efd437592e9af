"""The functions that take events in from SQS, SNS or EventBridge."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from sesight.app import App, now_ms
from sesight.domain.errors import StoreUnavailable
from sesight.ingest.reader import read
from sesight.ingest.reading import EmptyReading
from sesight.ingest.transport.sqs_batch import SqsMessage, process_messages, read_sqs_message
from sesight.lambdas.invocation import Context, dynamo_store, is_ping, seconds_left
from sesight.lambdas.metrics import InvocationMetrics, emit
from sesight.settings import Settings

if TYPE_CHECKING:
    from sesight.domain.ports import Clock


class EventsNotStored(StoreUnavailable):
    """Events that came without a queue could not all be stored: Lambda invokes the function again."""


class Processor:
    """Runs the pipeline over the events of an invocation; keeps its AWS clients between invocations."""

    def __init__(self, settings: Settings, queue: str, clock: Clock = now_ms) -> None:
        """Open the store. `queue` is the value of the metrics' dimension `Queue`."""
        self._queue = queue
        self._metrics = InvocationMetrics()
        self._app = App(
            settings,
            clock=clock,
            journal=write_lines if settings.intake.log_events else None,
            count=self._metrics.add,
        )
        self._store = dynamo_store(self._app)

    def handle(self, event: dict[str, Any], context: Context) -> dict[str, Any] | None:
        """Process an event of SQS, SNS or EventBridge; one that only keeps the function warm is ignored.

        SQS messages that could not be stored are returned as `batchItemFailures`, so that SQS delivers
        them again. For any other event EventsNotStored is raised, so that Lambda invokes the function
        again.
        """
        left = seconds_left(context)
        self._store.limit_time(left)
        known_sets = self._app.known_sets
        queued = is_queued(event)
        if queued:
            messages = [
                read_sqs_message(record.get("messageId", ""), record.get("body") or "", known_sets)
                for record in event["Records"]
            ]
        elif is_ping(event):
            messages = [SqsMessage("", [EmptyReading("lambda", "ping")])]
        else:
            body = msgspec.json.encode(event)
            messages = [SqsMessage("", read(body, "lambda", known_sets=known_sets))]
        try:
            result = process_messages(self._app.pipeline, messages, lambda: left() > 0)
        finally:
            self._metrics.emit(self._store)
        if result.failed:
            emit({"Queue": self._queue}, {"FailedMessages": len(result.failed)})
        if queued:
            return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in result.failed]}
        if result.failed:
            raise EventsNotStored(result.store_error or "An event could not be stored.")
        return None

    def close(self) -> None:
        """Close the store."""
        self._app.close()


def is_queued(event: Any) -> bool:
    """Return whether an event is an SQS batch, of which each message may fail by itself."""
    records = event.get("Records") if isinstance(event, dict) else None
    return (
        isinstance(records, list)
        and records != []
        and all(
            isinstance(record, dict) and record.get("eventSource") == "aws:sqs"
            for record in records
        )
    )


class _Verbatim(LambdaPowertoolsFormatter):
    """Writes a line of the event log as it is: it is JSON already, and its fields are a contract."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()


@cache
def _lines() -> Logger:
    return Logger(service="sesight-events", logger_formatter=_Verbatim())


def write_lines(lines: bytes) -> None:
    """Write event log lines through Powertools, which obeys the function's log level."""
    log = _lines()
    for line in lines.decode().splitlines():
        log.info(line)
