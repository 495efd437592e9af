"""The CloudWatch metrics of the functions, written as embedded metrics (EMF) to the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from sesight.domain.event import UNTAGGED, Disposition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesight.ingest.processed import Processed
    from sesight.store.dynamodb.store import DynamoStore

NAMESPACE = "Sesight"
"""The CloudWatch namespace. Dimensions are few on purpose: CloudWatch bills each value as a metric."""

METRICS = {
    "SES_EVENT_PROCESSED": (
        (("Stream", "EventType"), ("Stream", "Disposition")),
        "Events and envelopes processed, by type and by disposition.",
    ),
    "MissingCampaignTag": ((("Stream",),), "Events without a campaign tag."),
    "Quarantined": ((("Reason",),), "Bodies quarantined."),
    "FailedMessages": (
        (("Queue",),),
        "SQS messages that could not be stored; SQS delivers them again.",
    ),
    "Conflicts": (((),), "Records processed again because another function changed them first."),
    "Throttled": ((("Resource",),), "Calls that a table or index throttled; they were retried."),
    "AppliedChanges": (((),), "Changes that the aggregator has read from the change feeds."),
    "BadChanges": (((),), "Changes that could not be read, and are in no total."),
    "Swept": ((("What",),), "Expired hour rows and quarantined bodies that were removed."),
    "SecretFailures": (
        (("Stream",),),
        "Sender secrets that could not be read; the last value read stays in use.",
    ),
}
"""The metrics by name, with their sets of dimensions and their meaning; names and dimensions are a contract."""

NONE = "none"
"""The value of a dimension that does not apply."""


class InvocationMetrics:
    """Counts of one invocation, until they are written."""

    def __init__(self) -> None:
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._untagged: Counter[str] = Counter()
        self._quarantined: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._conflicts = 0

    def add(self, processed: list[Processed]) -> None:
        """Count a committed batch."""
        for result in processed:
            event = result.event
            kind = event.reports[0].occurrence.type if event is not None else NONE
            self._events[result.stream or NONE, kind, result.disposition] += 1
            if result.campaign == UNTAGGED:
                self._untagged[result.stream or NONE] += 1
            if result.disposition is Disposition.QUARANTINED:
                self._quarantined[result.reason or NONE] += 1

    def emit(self, store: DynamoStore) -> None:
        """Write all counts, and the store's conflicts and throttled calls, and reset them."""
        for (stream, kind, disposition), n in self._events.items():
            emit(
                {"Stream": stream, "EventType": kind},
                {"SES_EVENT_PROCESSED": n},
                {"Stream": stream, "Disposition": disposition},
            )
        for stream, n in self._untagged.items():
            emit({"Stream": stream}, {"MissingCampaignTag": n})
        for reason, n in self._quarantined.items():
            emit({"Reason": reason}, {"Quarantined": n})
        throttled = Counter(store.throttled)
        for resource, n in (throttled - self._throttled).items():
            emit({"Resource": resource}, {"Throttled": n})
        if store.conflicts > self._conflicts:
            emit({}, {"Conflicts": store.conflicts - self._conflicts})
        for counted in (self._events, self._untagged, self._quarantined):
            counted.clear()
        self._throttled, self._conflicts = throttled, store.conflicts


def emit(
    dimensions: Mapping[str, str], counts: Mapping[str, int], more: Mapping[str, str] | None = None
) -> None:
    """Write counts under their dimensions, and again under the dimensions `more`."""
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    if more is not None:
        metrics.add_dimensions(**more)
    for name, n in counts.items():
        metrics.add_metric(name, MetricUnit.Count, n)
    metrics.flush_metrics()
