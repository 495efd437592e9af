"""A batch of SQS messages, each of which may fail alone.

Messages that could not be stored are reported by their ids and delivered again; the others are not held
up by them. Lambda calls this a partial batch response.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.errors import StoreUnavailable
from sesight.domain.event import Disposition
from sesight.ingest.reader import read
from sesight.ingest.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sesight.ingest.pipeline import Pipeline
    from sesight.ingest.processed import Processed

_log = logging.getLogger(__name__)

ORIGIN = "sqs"
"""The origin of readings from a queue."""


class SqsMessage(Struct, frozen=True):
    """A message by its id in the queue, and all that was read from its body."""

    id: str
    readings: list[Reading]


class SqsBatchResult(Struct):
    """What became of a batch: everything that was processed, the ids of the messages to be delivered
    again, and the sentence of the error if the store was unavailable.
    """

    processed: list[Processed]
    failed: list[str]
    store_error: str | None = None


def read_sqs_message(
    id_: str, body: str, known_sets: Collection[str], stream: str | None = None
) -> SqsMessage:
    """Read the body of a message. Never raises for what it holds."""
    data = body.encode("utf-8", "replace")
    return SqsMessage(id_, read(data, ORIGIN, known_sets=known_sets, stream=stream))


def process_messages(
    pipeline: Pipeline,
    messages: Sequence[SqsMessage],
    has_time: Callable[[], bool],
    *,
    at_rest: bool = False,
) -> SqsBatchResult:
    """Process messages as one batch; when this returns, all but the failed ones are durable.

    If that raises because of one message, the batch is halved, again and again while there is time,
    until only that message fails. For `at_rest` see `Pipeline.process`.
    """
    result = SqsBatchResult([], [])
    _process(partial(pipeline.process, at_rest=at_rest), messages, has_time, result)
    return result


def _process(
    process: Callable[[list[Reading]], list[Processed]],
    messages: Sequence[SqsMessage],
    has_time: Callable[[], bool],
    result: SqsBatchResult,
) -> None:
    if not messages:
        return
    try:
        processed = process([reading for message in messages for reading in message.readings])
    except Exception as error:  # noqa: BLE001 - reported as failed, and logged below
        is_store_unavailable = isinstance(error, StoreUnavailable)
        if is_store_unavailable or len(messages) == 1 or not has_time():
            ids = [message.id for message in messages]
            _log.exception("%d messages could not be stored: %s", len(ids), ", ".join(ids[:10]))
            result.failed += ids
            if is_store_unavailable:
                result.store_error = str(error)
            return
        half = len(messages) // 2
        _process(process, messages[:half], has_time, result)
        _process(process, messages[half:], has_time, result)
        return
    result.processed += processed
    begin = 0
    for message in messages:
        end = begin + len(message.readings)
        if any(each.disposition is Disposition.REFUSED for each in processed[begin:end]):
            result.failed.append(message.id)
        begin = end
