"""Deliveries: messages of a queue taken in together, of which each may fail alone.

A transport that is told of each message by its id (SQS) gets back those that could not be stored, and
no other is held up by them.
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


class Delivery(Struct, frozen=True):
    """A message of a queue: the id that the queue knows it by, and all that was read in it."""

    id: str
    readings: list[Reading]


class Taken(Struct):
    """What became of deliveries: all that was processed, the ids of those to deliver again, and what
    the store said if it was away.
    """

    processed: list[Processed]
    failed: list[str]
    away: str | None = None


def read_delivery(
    id_: str, body: str, known_sets: Collection[str], stream: str | None = None
) -> Delivery:
    """Read a message of a queue. Never raises for what it holds."""
    data = body.encode("utf-8", "replace")
    return Delivery(id_, read(data, ORIGIN, known_sets=known_sets, stream=stream))


def take(
    pipeline: Pipeline,
    deliveries: Sequence[Delivery],
    has_time: Callable[[], bool],
    *,
    at_rest: bool = False,
) -> Taken:
    """Process deliveries as one batch; where that fails for what one of them holds, find it by halves,
    as long as there is time. When this returns, all but the failed ones are durable. `at_rest`: see
    `Pipeline.process`.
    """
    taken = Taken([], [])
    _take(partial(pipeline.process, at_rest=at_rest), deliveries, has_time, taken)
    return taken


def _take(
    process: Callable[[list[Reading]], list[Processed]],
    deliveries: Sequence[Delivery],
    has_time: Callable[[], bool],
    taken: Taken,
) -> None:
    if not deliveries:
        return
    try:
        processed = process([one for each in deliveries for one in each.readings])
    except Exception as error:  # noqa: BLE001 - whatever it was, it is reported as failed
        away = isinstance(error, StoreUnavailable)
        if away or len(deliveries) == 1 or not has_time():
            ids = [each.id for each in deliveries]
            _log.exception("%d messages could not be stored: %s", len(ids), ", ".join(ids[:10]))
            taken.failed += ids
            if away:
                taken.away = str(error)
            return
        half = len(deliveries) // 2
        _take(process, deliveries[:half], has_time, taken)
        _take(process, deliveries[half:], has_time, taken)
        return
    taken.processed += processed
    begin = 0
    for each in deliveries:
        end = begin + len(each.readings)
        if any(one.disposition is Disposition.REFUSED for one in processed[begin:end]):
            taken.failed.append(each.id)
        begin = end
