"""The health of intake in words: whether events arrive, and what somebody should do."""

import pytest

from sesight.domain.event import Disposition
from sesight.domain.timestamps import DAY, HOUR
from sesight.ingest.http.refusals import REFUSED
from sesight.ingest.metrics import BatchCounts, Metrics
from sesight.ingest.processed import Processed
from sesight.ingest.reading import EmptyReading
from sesight.services.intake_health import intake_status
from tests.builders import NOW

MINUTE = 60_000


class Watch:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def watch() -> Watch:
    """The clock of the metrics."""
    return Watch()


@pytest.fixture
def metrics(watch: Watch) -> Metrics:
    """What a process that just started has counted."""
    return Metrics(watch)


def status_of(
    metrics: Metrics, newest_at: int | None = NOW, waiting: int = 0, now: int = NOW, **counts: int
) -> tuple[str, list[str]]:
    """Return the state of intake and its sentences; `counts` are of the quarantine, by reason."""
    status = intake_status(
        newest_at=newest_at,
        waiting=waiting,
        limit=100,
        quarantined={reason.replace("_", "-"): n for reason, n in counts.items()},
        metrics=metrics,
        now=now,
    )
    return status.state, status.sentences


@pytest.mark.parametrize(
    ("newest_at", "state", "sentence"),
    [
        (NOW + 5, "ok", "Events arrive; the newest was taken in less than a minute ago."),
        (NOW - 59_999, "ok", "Events arrive; the newest was taken in less than a minute ago."),
        (NOW - MINUTE, "ok", "Events arrive; the newest was taken in 1 minute ago."),
        (NOW - 3 * MINUTE, "ok", "Events arrive; the newest was taken in 3 minutes ago."),
        (NOW - 15 * MINUTE, "ok", "Events arrive; the newest was taken in 15 minutes ago."),
        (
            NOW - 16 * MINUTE,
            "quiet",
            "No event arrives; the newest was taken in 16 minutes ago.",
        ),
        (NOW - 2 * HOUR, "quiet", "No event arrives; the newest was taken in 2 hours ago."),
        (NOW - 9 * DAY, "quiet", "No event arrives; the newest was taken in 9 days ago."),
        (None, "quiet", "No event has been taken in yet."),
    ],
)
def test_arrival(metrics: Metrics, newest_at: int | None, state: str, sentence: str) -> None:
    """Also when all is well there is a sentence, which says when the newest event was taken in."""
    assert status_of(metrics, newest_at) == (state, [sentence])


def test_late(metrics: Metrics, watch: Watch) -> None:
    """A refusal that the sender mends makes intake late for a minute, and so does a long queue."""
    metrics.refuse("store", 503)
    state, (_, said) = status_of(metrics)
    assert (state, said) == (
        "late",
        "Requests were refused within the last minute; their senders will retry.",
    )
    watch.now += MINUTE
    assert status_of(metrics, watch.now, 50, watch.now)[0] == "ok"
    assert status_of(metrics, watch.now, 51, watch.now) == (
        "late",
        [
            "Events arrive; the newest was taken in less than a minute ago.",
            "51 requests are waiting to be stored.",
        ],
    )


def test_refused_for_good(metrics: Metrics, watch: Watch) -> None:
    """What no sender mends by trying again is told for an hour, by reason, with what to do."""
    watch.now = NOW - 60 * MINUTE
    metrics.refuse("raw-delivery", 400)
    watch.now = NOW - 59 * MINUTE
    metrics.refuse("signature", 403)
    watch.now = NOW - 2 * MINUTE
    for _ in range(12):
        metrics.refuse("foreign-topic", 403)
    metrics.refuse("busy", 503)
    metrics.refuse("a-new-one", 403)
    state, (_, *said) = status_of(metrics)
    assert (state, said) == (
        "ok",
        [
            f"Refused within the last hour as {told}"
            for told in (
                "a-new-one: 1. See docs/ses-analytics-pipeline.md.",
                "foreign-topic: 12. The topic is not in [[topics]]: add its ARN if the topic is yours.",
                f"signature: 1. {REFUSED['signature']}",
            )
        ],
    )
    assert metrics.refused == {
        "raw-delivery": 1,
        "signature": 1,
        "foreign-topic": 12,
        "busy": 1,
        "a-new-one": 1,
    }


def test_unsubscribed(metrics: Metrics) -> None:
    """That SNS ended a subscription is told until one is confirmed."""
    ended = Processed(EmptyReading("http", "unsubscribed-topic"), Disposition.IGNORED)
    confirmed = Processed(
        EmptyReading("http", "subscription", confirmed=True), Disposition.CONFIRMED
    )
    metrics.count(BatchCounts.of([confirmed, ended], 0.0))
    said = status_of(metrics)[1][1:]
    metrics.count(BatchCounts.of([confirmed], 0.0))
    (sentence,) = said
    assert sentence.startswith("SNS said at 2026-11-24T12:00:00.000Z that a subscription to this")
    assert "subscribe again" in sentence
    assert status_of(metrics)[1][1:] == []


def test_quarantined(metrics: Metrics) -> None:
    """What waits in the quarantine is told by reason, with what to do."""
    assert status_of(metrics, not_json=2, unrouted=3)[1][1:] == [
        "2 bodies were not understood (not-json): see `sesight quarantine list`.",
        "3 events wait for their message: they name no configuration set.",
    ]
